"""Ctrl-C, SIGTERM, SIGUSR1 and SIGHUP as a flag that a training loop polls, to save and leave."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Batch systems warn by SIGTERM and SIGUSR1; a terminal that is closed sends SIGHUP.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


class StopFlag:
    """True once the process was asked to stop."""

    def __init__(self) -> None:
        self.requested = False

    def __bool__(self) -> bool:
        return self.requested


@contextmanager
def stop_flag() -> Iterator[StopFlag]:
    """Yield a flag that the first of `SIGNALS` sets; a second one acts as it did before.

    The previous handlers come back at the first signal and on leaving. Where SIGHUP is ignored, as
    by nohup, it stays so. Outside the main thread, where Python allows no handlers, the flag is
    simply never set.
    """
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    previous = {number: signal.getsignal(number) for number in SIGNALS}
    if previous[signal.SIGHUP] == signal.SIG_IGN:
        del previous[signal.SIGHUP]

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def on_signal(number: int, frame: FrameType | None) -> None:
        flag.requested = True
        restore()

    for number in previous:
        signal.signal(number, on_signal)
    try:
        yield flag
    finally:
        restore()
