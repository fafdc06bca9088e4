"""A checkup on the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fmsel.report.doctor import Checkup

MEMORY, DISK = (2**30, "GiB"), (1e9, "GB")
MISSING = "not installed"
NAMES = 17  # cells of the left column, alike in all sections


def print_checkup(checkup: Checkup, console: Console) -> None:
    """Print a section for everything that was looked at, then what is wrong."""
    facts = checkup.facts
    sections: dict[str, Mapping[str, str]] = {
        "machine": _machine(facts["machine"] or {}, facts["gpus"] or {}),
        "packages": _packages((facts["packages"] or {}).get("needed", {})),
        "extras": _extras((facts["packages"] or {}).get("extras", {})),
        "folders": _folders(facts["storage"] or {}),
        "data sets": _datasets(facts["datasets"] or {}),
        "settings": _settings(facts["settings"] or {}),
    }
    for title, rows in sections.items():
        if rows:
            console.print(title, style="bold")
            console.print(_table(rows))
    _print_problems(checkup, console)


def _print_problems(checkup: Checkup, console: Console) -> None:
    console.print()
    for problem in checkup.problems:
        kind, style = ("wrong: ", "red") if problem.needed else ("note: ", "yellow")
        console.print(Text(kind + problem.text, style=style))
    works = "all that fmsel needs is there and works"
    broken = "fmsel does not work until what is wrong is mended"
    console.print(works if checkup.works else broken, style="green" if checkup.works else "red")


def _table(rows: Mapping[str, str]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True, style="dim", min_width=NAMES)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(Text(f"  {name}"), Text(value, style="yellow" * (value == MISSING)))
    return table


def _machine(machine: Mapping[str, Any], gpus: Mapping[str, Any]) -> dict[str, str]:
    if not machine:
        return {}
    threads = "" if machine["threads"] is None else f", torch uses {machine['threads']}"
    rows = {
        "system": machine["system"],
        "python": machine["python"],
        "CPU": f"{machine['cpu']}, {machine['cores']} cores{threads}",
        "memory": _size(machine["memory"], *MEMORY),
    }
    for number, gpu in enumerate(gpus.get("torch") or []):
        bf16 = "bf16" if gpu["bf16"] else "no bf16"
        rows[f"GPU {number}"] = f"{gpu['name']}, {_size(gpu['memory'], *MEMORY)}, {bf16}"
    if gpus.get("driver"):
        rows["driver"] = gpus["driver"][0]["driver"]
        seen = [f"{each['name']}, {_size(each['memory'], *MEMORY)}" for each in gpus["driver"]]
        rows |= {} if gpus.get("torch") else {"driver sees": "; ".join(seen)}
    elif not gpus.get("torch"):
        rows["GPU"] = "none"
    if gpus.get("torch") is not None:
        rows["torch for"] = f"CUDA {gpus['cuda']}" if gpus["cuda"] else "CPU only"
    if machine["device"]:
        rows["--device auto"] = f"{machine['device']}, in {machine['precision']}"
    return rows


def _packages(needed: Mapping[str, str | None]) -> dict[str, str]:
    return {name: version or MISSING for name, version in needed.items()}


def _extras(extras: Mapping[str, Mapping[str, str | None]]) -> dict[str, str]:
    """What is installed of each extra, or how to get it."""
    rows = {}
    for extra, members in extras.items():
        if all(members.values()):
            rows[extra] = ", ".join(f"{name} {version}" for name, version in members.items())
        else:
            rows[extra] = f"to have it: pip install 'fmsel[{extra}]'"
    return rows


def _folders(storage: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    rows = {}
    for name, each in storage.items():
        parts = [each["path"]]
        parts += [] if each["size"] is None else [f"{_size(each['size'], *DISK)} used"]
        parts += [f"{_size(each['free'], *DISK)} free"]
        parts += [] if each["writable"] else ["cannot be written to"]
        rows[name] = ", ".join(parts)
    return rows


def _datasets(places: Mapping[str, str]) -> dict[str, str]:
    return {
        name: place or "not here yet, downloaded at first use" for name, place in places.items()
    }


def _settings(settings: Mapping[str, Any]) -> dict[str, str]:
    if not settings:
        return {}
    kind = f"{settings['columns']} columns" if settings["terminal"] else "none"
    return {"terminal": f"{kind}, {settings['encoding']}", **settings["environment"]}


def _size(count: float | None, unit: float, name: str) -> str:
    return "unknown" if count is None else f"{count / unit:,.1f} {name}"
