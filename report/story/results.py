"""Which choice was better: the table of splits with intervals, each comparable part by itself."""

from collections.abc import Iterator
from dataclasses import replace

from fmsel.experiments.statistics import MIN_REPLICATES
from fmsel.report.demo import findings
from fmsel.report.story.material import Material, Part
from fmsel.report.story.section import Block, Heading, Missing, Notes, Section, Tables
from fmsel.report.table import added_table, notes, results_table


def results(material: Material) -> Section | Missing | None:
    """The tables; None where no run was named."""
    if not material.runs:
        return None
    parts, apart = material.parts, [each.why for each in material.runs if each.finished is None]
    if not parts:
        return Missing(title="Results", reason=f"no run has an accuracy: {'; '.join(apart)}")
    blocks: list[Block] = []
    if len(parts) > 1:
        blocks.append(Notes(texts=[*_apart(parts)]))
    for part in parts:
        blocks += _part(part, several=len(parts) > 1)
    said = dict.fromkeys(note for part in parts for note in notes(part.comparison))
    left_out = [f"Left out: {each}." for each in apart]
    blocks.append(Notes(texts=[*left_out, *said]))
    return Section(
        name="results",
        title="Results",
        lead="Test accuracy of every kind of split, and its gain over the random one.",
        blocks=blocks,
    )


def verdicts(material: Material) -> list[str]:
    """What the runs say, a sentence a gain; none where nothing was compared."""
    several = len(material.parts) > 1
    return [
        (f"{part.title}: " if several else "") + said
        for part in material.parts
        for said in _verdicts(part)
    ]


def _verdicts(part: Part) -> list[str]:
    gains = [gain for row in part.comparison.rows for gain in (row.gain, row.added) if gain]
    if gains and all(gain.low is None for gain in gains):
        return [f"with fewer than {MIN_REPLICATES} replicates a split, nothing can be told apart"]
    return findings(part.comparison)


def _apart(parts: tuple[Part, ...]) -> Iterator[str]:
    yield (
        f"These runs cannot all be compared with one another, so they stand in {len(parts)} tables:"
    )
    for part in parts[1:]:
        yield part.reason.rpartition("; ")[0] + "."


def _part(part: Part, several: bool) -> Iterator[Block]:
    comparison = part.comparison
    if several:
        yield Heading(text=part.title)
    main = results_table(comparison)
    tables = [replace(main, title="Test accuracy") if several else main, added_table(comparison)]
    yield Tables(tables=[each for each in tables if each])
