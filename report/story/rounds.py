"""Active learning: the curves and tables of loops."""

from collections.abc import Iterator

from fmsel.experiments.loop.reread import LoopRecord
from fmsel.report.loop_curve import loop_figure
from fmsel.report.loop_table import conditions, curve_table, loop_notes, rivals_table
from fmsel.report.story.material import Material
from fmsel.report.story.plot import Plot
from fmsel.report.story.section import Block, Heading, Missing, Notes, Plots, Section, Tables


def rounds(material: Material) -> Section | Missing | None:
    """Learning curves of every loop; None where none was named."""
    if not material.loops:
        return None
    begun = [loop for loop in material.loops if loop.results is not None]
    if not begun:
        reason = "no round is finished in all tracks; give `fmsel loop` again to go on"
        return Missing(title="Rounds of active learning", reason=reason)
    return Section(
        name="rounds",
        title="Rounds of active learning",
        lead="Accuracy over the number of labels, where each round chose by what was learned "
        "before.",
        blocks=[
            block
            for number, loop in enumerate(begun, 1)
            for block in _blocks(loop, number, len(begun) > 1)
        ],
    )


def _blocks(loop: LoopRecord, number: int, several: bool) -> Iterator[Block]:
    results = loop.results
    assert results is not None  # only loops that have curves are shown
    if several:
        yield Heading(text=f"{loop.folder.path}: {conditions(results)}")
    if loop.done < loop.plan.rounds:
        yield Notes(texts=[f"{loop.done} of {loop.plan.rounds} rounds are finished in all tracks."])
    if results.evaluated:
        plot = Plot(
            name=f"loop{number}" if several else "loop",
            figure=loop_figure(results),
            title=f"Accuracy by number of labels, {results.dataset}",
            description=f"{conditions(results)}. A line a strategy: "
            f"{', '.join(row.strategy for row in results.rows)}. The table below holds the same "
            "figures.",
        )
        yield Plots(plots=[plot])
    tables = [curve_table(results), rivals_table(results)]
    yield Tables(tables=[each for each in tables if each])
    yield Notes(texts=loop_notes(results))
