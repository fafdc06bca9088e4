"""The tables of a loop: accuracy at each budget, area under the curve, gains over random."""

from fmsel.experiments.compare_groups import STRATIFIED
from fmsel.experiments.loop.results import LoopResults, Row
from fmsel.experiments.loop.statistics import Tally
from fmsel.experiments.statistics import MIN_REPLICATES, standard_deviation
from fmsel.report.table import Table, baseline_name, format_gain


def curve_table(results: LoopResults) -> Table:
    """Accuracy of every strategy at each budget, and the area under its curve."""
    late = any(row.start for row in results.rows)
    headings = ["strategy", *(["start"] if late else []), "label use"]
    if results.evaluated:
        headings += [*(f"{budget:,} labels" for budget in results.budgets), "area"]
    return Table(
        title=conditions(results),
        headings=headings,
        rows=[_curve_cells(row, results, late) for row in results.rows],
    )


def rivals_table(results: LoopResults) -> Table | None:
    """Every strategy against each random baseline that was run; None where none was."""
    if not results.baselines or not results.evaluated:
        return None
    return Table(
        title=f"Against random choice, over {results.seeds * len(results.budgets)} pairs of seed "
        "and budget",
        headings=["strategy", "over", "wins–losses–ties", "gain in area"],
        rows=[
            [
                strategy_name(row.strategy),
                baseline_name(name),
                _format_tally(rival.tally),
                format_gain(rival.gain),
            ]
            for name in results.baselines
            for row in results.rows
            if (rival := row.against.get(name))
        ],
    )


def loop_notes(results: LoopResults) -> list[str]:
    """What the figures are, one sentence each."""
    if not results.evaluated:
        return ["No accuracy was measured, for the test part has no labels."]
    said = [
        "Accuracy in % at each number of labels: mean ± sample standard deviation over seeds; each "
        "is the median of a run's last 20 evaluations (of the last quarter where that is fewer).",
        "Area: under the curve over the logarithm of the labels, as an average accuracy in %.",
    ]
    if results.baselines:
        said.append(
            "Wins: how often the accuracy was above, below and equal to the baseline's. Gain: mean "
            "difference of areas in points, with Student's 95 % interval for pairs of one seed; "
            f"n<{MIN_REPLICATES}: too few seeds for one."
        )
    if any(row.start for row in results.rows):
        said.append(
            "Start: what chose the first round of a strategy that needs a trained run; strategies "
            "with the same start share that round and its run, which makes ties."
        )
    if results.short:
        said.append("Some rounds have fewer labels than their budget, as people skipped images.")
    if results.beyond:
        said.append(
            "Some rounds have more labels than their budget, as people labelled images later that "
            "they had skipped."
        )
    if any(row.oracle for row in results.rows):
        said.append(
            "oracle: the choice read labels that nobody has before labelling, so it shows what is "
            "possible and not what a user would get."
        )
    return said


def conditions(results: LoopResults) -> str:
    """Data set, training and seeds that all curves share."""
    seeds = f"{results.seeds} seed{'s' if results.seeds > 1 else ''}"
    return f"{results.dataset}, {results.training}, {seeds}"


def strategy_name(name: str) -> str:
    """What readers see of a strategy."""
    return STRATIFIED if name == "random_stratified" else name


def _curve_cells(row: Row, results: LoopResults, late: bool) -> list[str]:
    start = [strategy_name(row.start) if row.start else "–"] if late else []
    cells = [strategy_name(row.strategy), *start, "oracle" if row.oracle else "none"]
    if results.evaluated:
        cells += [_spread(values) for values in [*row.accuracies, row.areas]]
    return cells


def _spread(values: list[float]) -> str:
    spread = standard_deviation(values)
    return f"{100 * sum(values) / len(values):.1f}" + (
        "" if spread is None else f" ± {100 * spread:.1f}"
    )


def _format_tally(tally: Tally) -> str:
    return f"{tally.wins}–{tally.losses}–{tally.ties}"
