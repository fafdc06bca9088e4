"""The lines of metrics.jsonl as TensorBoard events, beside them."""

import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fmsel.errors import OptionError

FOLDER = "tensorboard"  # in the run folder


class EventFiles:
    """Event files of one run; each numeric field of a line is a scalar at the line's step.

    Args:
        run: the run folder.
    Raises:
        OptionError: tensorboardX is not installed.
    """

    def __init__(self, run: Path) -> None:
        if find_spec("tensorboardX") is None:
            raise OptionError(
                "--tensorboard needs tensorboardX; install it with `pip install fmsel[tensorboard]`"
            )
        self._folder = run / FOLDER
        self._writer: Any = None
        self._written = 0

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write those of all `rows` so far that were not written yet.

        The first call begins a new file that takes the place of all earlier ones, so a resumed run
        shows nothing that came after the checkpoint it went on from.
        """
        if self._writer is None:
            self._writer = _new_file(self._folder)
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import scalar

        for row in rows[self._written :]:
            for name, value in row.items():
                if name != "step" and value is not None:
                    event = Event(step=row["step"], summary=scalar(name, value))
                    event.wall_time = time.time()
                    self._writer.write_event(event)
        self._written = len(rows)
        self._writer.flush()


def _new_file(folder: Path) -> Any:
    """A writer that is never behind; its first event voids all earlier files of the folder."""
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    folder.mkdir(parents=True, exist_ok=True)
    writer = EventsWriter(str(folder / "events"), f".{time.time_ns()}")
    start = SessionLog(status=SessionLog.START)
    writer.write_event(Event(step=0, wall_time=time.time(), session_log=start))
    return writer
