"""Ctrl-C, SIGTERM and SIGUSR1 as a flag that a training loop polls, to save and leave."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)  # batch systems warn by the last two


class StopFlag:
    """True once the process was asked to stop."""

    def __init__(self) -> None:
        self.requested = False

    def __bool__(self) -> bool:
        return self.requested


@contextmanager
def stop_flag() -> Iterator[StopFlag]:
    """Yield a flag that the first of `SIGNALS` sets; a second one acts as it did before.

    The previous handlers come back at the first signal and on leaving. Outside the main thread,
    where Python allows no handlers, the flag is simply never set.
    """
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    previous = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def on_signal(number: int, frame: FrameType | None) -> None:
        flag.requested = True
        restore()

    for number in SIGNALS:
        signal.signal(number, on_signal)
    try:
        yield flag
    finally:
        restore()
