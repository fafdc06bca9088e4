"""The page's HTTP interface: one function a route, from JSON to a call of `Task` and back."""

import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import anyio
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from fmsel.errors import FmselError, OptionError, OutputError
from fmsel.labeling.page.classes import ClassTakenError
from fmsel.labeling.page.ledger import ConflictError
from fmsel.labeling.page.lines import NAME_LENGTH, clean_name
from fmsel.labeling.page.task import Task
from fmsel.serving import Access, secure_app

STATIC = Path(__file__).with_name("static")
SIDES = range(32, 1025)  # pixels
DEFAULT_SIDE = 512
CLAIMS = range(1, 201)
KEY_LENGTH = 100
T = TypeVar("T")


def label_app(task: Task, access: Access) -> Starlette:
    """The application that serves the page of a task, to those whom `access` lets in."""
    return secure_app(_Api(task).routes(), access)


class _Api:
    """The routes. All that may wait for a disk or a long sum runs in threads."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.drawing = anyio.CapacityLimiter(os.cpu_count() or 1)

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/", self.page),
            Route("/api/task", self.describe),
            Route("/api/items", self.items),
            self._post("/api/claim", self.claim),
            self._post("/api/answers", self.answer),
            self._post("/api/classes", self.add_class),
            self._post("/api/finish", self.finish),
            Route("/api/details/{index:int}", self.details),
            Route("/images/{index:int}", self.image),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]

    async def page(self, request: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    async def describe(self, request: Request) -> Response:
        return JSONResponse(self.task.describe())

    async def items(self, request: Request) -> Response:
        asked = request.query_params
        if asked.get("task", self.task.id) != self.task.id:
            return self._elsewhere()
        annotator = _annotator(asked) if "annotator" in asked else None
        return JSONResponse(await run_in_threadpool(self._items, annotator))

    async def claim(self, body: Mapping[str, Any]) -> Response:
        annotator = _annotator(body)
        after = None if body.get("from") is None else self._index(body, "from")
        count, skip = body.get("count"), body.get("skip", [])
        if type(count) is not int or count not in CLAIMS:
            raise HTTPException(422, f"count must be in {CLAIMS[0]}..{CLAIMS[-1]}")
        if not isinstance(skip, list) or not all(isinstance(each, int) for each in skip):
            raise HTTPException(422, "skip must be a list of indices")
        ledger = self.task.ledger
        found = await run_in_threadpool(ledger.claim, annotator, after, count, skip)
        return JSONResponse({"indices": found, "done": ledger.done, **self._news()})

    async def answer(self, body: Mapping[str, Any]) -> Response:
        annotator, index, choice = _annotator(body), self._index(body, "index"), body.get("choice")
        replaces, key = body.get("replaces"), body.get("key")
        if choice is not None and not (isinstance(choice, str) and self.task.is_choice(choice)):
            raise HTTPException(422, f"{str(choice)[:NAME_LENGTH]!r} is no answer here")
        if replaces is not None and type(replaces) is not int:
            raise HTTPException(422, "replaces must be the seq of an answer, or null")
        if key is not None and not (isinstance(key, str) and 1 <= len(key) <= KEY_LENGTH):
            raise HTTPException(422, f"key must be a text of 1 to {KEY_LENGTH} characters")
        ledger = self.task.ledger
        try:
            saved = await _in_thread(
                lambda: ledger.answer(annotator, index, choice, replaces=replaces, key=key)
            )
        except ConflictError as conflict:
            return _conflict(conflict)
        if (error := await run_in_threadpool(self.task.write_if_settled)) is not None:
            print(f"note: the split with labels was not written: {error}", file=sys.stderr)
        told = {"seq": saved.seq, "done": saved.done, "total": saved.total}
        return JSONResponse(told | self._news())

    async def add_class(self, body: Mapping[str, Any]) -> Response:
        annotator, name = _annotator(body), body.get("name")
        if not isinstance(name, str):
            raise HTTPException(422, "name must be a text")
        if not self.task.classes.may_add:
            raise HTTPException(403, f"the classes of {self.task.data.name} are given")
        try:
            await _in_thread(lambda: self.task.add_class(annotator, name))
        except ClassTakenError as taken:
            raise HTTPException(409, f"there is a class {taken} already") from None
        return JSONResponse({"classes": list(self.task.classes.names)})

    async def details(self, request: Request) -> Response:
        index = self._image_index(request)
        found = await self._draw(lambda: self.task.details.of(index, self.task.label))
        return JSONResponse({"index": index, "id": self.task.shown_id(index), **found})

    async def finish(self, body: Mapping[str, Any]) -> Response:
        _annotator(body)
        return JSONResponse(await _in_thread(self.task.written))

    async def image(self, request: Request) -> Response:
        index = self._image_index(request)
        side = _number(request.query_params.get("side", str(DEFAULT_SIDE)))
        if side not in SIDES:
            raise HTTPException(422, f"side must be in {SIDES[0]}..{SIDES[-1]} pixels")
        # The browser asks whether its copy is right: another split may have this address tomorrow.
        headers = {
            "ETag": f'"{self.task.images.tag(index, side)}"',
            "Cache-Control": "private, no-cache",
        }
        if headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        content, kind = await self._draw(lambda: self.task.images.encoded(index, side))
        return Response(content, media_type=kind, headers=headers)

    def _post(
        self, path: str, act: Callable[[Mapping[str, Any]], Awaitable[Response]]
    ) -> BaseRoute:
        """A route for bodies that are about this task."""

        async def checked(request: Request) -> Response:
            body = await _body(request)
            if not isinstance(body.get("task"), str):
                raise HTTPException(422, "task must be the id that /api/task tells")
            return await act(body) if body["task"] == self.task.id else self._elsewhere()

        return Route(path, checked, methods=["POST"])

    def _elsewhere(self) -> Response:
        """To a page that was opened when something else was served here."""
        return JSONResponse(
            {"error": "another split is served here now", "task": self.task.id}, 409
        )

    def _news(self) -> dict[str, int]:
        """By which a page learns that others added classes."""
        return {"n_classes": len(self.task.classes.names)}

    def _items(self, annotator: str | None) -> dict[str, Any]:
        items = self.task.ledger.items(annotator)
        return {
            "items": [{"id": self.task.shown_id(each["index"]), **each} for each in items],
            "done": self.task.ledger.done,
            "total": len(items),
            **self._news(),
        }

    def _index(self, body: Mapping[str, Any], name: str) -> int:
        """An image of the task."""
        index = body.get(name)
        if type(index) is not int or index not in self.task.ledger.desk:
            raise HTTPException(422, f"{name} must be the index of an image of this task")
        return index

    def _image_index(self, request: Request) -> int:
        """An image of the data set."""
        index: int = request.path_params["index"]
        if index >= len(self.task.data):
            raise HTTPException(404, f"{self.task.data.name} has {len(self.task.data)} images")
        return index

    async def _draw(self, work: Callable[[], T]) -> T:
        """Run in no more threads than there are cores: each may need much memory."""
        return await anyio.to_thread.run_sync(work, limiter=self.drawing)


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except (ValueError, RecursionError):
        raise HTTPException(422, "the body is not JSON") from None
    if not isinstance(body, dict):
        raise HTTPException(422, "the body must be a JSON object")
    return body


def _annotator(body: Mapping[str, Any]) -> str:
    name = body.get("annotator")
    cleaned = clean_name(name) if isinstance(name, str) else None
    if cleaned is None:
        raise HTTPException(
            422, f"annotator must be a name of 1 to {NAME_LENGTH} characters, on one line"
        )
    return cleaned


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1


async def _in_thread(work: Callable[[], T]) -> T:
    """Run what may be refused with a sentence for people; the status says whose turn it is."""
    try:
        return await run_in_threadpool(work)
    except OutputError as error:
        raise HTTPException(503, str(error)) from None
    except OptionError as error:
        raise HTTPException(422, str(error)) from None
    except FmselError as error:
        raise HTTPException(409, str(error)) from None


def _conflict(conflict: ConflictError) -> Response:
    current = conflict.current
    return JSONResponse(
        {
            "error": "this image has another answer of yours by now",
            "current": current._asdict() if current is not None else None,
        },
        409,
    )
