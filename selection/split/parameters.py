"""A strategy from its name and `KEY=VALUE` texts, as the command line gives them."""

import re
import types
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, get_args, get_origin, get_type_hints

from fmsel.errors import OptionError
from fmsel.selection.pool import Strategy, strategy_class
from fmsel.selection.pool.extremes import Band


def parse_strategy(name: str, settings: Sequence[str] = (), **given: Any) -> Strategy:
    """The strategy `name` with parameters out of `settings`, such as `delta=0.5`.

    Args:
        name: a module of `fmsel.selection`, with dashes or underscores.
        settings: texts KEY=VALUE, a parameter of the strategy each.
        given: parameters that have an option of their own; None = not given.
    Raises:
        OptionError: an unknown strategy or parameter, one named twice, or a value of another kind
            or out of range.
    """
    kind = strategy_class(name)
    kinds = get_type_hints(kind)
    known = [each.name for each in fields(kind)]
    values: dict[str, Any] = {}
    for text in settings:
        key, equals, value = text.partition("=")
        key = key.strip().replace("-", "_")
        if not equals:
            raise OptionError(f"--set takes KEY=VALUE, such as delta=0.5, got {text!r}")
        if key in values:
            raise OptionError(f"--set gives {key} twice; leave one out")
        if key in known:
            values[key] = _parse(key, value.strip(), kinds[key])
        else:
            raise OptionError(_unknown(name, key, known))
    for key, value in given.items():
        if value is None:
            continue
        if key not in known:
            raise OptionError(_unknown(name, key, known))
        if key in values:
            raise OptionError(f"{key} of {name} is given twice, by --set and by its own option")
        values[key] = value
    return kind(**values)


def _unknown(name: str, key: str, known: Sequence[str]) -> str:
    there = ", ".join(known) or "none"
    return f"{name.replace('-', '_')} has no parameter {key!r}; its parameters: {there}"


def _parse(key: str, text: str, kind: Any) -> Any:
    """One value of a parameter's type: a number, a text, a `Band`, names, or an optional one."""
    if get_origin(kind) in (types.UnionType,):
        if text.lower() == "none":
            return None
        kind = next(each for each in get_args(kind) if each is not types.NoneType)
    try:
        if kind is Band:
            return parse_band(text, f"--set {key}")
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if kind in (int, float):
            return kind(text)
    except (KeyError, ValueError) as error:
        if isinstance(error, OptionError):
            raise
        names = {int: "a whole number", float: "a number", bool: "true or false"}
        raise OptionError(f"--set {key} takes {names[kind]}, got {text!r}") from None
    if get_origin(kind) is tuple:
        return tuple(each.strip() for each in text.split(",") if each.strip())
    return text


def parse_band(text: str, option: str = "--outlier-band") -> Band:
    """`"5-20"` as a `Band`; OptionError where it is no rising pair of percentiles."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)", text.strip())
    if match is None:
        raise OptionError(
            f"{option} takes two percentiles from the outlier end, such as 5-20, got {text!r}"
        )
    return Band(float(match[1]), float(match[2]))
