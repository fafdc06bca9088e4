"""Tables, files and picture of a loop say what is so, and which strategies are oracles."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.artist import Artist
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from PIL import Image
from scipy.stats import ttest_1samp, ttest_rel

from fmsel.experiments.loop.results import LoopResults, Rival, Row, Track
from fmsel.experiments.loop.statistics import paired_gain, tally
from fmsel.report.figure import BASELINE_COLOUR, COLOURS
from fmsel.report.loop import write_loop
from fmsel.report.loop_curve import APART, loop_figure
from fmsel.report.loop_table import curve_table, loop_notes, rivals_table

BUDGETS = (10, 40)
RANDOM = ((0.2, 0.4), (0.4, 0.6), (0.3, 0.5))  # a seed each
MARGIN = ((0.2, 0.6), (0.4, 0.9), (0.3, 0.4))
STRATIFIED = ((0.5, 0.5), (0.5, 0.7), (0.5, 0.9))
Curves = tuple[tuple[float, float], ...]


def row(strategy: str, curves: Curves, *, start: str | None = None, use: str = "none") -> Row:
    tracks = tuple(
        Track(
            seed=seed,
            labels=BUDGETS,
            accuracies=curve,
            rounds=(f"tracks/{strategy}-seed{seed}/round-0",) * 2,
        )
        for seed, curve in enumerate(curves)
    )
    own = {(s, r): value for s, curve in enumerate(curves) for r, value in enumerate(curve)}
    base = {(s, r): value for s, curve in enumerate(RANDOM) for r, value in enumerate(curve)}
    gain = paired_gain(
        [sum(each) / 2 for each in curves], [sum(each) / 2 for each in RANDOM[: len(curves)]]
    )
    against = {} if strategy == "random" else {"random": Rival(tally=tally(own, base), gain=gain)}
    return Row(strategy=strategy, label_use=use, start=start, tracks=tracks, against=against)


def results(*rows: Row, evaluated: bool = True) -> LoopResults:
    return LoopResults(
        dataset="toy",
        budgets=BUDGETS,
        training="FixMatch, small, 400 steps",
        rows=rows,
        evaluated=evaluated,
    )


@pytest.fixture
def study() -> LoopResults:
    return results(
        row("margin", MARGIN, start="random"),
        row("random", RANDOM),
        row("random_stratified", STRATIFIED, use="stratified"),
    )


def test_the_tables_by_hand(study: LoopResults) -> None:
    table = curve_table(study)
    assert table.title == "toy, FixMatch, small, 400 steps, 3 seeds"
    assert table.headings == ["strategy", "start", "label use", "10 labels", "40 labels", "area"]
    margin, random, stratified = table.rows
    area = np.mean(MARGIN, axis=1)  # of one trapezoid: the mean of its sides
    assert margin == [
        *(
            "margin",
            "random",
            "none",
            "30.0 ± 10.0",
            f"63.3 ± {100 * np.std([6, 9, 4], ddof=1) / 10:.1f}",
        ),
        f"{100 * area.mean():.1f} ± {100 * area.std(ddof=1):.1f}",
    ]
    assert random[:4] == ["random", "–", "none", "30.0 ± 10.0"]
    assert stratified[:4] == ["random per class", "–", "oracle", "50.0 ± 0.0"]
    rivals = rivals_table(study)
    assert rivals is not None and "6 pairs of seed and budget" in rivals.title
    interval = ttest_rel(area, np.mean(RANDOM, axis=1)).confidence_interval(0.95)
    low, high = 100 * interval.low, 100 * interval.high
    assert rivals.rows[0] == ["margin", "random", "2–1–3", f"+6.7 [{low:+.1f}, {high:+.1f}]"]
    said = " ".join(loop_notes(study))
    assert "oracle:" in said and "Start:" in said and "skipped" not in said


def test_columns_and_notes_only_where_they_say_something() -> None:
    alone = results(row("random", RANDOM[:1]))
    assert curve_table(alone).headings == [
        "strategy",
        "label use",
        "10 labels",
        "40 labels",
        "area",
    ]
    assert list(curve_table(alone).rows[0]) == ["random", "none", "20.0", "40.0", "30.0"]
    table = rivals_table(alone)
    assert table is not None and not table.rows
    assert "oracle" not in " ".join(loop_notes(alone))
    two = results(row("random", RANDOM[:2]), row("margin", MARGIN[:2]))
    rivals = rivals_table(two)
    assert rivals is not None and rivals.rows[0][-1].endswith("(n<3)")
    assert rivals_table(results(row("margin", MARGIN, start="random"))) is None


def test_the_picture(study: LoopResults) -> None:
    (axes,) = loop_figure(study).axes
    lines = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    assert [line.get_label() for line in lines] == [
        "margin, start random",
        "random",
        "random per class, oracle",
    ]
    margin = lines[0]
    assert list(np.asarray(margin.get_ydata())) == pytest.approx([30, 100 * 1.9 / 3])
    assert [line.get_linestyle() for line in lines] == ["-", "-", "--"]
    colours = [to_hex(str(line.get_color())).upper() for line in lines]
    assert colours[:2] == [COLOURS[0], BASELINE_COLOUR]
    assert len({*colours, *COLOURS}) == len(COLOURS) + 2  # the oracle's hue is no other's
    assert len({line.get_marker() for line in lines}) == 3
    assert axes.get_xscale() == "log" and list(axes.get_xticks()) == list(BUDGETS)
    (bars,) = axes.containers[0].get_children()[-1:]  # margin's
    values = [curve[0] for curve in MARGIN]
    interval = ttest_1samp(values, 0).confidence_interval(0.95)
    (low, high), *_ = spans(bars)
    assert (low, high) == pytest.approx((max(0, 100 * interval.low), 100 * interval.high))
    assert axes.get_title(loc="left") == "Accuracy by number of labels, toy"
    assert [text.get_text() for text in axes.texts] == [
        "On the test part, EMA weights; FixMatch, small, 400 steps; mean of 3 seeds, bars: its "
        "95 % interval"
    ]


def spans(bars: Artist) -> list[tuple[float, float]]:
    """(lower end, upper end) of each error bar."""
    assert isinstance(bars, LineCollection)
    heights = [np.asarray(each)[:, 1] for each in bars.get_segments()]
    return [(float(each.min()), float(each.max())) for each in heights]


def test_strategies_stand_side_by_side_at_their_real_numbers_of_labels() -> None:
    """A shared first round hides no marker; skipped images move a point to their mean number."""
    short = replace(row("margin", MARGIN), tracks=row("margin", MARGIN).tracks[:2])
    tracks = (replace(short.tracks[0], labels=(8, 40)), short.tracks[1])
    figure = loop_figure(results(replace(short, tracks=tracks), row("random", RANDOM[:2])))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    margin, random = (line for line in axes.get_lines() if str(line.get_label())[0] != "_")
    assert list(np.asarray(margin.get_xdata())) == [9, 40]
    places = [line.get_transform().transform(line.get_xydata()) for line in (margin, random)]
    apart = (places[1] - places[0])[1, 0] * 72 / figure.dpi  # points, at 40 labels
    assert apart == pytest.approx(APART)
    low, high = axes.get_ylim()
    assert low < 20 and 90 < high < 100  # all single seeds are seen, and no more


def test_bars_end_at_0_and_100_and_fewer_seeds_are_dots() -> None:
    (axes,) = loop_figure(results(row("margin", ((0, 0), (0.5, 0.5), (1, 1))))).axes
    bars = axes.containers[0].get_children()[-1]
    np.testing.assert_allclose(spans(bars), [(0, 100), (0, 100)], atol=1e-9)
    (axes,) = loop_figure(results(row("random", RANDOM[:2]))).axes
    assert not axes.containers
    dots = [line for line in axes.get_lines() if line.get_marker() == "."]
    assert [list(np.asarray(line.get_ydata())) for line in dots] == [
        pytest.approx([20, 40]),
        pytest.approx([40, 60]),
    ]
    assert axes.texts[0].get_text().endswith("; mean of 2 seeds, dots: single seeds")
    (axes,) = loop_figure(results(row("random", RANDOM[:1]))).axes
    assert len(axes.get_lines()) == 1 and axes.texts[0].get_text().endswith("; one seed")


def test_the_files_and_that_they_are_written_over(study: LoopResults, tmp_path: Path) -> None:
    for _ in range(2):
        written = write_loop(study, tmp_path)
    assert [path.name for path in written] == ["loop.csv", "results.json", "curve.png"]
    lines = written[0].read_text().splitlines()
    assert lines[0] == "strategy,start,label_use,seed,round,budget,labels,accuracy"
    assert lines[1:3] == ["margin,random,none,0,0,10,10,0.2", "margin,,none,0,1,40,40,0.6"]
    assert len(lines) == 1 + 3 * 3 * 2
    record = json.loads(written[1].read_text())
    assert record["rows"][0]["against"]["random"]["tally"] == {"wins": 2, "losses": 1, "ties": 3}
    assert record["rows"][0]["curve"][1]["mean"] == pytest.approx(1.9 / 3)
    assert Image.open(written[2]).size == (1350, 840)


def test_notes_on_numbers_of_labels_beside_the_budget(study: LoopResults) -> None:
    (track,) = row("random", RANDOM[:1]).tracks
    for labels, words in (((9, 40), "fewer labels"), ((10, 41), "more labels")):
        one = replace(study.rows[1], tracks=(replace(track, labels=labels),))
        said = " ".join(loop_notes(results(one)))
        assert words in said and ("fewer labels" in said) != ("more labels" in said)


def test_without_accuracies_there_is_no_picture(tmp_path: Path) -> None:
    bare = Track(seed=0, labels=BUDGETS, accuracies=(None, None), rounds=("a", "b"))
    only = Row(strategy="random", label_use="none", start=None, tracks=(bare,), against={})
    unknown = results(only, evaluated=False)
    assert [path.name for path in write_loop(unknown, tmp_path)] == ["loop.csv", "results.json"]
    assert list(curve_table(unknown).rows[0]) == ["random", "none"]
    assert rivals_table(unknown) is None
    assert loop_notes(unknown) == ["No accuracy was measured, for the test part has no labels."]
