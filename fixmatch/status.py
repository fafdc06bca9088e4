"""`RunStatus`: what a run is doing, in its folder, for those who watch it from outside.

Loads no torch, so that a watcher, who reads the same file, starts at once.
"""

import os
import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmsel.artefacts import dumps, read_json
from fmsel.errors import ArtefactError

if TYPE_CHECKING:
    from fmsel.fixmatch.run.meters import Means

STATUS = "status.json"  # in the run folder
SCHEMA = 1
WRITE_EVERY = 2.0  # seconds, at least, between two writings of a run under way
KEPT = 20  # warnings


class RunStatus:
    """Writes status.json: the state of a run, its last figures and its last warnings.

    Nothing is written before `begin`, so that a run that is refused changes no folder. A status
    that cannot be written, on a full disk, is left out: no run ends for the sake of its watchers.

    Args:
        run: the run folder.
    """

    def __init__(self, run: Path) -> None:
        self._path = run / STATUS
        self._begun = False
        self._values: dict[str, Any] = {}
        self._warnings: list[dict[str, Any]] = []
        self._written = 0.0

    def begin(self, *, step: int, steps: int, seconds: float, resumed: bool) -> None:
        """Say that the run is under way.

        Args:
            step, steps: steps done, and to do in all.
            seconds: spent so far, over all sittings.
            resumed: keep the warnings of the sittings before.
        """
        if resumed:
            with suppress(ArtefactError):
                before = read_json(self._path, "run status").get("warnings")
                self._warnings[:0] = before if isinstance(before, list) else []
        self._begun = True
        self._values = {
            "state": "running",
            "step": step,
            "steps": steps,
            "seconds": seconds,
            "host": socket.gethostname(),
            "pid": os.getpid(),
        }
        self._write()

    def update(self, *, step: int, seconds: float, it_per_s: float, means: "Means") -> None:
        """Keep the figures of a run under way; written where the last writing is a while ago.

        Args:
            step, seconds: as for `begin`.
            it_per_s: the rate of the last steps.
            means: since the last evaluation.
        """
        self._values |= {
            "step": step,
            "seconds": seconds,
            "it_per_s": it_per_s,
            "loss": means.loss,
            "mask_rate": means.mask_rate,
            "pseudo_label_accuracy": means.pseudo_label_accuracy,
        }
        self.beat("running")

    def beat(self, state: str) -> None:
        """Say that the run is still under way: "running" or "evaluating"; written likewise."""
        self._values["state"] = state
        if self._begun and time.monotonic() - self._written >= WRITE_EVERY:
            self._write()

    def end(self, state: str, message: str | None = None, **reached: float) -> None:
        """Say how the run ended: "finished", "stopped" (it can be resumed) or "failed".

        Args:
            state: one of them.
            message: why.
            reached: `step` and `seconds`, as for `begin`, where they are more than was said before.
        """
        self._values |= {"state": state, "message": message, **reached}
        if self._begun:
            self._write()

    @contextmanager
    def hears_warnings(self) -> Iterator[None]:
        """Keep the warnings that are shown meanwhile; they are shown as before."""
        show = warnings.showwarning

        def hear(message: Warning | str, *rest: Any, **more: Any) -> None:
            warning = {"time": time.time(), "step": self._values.get("step"), "text": str(message)}
            self._warnings.append(warning)
            show(message, *rest, **more)

        warnings.showwarning = hear
        try:
            yield
        finally:
            warnings.showwarning = show

    def _write(self) -> None:
        """Atomically, but not flushed to the disk: after a crash of the machine it says nothing."""
        del self._warnings[:-KEPT]
        record = {
            "schema_version": SCHEMA,
            **self._values,
            "time": time.time(),
            "warnings": self._warnings,
        }
        temporary = self._path.with_name(f".{STATUS}.{os.getpid()}.tmp")
        with suppress(OSError):
            temporary.write_text(dumps(record) + "\n", encoding="utf-8")
            temporary.replace(self._path)
        self._written = time.monotonic()
