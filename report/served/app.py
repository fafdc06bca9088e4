"""The addresses of the served page."""

import hashlib
from collections.abc import Callable
from functools import lru_cache, wraps
from importlib.resources import files

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from fmsel.errors import OptionError
from fmsel.labeling.page.images import ImageFiles
from fmsel.report.served.collection import Collection
from fmsel.report.served.facts import about, facts, page_of
from fmsel.report.served.query import FIELDS, Query
from fmsel.report.served.sheets import MOST, media_type, sheet
from fmsel.serving import Access, secure_app

KEPT_SHEETS = 512  # some 70 MB of thumbnails of 32 pixels
A_YEAR = 31_536_000  # seconds
LARGE = 512  # pixels of the longer side of one image
LONGEST = 9  # digits of a number in an address

Endpoint = Callable[[Request], Response]


def image_app(collection: Collection, access: Access) -> Starlette:
    """The application that shows a collection; see `fmsel.serving.secure_app`."""
    return secure_app(_Pages(collection).routes, access)


def _answered(endpoint: Callable[["_Pages", Request], Response]) -> Callable[..., Response]:
    """A bad parameter is answered with its sentence, 422."""

    @wraps(endpoint)
    def answer(pages: "_Pages", request: Request) -> Response:
        try:
            return endpoint(pages, request)
        except OptionError as error:
            return JSONResponse({"error": str(error)}, 422)

    return answer


class _Pages:
    """One endpoint a method; they run in threads, and read only."""

    def __init__(self, collection: Collection) -> None:
        self.collection = collection
        self.page = files("fmsel.report.served").joinpath("static/index.html").read_text("utf-8")
        self.about = about(collection)
        self.files = ImageFiles(collection.data)
        self.sheet_of = lru_cache(KEPT_SHEETS)(lambda indices: sheet(collection.data, indices))

    @property
    def routes(self) -> list[BaseRoute]:
        endpoints: dict[str, Endpoint] = {
            "/": lambda _: HTMLResponse(self.page),
            "/api/about": lambda _: JSONResponse(self.about),
            "/api/images": self.images,
            "/api/images/{index}": self.image,
            "/api/map": self.map,
            "/api/labels": self.labels,
            "/api/percentiles": self.percentiles,
            "/api/places": self.places,
            "/sheets/{version}": self.sheets,
            "/large/{version}/{index}": self.large,
        }
        static = StaticFiles(packages=[("fmsel.report.served", "static")])
        return [
            *(Route(path, endpoint, methods=["GET"]) for path, endpoint in endpoints.items()),
            Mount("/static", static),
        ]

    @_answered
    def images(self, request: Request) -> Response:
        """A page of the gallery."""
        words = _words(request, *FIELDS, "page", "at")
        page = _number(words.pop("page", "1"), "page", least=1)
        at = words.pop("at", "")
        query = Query.parse(words, self.collection)
        return JSONResponse(page_of(self.collection, query, page, self._index(at) if at else None))

    @_answered
    def image(self, request: Request) -> Response:
        """All facts of one image."""
        return JSONResponse(facts(self.collection, self._index(request.path_params["index"])))

    @_answered
    def map(self, request: Request) -> Response:
        """`Positions.packed`."""
        if self.collection.positions is None:
            raise OptionError(self.collection.no_map)
        return _kept(request, self.collection.positions.packed)

    @_answered
    def labels(self, request: Request) -> Response:
        """(N,) int32 labels of the data set, -1 for unknown."""
        return _kept(request, self.collection.data.labels.astype("<i4").tobytes())

    @_answered
    def percentiles(self, request: Request) -> Response:
        """(N,) uint8 percentiles of a metric, 0 = the worst outlier, 255 = the best prototype."""
        words = _words(request, "metric", "within")
        within = Query.parse(
            {"order": f"metric:{words.get('metric', '')}", "within": words.get("within", "")},
            self.collection,
        )
        shares = self.collection.percentiles(within.metric, within.within == "class")
        return _kept(request, (shares * 255).round().astype("u1").tobytes())

    @_answered
    def places(self, request: Request) -> Response:
        """Indices of a split, uint32, in pick order."""
        split = self.collection.split(_words(request, "split").get("split", ""))
        return _kept(request, split.index_array.astype("<u4").tobytes())

    @_answered
    def sheets(self, request: Request) -> Response:
        """Thumbnails of `?indices=1,2,3`, see `sheet`."""
        self._check_version(request)
        given = _words(request, "indices").get("indices", "").split(",")
        if len(given) > MOST:
            raise OptionError(f"a sheet has at most {MOST} thumbnails, got {len(given)}")
        content = self.sheet_of(tuple(self._index(each) for each in given))
        return _kept(request, content, media_type(self.collection.data), A_YEAR)

    @_answered
    def large(self, request: Request) -> Response:
        """One image, as large as the page shows it."""
        self._check_version(request)
        content, kind = self.files.encoded(self._index(request.path_params["index"]), LARGE)
        return _kept(request, content, kind, A_YEAR)

    def _check_version(self, request: Request) -> None:
        if request.path_params["version"] != self.collection.version:
            raise OptionError("other images are served here now; reload the page")

    def _index(self, text: str) -> int:
        index = _number(text, "index", least=0)
        if index >= len(self.collection):
            raise OptionError(
                f"there is no image {index}; they are 0 to {len(self.collection) - 1}"
            )
        return index


def _words(request: Request, *known: str) -> dict[str, str]:
    """The parameters of an address; OptionError where one is unknown."""
    if strange := [key for key in request.query_params if key not in known]:
        raise OptionError(f"unknown parameter {strange[0]!r}; there are {', '.join(known)}")
    return dict(request.query_params)


def _number(text: str, name: str, least: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= LONGEST and int(text) >= least):
        raise OptionError(f"{name} must be a whole number of {least} or more, got {text!r}")
    return int(text)


def _kept(
    request: Request, content: bytes, kind: str = "application/octet-stream", seconds: int = 0
) -> Response:
    """Bytes that a browser may keep: for some time unasked, and then if they are still the same."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {
        "ETag": tag,
        "Cache-Control": f"private, max-age={seconds}, immutable" if seconds else "no-cache",
    }
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=kind, headers=headers)
