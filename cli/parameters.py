"""What every command's parameters get that their functions need not say: names of types in the
help, and completion in the shell."""

import inspect
from collections.abc import Callable
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from typer.models import OptionInfo, ParameterInfo

from fmsel.cli.completion import Completer, completer


def improve_parameters(command: str, function: Callable[..., Any]) -> None:
    """Complete the parameters of a command's function, before it is made a command.

    Args:
        command: such as "score" or "labels import".
        function: its parameters are annotated with typer's options and arguments.
    """
    for name, parameter in inspect.signature(function).parameters.items():
        kind, *notes = get_args(parameter.annotation) or (None,)
        for note in notes:
            if isinstance(note, ParameterInfo):
                if found := completer(command, name):
                    note.autocompletion = _callback(found)
                if isinstance(note, OptionInfo) and note.metavar is None:
                    note.metavar = _shown(kind)


def _callback(complete: Completer) -> Callable[[str], list[str]]:
    """Under the name that typer passes the typed text to."""

    def offer(incomplete: str) -> list[str]:
        return complete(incomplete)

    return offer


def _shown(kind: Any) -> str | None:
    """What stands for an option's value where typer's own word is none of a user's."""
    if get_origin(kind) in (Union, UnionType):
        [kind] = [each for each in get_args(kind) if each is not NoneType]
    if kind is bool:
        return ""  # a flag has no value
    if get_origin(kind) is list:
        return f"<{get_args(kind)[0].__name__.lower()}>"
    return None
