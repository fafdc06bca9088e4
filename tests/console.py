"""Runs the console blocks of a Markdown page and compares what they print with what it shows.

A block is a fence of the language `console`. Lines that begin with `$ ` are commands (`> ` goes on
with one), the lines below a command are what it prints on stdout, or on stderr where it fails.
White space counts once, `…` stands for anything, and below the comment `<!-- numbers within 5 -->`
every number may be off by that much, since processors round differently.
"""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r"(?:<!-- numbers within (\S+) -->\n+)?^```console\n(.*?)^```$", re.M | re.S)
NUMBER = re.compile(r"[-+]?\d+(?:,\d{3})*(?:\.\d+)?")
TOKEN = re.compile(rf"…|\s+|[━─]+|{NUMBER.pattern}|.")


@dataclass(frozen=True)
class Command:
    """One command of a page, and what the page says that it prints."""

    words: str
    shown: str
    tolerance: float | None = None


def commands(page: str) -> list[Command]:
    """All commands of a page's console blocks, in order."""
    found = []
    for tolerance, body in BLOCK.findall(page):
        for part in re.split(r"^\$ ", body, flags=re.M)[1:]:
            lines = part.splitlines()
            last = max(i for i, line in enumerate(lines) if i == 0 or line.startswith("> "))
            words = "\n".join([lines[0], *(line[2:] for line in lines[1 : last + 1])])
            shown = "\n".join(lines[last + 1 :])
            found.append(Command(words, shown, float(tolerance) if tolerance else None))
    return found


def run(words: str, folder: Path, environment: Mapping[str, str]) -> str:
    """What a command prints in a folder."""
    done = subprocess.run(
        ["bash", "-c", words], cwd=folder, env=environment, capture_output=True, text=True
    )
    return done.stderr if done.returncode else done.stdout


def matches(shown: str, printed: str, tolerance: float | None = None) -> bool:
    """Whether a command printed what the page shows."""
    pieces = TOKEN.findall(shown.strip())
    found = re.fullmatch("".join(_pattern(each, tolerance) for each in pieces), printed.strip())
    if found is None or tolerance is None:
        return found is not None
    numbers = (each for each in pieces if NUMBER.fullmatch(each))
    return all(
        abs(_value(ours) - _value(theirs)) <= tolerance
        for ours, theirs in zip(numbers, found.groups(), strict=True)
    )


def _pattern(piece: str, tolerance: float | None) -> str:
    if piece == "…":
        return r"[\s\S]*?"
    if piece.isspace():
        return r"\s+"
    if piece[0] in "━─":  # lines of a table, as long as its columns are wide
        return "[━─]+"
    if tolerance is not None and NUMBER.fullmatch(piece):
        return f"({NUMBER.pattern})"
    return re.escape(piece)


def _value(number: str) -> float:
    return float(number.replace(",", ""))
