"""What a split holds and where it came from, as tables for the terminal."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group
from rich.table import Column, Table

from fmsel.errors import FmselError
from fmsel.metrics.scores import within_class_percentile
from fmsel.selection.split import Split
from fmsel.selection.split.inputs import is_made_from, load_split_data, matching_scores


def label_use(split: Split) -> str:
    """Whether the choice read labels that nobody has, in words."""
    if not split.oracle:
        return "no, label-free"
    if split.label_use == "unknown":
        return "unknown"
    return f"yes, an oracle ({split.label_use})"


def summary(split: Split) -> str:
    """One line: how many images of what, chosen how."""
    counts = list(split.class_counts.values())
    classes = ""
    if counts:
        least, most = min(counts), max(counts)
        each = f"{least}" if least == most else f"{least} to {most}"
        classes = f", {each} of each of {len(counts)} classes"
    facts = f"{split.strategy}{classes}; reads labels: {label_use(split)}"
    if split.labels is None and not counts:
        return f"{len(split)} images of {split.dataset} to label ({facts})"
    waiting = f", {split.awaited} of them awaited" if split.awaited else ""
    return f"{len(split)} labels of {split.dataset}{waiting} ({facts})"


def facts_table(split: Split) -> Table:
    """Strategy, parameters, provenance and versions, a row each."""
    table = Table("", Column(overflow="fold"), show_header=False, box=None)
    rows = {
        "data set": f"{split.dataset}, {split.n} images",
        "strategy": split.strategy,
        **_flat(split.parameters, "  "),
        "labels": f"{len(split)}{_givers(split)}",
        **({"chosen as": _counted_ends(split)} if split.ends else {}),
        "seed": str(split.seed),
        "reads labels": label_use(split),
        **_flat(split.provenance, "from "),
        "made with": ", ".join(f"{name} {number}" for name, number in split.versions.items()),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _givers(split: Split) -> str:
    if split.labels is None:
        return ""
    return (
        f", {len(split) - split.awaited} of them given by people"
        if split.awaited
        else (", given by people")
    )


def _counted_ends(split: Split) -> str:
    there = set(split.indices)
    return ", ".join(f"{len(there.intersection(of))} {name}" for name, of in split.ends.items())


def _flat(record: Mapping[str, Any], prefix: str) -> dict[str, str]:
    """Nested objects as one row a value, named by the path to it; objects in a list are counted."""
    rows: dict[str, str] = {}
    for name, value in record.items():
        if isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
            numbered = {str(number): each for number, each in enumerate(value, 1)}
            rows |= _flat(numbered, f"{prefix}{name} ")
        elif isinstance(value, Mapping):
            rows |= _flat(value, f"{prefix}{name} ")
        else:
            several = isinstance(value, list)
            rows[prefix + name] = ", ".join(map(str, value)) if several else str(value)
    return rows


def class_table(split: Split) -> Group | str:
    """Labels of every class, or why they are not counted."""
    if not split.class_counts:
        return "no class counts: the data set has no labels"
    table = Table("class", "labels", title="Labels a class")
    for name, count in split.class_counts.items():
        table.add_row(name, str(count) if count else "none")
    missing = [name for name, count in split.class_counts.items() if not count]
    there = f"missing: {', '.join(missing)}" if missing else "every class is there"
    return Group(table, there)


def index_table(split: Split, scores_path: Path | None, data_root: Path | None) -> Group | str:
    """The images in the order of the choice, with their percentiles under scores, if there are any.

    Args:
        scores_path: of a scores file; None = those it was made from, or the only one in scores/.
        data_root: where the images lie now.
    Raises:
        ArtefactError: the named scores are broken or of other images.
    """
    scores = matching_scores(split, scores_path)
    try:
        data = load_split_data(split, data_root=data_root)
        split.check(data, "the split")
        labels, ids, among = data.labels, data.ids, "its class"
    except FmselError:  # the images are not at hand: still show what the scores alone tell
        labels, ids = np.zeros(split.n, dtype=np.int64), np.array([""] * split.n)
        among = "all images"
    ends = split.chosen_as()
    columns = ["index", "image", *(["chosen as"] if ends else [])]

    def told(index: int) -> list[str]:
        return [str(index), ids[index], *([ends.get(index, "")] if ends else [])]

    if scores is None:
        table = Table(*columns, title="Images, in the order of the choice")
        for index in split.indices:
            table.add_row(*told(index))
        return Group(
            table, "no percentiles: scores/ holds no scores of them; name a file: --scores"
        )
    table = Table(*columns, *scores.arrays, title=f"Percentile in {among} (100 = typical)")
    percentiles = [
        100 * within_class_percentile(each, labels)[split.index_array]
        for each in scores.arrays.values()
    ]
    for place, index in enumerate(split.indices):
        table.add_row(*told(index), *(f"{each[place]:.1f}" for each in percentiles))
    others = (
        [] if is_made_from(split, scores) else ["from other scores than the split was made from"]
    )
    return Group(table, *others)
