"""A run on a terminal: what it is, how far it is, its curves, its last warnings."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from fmsel.report.sparkline import ASCII, BLOCKS, sparkline
from fmsel.report.watch_run import UNDER_WAY, RunView

STYLES = {"running": "green", "evaluating": "green", "finished": "bold green"}
TROUBLE = "yellow"
# (heading, field of a row, scale, unit)
CURVES = (
    ("EMA accuracy", "ema_accuracy", 100, "%"),
    ("loss", "loss", 1, ""),
    ("mask rate", "mask_rate", 100, "%"),
    ("pseudo-labels right", "pseudo_label_accuracy", 100, "%"),
)
HEADING = max(len(heading) for heading, *_ in CURVES) + 1
VALUE = 9  # cells of a figure
RANGE = 19  # cells of the lowest and the highest one, where the terminal is wide enough
WIDE, WIDEST = 76, 100
FEWEST = 10  # cells of a curve, so that its figure does not move at first
NOTES = 2  # warnings that are shown
LINES = 4  # of each


@dataclass(frozen=True)
class Glyphs:
    """What curves, bars and separators are made of."""

    ramp: str
    done: str
    rest: str
    dot: str

    @classmethod
    def of(cls, console: Console) -> "Glyphs":
        """Plain ASCII where the terminal has no other characters."""
        if console.options.ascii_only:
            return cls(ASCII, "#", ".", ", ")
        return cls(BLOCKS, "━", "─", " · ")


def duration(seconds: float) -> str:
    """Such as 0:07, 12:30, 3:05:00 or 2 d 04:10."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours:02}:{minutes:02}"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def rate(value: float) -> str:
    """Steps a second with three digits, or seconds a step where those are few."""
    return f"{value:.3g} it/s" if value >= 0.1 or value <= 0 else f"{1 / value:.3g} s/it"


def state_words(view: RunView) -> str:
    """The state, as a clause."""
    ago = duration(view.age)
    return {
        "silent": f"not heard of for {ago}",
        "gone": f"its process is gone for {ago}; --resume goes on",
        "stopped": f"stopped {ago} ago",
        "failed": f"failed {ago} ago",
    }.get(view.state, view.state)


def full(view: RunView, name: str, width: int, glyphs: Glyphs) -> list[Text]:
    """All about a run, `width` cells wide at most."""
    width = min(width, WIDEST)
    blocks = (
        _title(view, name, width, glyphs),
        [_bar(view, width, glyphs)],
        _joined(_pace(view), width, glyphs),
        list(_curves(view, width, glyphs)),
        _joined(_facts(view), width, glyphs, "dim"),
        _joined(_place(view), width, glyphs, "dim"),
        _notes(view, width),
    )
    return [line for block in blocks for line in block]


def short(view: RunView, name: str, width: int, glyphs: Glyphs) -> list[Text]:
    """The same run in two lines, where they are wide enough."""
    width = min(width, WIDEST)
    accuracy, left = view.curve("ema_accuracy"), view.seconds_left
    parts = [state_words(view), f"{view.step:,}/{view.steps:,}"]
    parts += [f"ETA {duration(left)}"] if left is not None else []
    style = STYLES.get(view.state, TROUBLE)
    head = _joined([name, *parts], width, glyphs, style)
    if (last := _last(accuracy)) is None:
        return [*head, *_first_evaluation(view)]
    tail = _figure(last, 100, "%")
    curve = sparkline(accuracy, max(width - len(tail) - 7, 1), glyphs.ramp)
    return [*head, Text(f"  EMA {curve} {tail}")]


def sentence(view: RunView, name: str) -> str:
    """The run in one line of plain text."""
    parts = [f"step {view.step:,} of {view.steps:,}"]
    for heading, field, scale, unit in CURVES:
        value = _last(view.curve(field))
        parts += [f"{heading} {_figure(value, scale, unit)}"] if value is not None else []
    parts += _pace(view)
    return f"{name}: {state_words(view)}; {', '.join(parts)}"


def _title(view: RunView, name: str, width: int, glyphs: Glyphs) -> list[Text]:
    style = STYLES.get(view.state, TROUBLE)
    state = state_words(view)
    if cell_len(name + glyphs.dot + state) <= width:
        return [Text.assemble((name, "bold"), glyphs.dot, (state, style))]
    return [*_wrapped(name, width, "bold"), *_wrapped(state, width, style)]


def _bar(view: RunView, width: int, glyphs: Glyphs) -> Text:
    share = min(view.step / view.steps, 1.0) if view.steps else 1.0
    tail = f" {view.step:,} / {view.steps:,} steps, {share:.0%}"
    cells = max(width - len(tail), 1)
    done = int(share * cells)
    bar = (glyphs.done * done, "green"), (glyphs.rest * (cells - done), "dim")
    return Text.assemble(*bar, tail)


def _pace(view: RunView) -> list[str]:
    parts = []
    if view.rate is not None and view.state in (*UNDER_WAY, "finished"):
        parts.append(rate(view.rate))
    parts.append(f"elapsed {duration(view.seconds)}")
    if (left := view.seconds_left) is not None:
        parts.append(f"ETA {duration(left)}")
    if view.summary and isinstance(view.summary.get("accuracy"), int | float):
        count = view.summary.get("accuracy_of", 1)
        which = f" (median of the last {count})" if count > 1 else ""
        parts.append(f"accuracy {view.summary['accuracy']:.2%}{which}")
    return parts


def _curves(view: RunView, width: int, glyphs: Glyphs) -> Iterator[Text]:
    spread = RANGE if width >= WIDE else 0
    most = max(width - HEADING - VALUE - spread - 1, 1)
    cells = min(most, max(len(view.curve("loss")), FEWEST))
    yield from _first_evaluation(view)
    for heading, field, scale, unit in CURVES:
        values = view.curve(field)
        known = [value for value in values if value is not None]
        if not known:
            continue
        line = Text(heading.ljust(HEADING))
        curve = sparkline(values, cells, glyphs.ramp)
        line.append(curve.ljust(cells), style="cyan")
        line.append(_figure(known[-1], scale, unit).rjust(VALUE + 1))
        if spread and len(known) > 1:
            low, high = (_figure(each, scale, "") for each in (min(known), max(known)))
            line.append(f"{low} to {high}".rjust(spread), style="dim")
        yield line


def _first_evaluation(view: RunView) -> list[Text]:
    """When there will be something to see; nothing once there is."""
    if view.rows:
        return []
    step = min(view.config["fixmatch"].get("eval_every", view.steps), view.steps)
    return [Text(f"  first evaluation at step {step:,}", style="dim")]


def _facts(view: RunView) -> list[str]:
    config = view.config
    split, data = config.get("split") or {}, config.get("dataset") or {}
    mode = str(config.get("mode", ""))
    return [
        str(data.get("dataset", "")),
        f"{split.get('labels', '?')} labels of {split.get('name', '?')}",
        "FixMatch" if mode == "fixmatch" else mode,
        f"seed {config.get('seed', '?')}",
        str(config["fixmatch"].get("arch", "")),
        str(config.get("precision", "")),
    ]


def _place(view: RunView) -> list[str]:
    parts = [str(view.config.get("device", ""))]
    parts += [f"{count} processes"] if (count := view.config.get("processes", 1)) > 1 else []
    if view.status:
        parts += [f"host {view.status.get('host')}", f"process {view.status.get('pid')}"]
    return parts


def _notes(view: RunView, width: int) -> list[Text]:
    """Why it stopped or failed, and its last warnings."""
    lines = []
    if view.state in ("stopped", "failed") and view.status.get("message"):
        lines += _wrapped(str(view.status["message"]), width, TROUBLE)
    found = view.status.get("warnings", [])
    if len(found) > NOTES:
        lines.append(Text(f"{len(found)} notes, the last {NOTES}:", style="dim"))
    for each in found[-NOTES:]:
        lines += _cut(_wrapped(note(each), width, TROUBLE), width)
    return lines


def _cut(lines: list[Text], width: int) -> list[Text]:
    if len(lines) <= LINES:
        return lines
    last = Text(lines[LINES - 1].plain[: width - 3] + "...", style=TROUBLE)
    return [*lines[: LINES - 1], last]


def note(warning: dict[str, Any]) -> str:
    """A warning of status.json with the time of day."""
    return f"{time.strftime('%H:%M', time.localtime(warning['time']))} note: {warning['text']}"


def _last(values: Sequence[float | None]) -> float | None:
    return next((value for value in reversed(values) if value is not None), None)


def _figure(value: float, scale: int, unit: str) -> str:
    return f"{scale * value:.1f}{unit}" if scale > 1 else f"{value:.3g}"


def _joined(parts: Sequence[str], width: int, glyphs: Glyphs, style: str = "") -> list[Text]:
    """The parts on as few lines as hold them, never cut in two where they fit."""
    lines = [""]
    for part in filter(None, parts):
        longer = f"{lines[-1]}{glyphs.dot}{part}" if lines[-1] else part
        if cell_len(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(part)
    return [line for text in lines for line in _wrapped(text, width, style)]


def _wrapped(text: str, width: int, style: str) -> list[Text]:
    return list(Text(text, style=style).wrap(Console(width=width), width))
