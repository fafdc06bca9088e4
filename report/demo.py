"""The main job in one picture and one sentence."""

from pathlib import Path

from fmsel.experiments.compare import Comparison
from fmsel.experiments.demo import Demo
from fmsel.experiments.statistics import Gain
from fmsel.metrics.scores.summary import default_ranking
from fmsel.report.curves import draw_curves
from fmsel.report.figure import new_figure, write_figure
from fmsel.report.gallery import draw_gallery
from fmsel.report.table import format_gain


def write_demo_figure(demo: Demo, path: Path, force: bool = False) -> None:
    """Write a PNG: a gallery in the order that the mixed split chose by, and the curves."""
    figure = new_figure(14, 6.6)
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(6, 8))[0]
    ranking, metrics = default_ranking(demo.scores, demo.data.labels)
    draw_gallery(left, demo.data, ranking, f"ranked by {' + '.join(metrics)}")
    draw_curves(right.subplots(), demo.comparison)
    write_figure(figure, path, force)


def finding(comparison: Comparison) -> str:
    """All of `findings`, as one sentence."""
    return f"Found: {'; '.join(findings(comparison))}."


def findings(comparison: Comparison) -> list[str]:
    """What the FixMatch runs say, whichever way; an interval that holds 0 decides nothing."""
    said = []
    for row in comparison.rows:
        if row.added:
            plain = f"supervised-only training on the same {row.group.name} labels"
            said.append(_verdict("FixMatch", plain, row.added))
        if row.gain and row.group.mode == "fixmatch":
            said.append(_verdict(f"the {row.group.name} split", "the random one", row.gain))
    return said


def _verdict(one: str, other: str, gain: Gain) -> str:
    if gain.low is None or gain.high is None or gain.low <= 0 <= gain.high:
        return f"{one} cannot be told from {other} ({format_gain(gain)} points)"
    verb = "beat" if gain.mean > 0 else "lost to"
    return f"{one} {verb} {other} ({format_gain(gain)} points)"
