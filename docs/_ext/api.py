"""The reference of the Python API, from the docstrings."""

import inspect
import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any, get_origin

ARRAY = re.compile(
    r"~?numpy\.ndarray\[~?tuple\[~?typing\.Any, \.\.\.\], ~?numpy\.dtype\[~?(\w+\.\w+)\]\]"
)
SHORT_ARRAY = r"~numpy.typing.NDArray[~\1]"

NO_PYTHON = re.compile(r"= ?<(?:[^<>]|<[^<>]*>)+>")  # a default such as <factory>
TYPED_RETURN = re.compile(r"^:returns: \*(.+?)\* -- ")


def api_text(request: str) -> str:
    """Markdown with a section for every module named; `fmsel.metrics.*` are all plain modules."""
    return "\n\n".join(_section(import_module(name)) for name in _expanded(request.split()))


def tidy(app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Mend what napoleon, which runs before, makes of our docstrings.

    It takes the words before a colon for a type, in a property's docstring and below Returns, and
    the first of several names that are described together for the type of the last.
    """
    if what == "property" and lines and lines[-1].startswith(":type: "):
        lines[:] = [f"{lines[-1].removeprefix(':type: ')}: {lines[0]}", *lines[1:-1]]
    for number, line in enumerate(lines):
        if line.startswith((":ivar ", ":param ")):
            field, colon, text = line.partition(": ")
            lines[number] = field.replace(", ", ",\u200b") + colon + text
        else:
            lines[number] = TYPED_RETURN.sub(r":returns: \1: ", line)


def shorten(
    app: object, what: str, name: str, obj: object, options: object, words: str, returns: str | None
) -> tuple[str, str | None] | None:
    """Write arrays in signatures as the source does, and defaults that are no Python as `...`."""
    if not words:
        return None
    words = ARRAY.sub(SHORT_ARRAY, NO_PYTHON.sub("= ...", words))
    return words, returns and ARRAY.sub(SHORT_ARRAY, returns)


def is_field(
    app: object, what: str, name: str, obj: object, skip: bool, options: object
) -> bool | None:
    """Leave out the fields of named tuples, of which autodoc knows only the number."""
    return str(getattr(obj, "__doc__", "")).startswith("Alias for field number") or None


def is_ours(target: str) -> bool:
    """Whether a name that has no section is that of something in fmsel."""
    module, _, name = target.rpartition(".")
    try:
        return target.startswith("fmsel.") and hasattr(import_module(module), name)
    except ImportError:
        return False


def _expanded(names: list[str]) -> Iterator[str]:
    for name in names:
        if name.endswith(".*"):
            package = import_module(name.removesuffix(".*"))
            for each in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
                if not each.ispkg:
                    yield each.name
        else:
            yield name


def _section(module: ModuleType) -> str:
    lines = [f".. automodule:: {module.__name__}"]
    for name in _members(module):
        lines += ["", *_entry(f"{module.__name__}.{name}", getattr(module, name))]
    body = "\n".join(lines)
    return f"## {module.__name__}\n\n```{{eval-rst}}\n{body}\n```"


def _entry(name: str, value: Any) -> list[str]:
    if get_origin(value) is None and inspect.isclass(value):
        return [f".. autoclass:: {name}", "   :members:"]
    if inspect.isfunction(value):
        return [f".. autofunction:: {name}"]
    return [f".. py:data:: {name}", f"   :value: {value}"]


def _members(module: ModuleType) -> list[str]:
    """What the module offers: its `__all__`, or what it defines and documents itself."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
        and value.__doc__
    ]
