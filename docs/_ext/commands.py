"""The reference of the command line, from the commands themselves."""

import re
from collections.abc import Iterator
from typing import Any

import typer.main

from fmsel.cli.app import app

PLAIN = "Options"  # of a command whose options are in no panel


def commands_text() -> str:
    """Markdown with a section for every command, in the order of `fmsel --help`."""
    return "\n\n".join(_command(typer.main.get_command(app), "fmsel", 1))


def _command(command: Any, name: str, depth: int) -> Iterator[str]:
    context = command.make_context(name, [], resilient_parsing=True)
    if depth > 1:
        yield f"{'#' * depth} {name}"
        usage = " ".join(command.collect_usage_pieces(context))
        yield f"```\n{name} {usage}\n```"
        yield _prose(command.help or "")
        yield _examples(command.epilog or "")
    yield from _parameters(command, context)
    for each, sub in getattr(command, "commands", {}).items():
        if not sub.hidden:
            yield from _command(sub, f"{name} {each}", depth + 1)


def _parameters(command: Any, context: Any) -> Iterator[str]:
    panels: dict[str, list[str]] = {}
    for each in command.params:
        if not getattr(each, "hidden", False) and (record := each.get_help_record(context)):
            title = getattr(each, "rich_help_panel", None)
            kind = "Arguments" if each.param_type_name == "argument" else PLAIN
            panels.setdefault(title or kind, []).append(_definition(*record))
    for title, definitions in panels.items():
        yield f"**{title}**"
        yield "\n\n".join(definitions)


def _examples(epilog: str) -> str:
    lines = [line for line in epilog.splitlines() if line.startswith("$ ")]
    return "\n".join(["```console", *lines, "```"]) if lines else ""


def _definition(names: str, text: str) -> str:
    """A definition list's entry."""
    return f"`{names}`\n: {_prose(text) or '–'}"


def _prose(text: str) -> str:
    """Plain text as Markdown: brackets mean themselves, and options are code."""
    parts = text.split("`")  # every second one is code already
    for number in range(0, len(parts), 2):
        plain = re.sub(r"([\[\]<>*_])", r"\\\1", parts[number])
        parts[number] = re.sub(r"(?<![\w-])--[a-z][\w-]*", r"`\g<0>`", plain)
    return "`".join(parts)
