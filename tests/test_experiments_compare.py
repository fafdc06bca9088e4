"""Runs are grouped into honest replicates, or refused by name; tables and curves say what is so."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.stats import ttest_ind

from fmsel.datasets import Source
from fmsel.errors import ArtefactError, OptionError, OutputError
from fmsel.experiments.compare import Comparison, Row, compare_runs
from fmsel.metrics.scores import PREFERRED
from fmsel.report.comparison import write_comparison
from fmsel.report.curves import curves_figure
from fmsel.report.figure import BASELINE_COLOUR
from fmsel.report.table import added_table, markdown, results_table
from fmsel.selection.split import Split

LABEL_USE = {"random": "none", "random_stratified": "stratified", "imported": "unknown"}
TEST_PART: dict[str, Any] = {"n": 200, "images_sha256": "test a", "labels_sha256": "labels"}
AddRun = Callable[..., Path]


@pytest.fixture
def add_run(tmp_path: Path) -> AddRun:
    """Fabricates finished runs on a data set of 1,000 images, eight evaluations each."""

    def add(
        name: str,
        accuracy: float,
        *,
        strategy: str = "random",
        mode: str = "fixmatch",
        seed: int = 0,
        draw: int | None = None,
        labels: int = 4,
        images: str = "images a",
        test: dict[str, Any] | None = None,
        parameters: dict[str, Any] | None = None,
        provenance: dict[str, Any] | None = None,
        init: dict[str, Any] | None = None,
        config: dict[str, Any] | None = None,
        finished: bool = True,
    ) -> Path:
        """`draw` shifts the indices; None = by the seed where the strategy is random."""
        moves = strategy in ("random", "random_stratified")
        first = 10 * (draw if draw is not None else seed if moves else 0)
        split = Split(
            dataset="toy",
            source=Source(dataset="toy").as_dict(),
            n=1000,
            images_sha256=images,
            labels_sha256="labels",
            strategy=strategy,
            parameters=parameters or {},
            seed=first,
            indices=list(range(first, first + labels)),
            label_use=LABEL_USE.get(strategy, "formula"),
            class_counts={},
            provenance=provenance or {},
        )
        folder = tmp_path / "runs" / name
        split.save(folder / "split.json")
        header = {
            "schema_version": 1,
            "mode": mode,
            "seed": seed,
            "fixmatch": {"steps": 800, "eval_every": 100, **(config or {})},
            "dataset": {"dataset": "toy", "n": 1000, "images_sha256": images},
            "test": TEST_PART if test is None else test,
            "split": {"name": name, "strategy": strategy, "sha256": split.sha256},
            "init": init,
        }
        (folder / "config.json").write_text(json.dumps(header))
        curve = accuracy * np.arange(1, 9) / 8
        lines = [
            json.dumps({"step": 100 * i + 100, "ema_accuracy": a}) for i, a in enumerate(curve)
        ]
        (folder / "metrics.jsonl").write_text("\n".join(lines))
        if finished:
            (folder / "summary.json").write_text(json.dumps({"accuracy": accuracy}))
        return folder

    return add


def three(add_run: AddRun, name: str, accuracies: Sequence[float], **options: Any) -> None:
    for seed, accuracy in enumerate(accuracies):
        add_run(f"{name}-{seed}", accuracy, seed=seed, **options)


RANDOM, MIXED, PLAIN = (0.50, 0.60, 0.55), (0.70, 0.72, 0.68), (0.40, 0.44, 0.36)


@pytest.fixture
def study(add_run: AddRun, tmp_path: Path) -> Path:
    """Random and mixed splits with FixMatch, and supervised-only on the mixed one."""
    three(add_run, "random", RANDOM)
    three(add_run, "mixed", MIXED, strategy="mixed")
    three(add_run, "mixed-supervised", PLAIN, strategy="mixed", mode="supervised")
    return tmp_path / "runs"


def row(comparison: Comparison, name: str, mode: str = "fixmatch") -> Row:
    (found,) = [r for r in comparison.rows if (r.group.name, r.group.mode) == (name, mode)]
    return found


def test_means_spreads_and_gains(study: Path) -> None:
    comparison = compare_runs([study])
    assert comparison.baseline == "random"
    assert [(r.group.name, r.group.mode, len(r.group)) for r in comparison.rows] == [
        ("random", "fixmatch", 3),
        ("mixed", "fixmatch", 3),
        ("mixed", "supervised", 3),
    ]
    mixed = row(comparison, "mixed")
    assert (mixed.mean, mixed.sd) == pytest.approx((np.mean(MIXED), np.std(MIXED, ddof=1)))
    for gain, other in ((mixed.gain, RANDOM), (mixed.added, PLAIN)):
        interval = ttest_ind(MIXED, other, equal_var=False).confidence_interval(0.95)
        assert gain is not None
        assert gain.mean == pytest.approx(np.mean(MIXED) - np.mean(other))
        assert (gain.low, gain.high) == pytest.approx(tuple(interval))


def test_gains_stay_within_one_mode(study: Path) -> None:
    """There is no supervised-only random group, so supervised-only mixed has no gain."""
    comparison = compare_runs([study])
    assert row(comparison, "mixed", "supervised").gain is None
    assert row(comparison, "random").gain is None
    assert row(comparison, "random").added is None


def test_paths_patterns_and_repeats_name_the_same_runs(study: Path) -> None:
    whole = compare_runs([study])
    parts = compare_runs([study / "random-*", study / "mixed*", study / "mixed-0"])
    assert [r.mean for r in parts.rows] == [r.mean for r in whole.rows]
    assert [len(group) for group in parts.groups] == [3, 3, 3]


def test_a_stratified_baseline_is_used_only_without_a_label_free_one(add_run: AddRun) -> None:
    stratified = add_run("stratified", 0.6, strategy="random_stratified")
    mixed = add_run("mixed", 0.7, strategy="mixed")
    alone = compare_runs([mixed, stratified])
    assert alone.baseline == "random_stratified"
    assert results_table(alone).headings[-1] == "gain over random per class (oracle)"
    both = compare_runs([mixed, stratified, add_run("random", 0.5)])
    assert both.baseline == "random"
    assert row(both, "random per class").gain is not None


def test_without_a_random_group_there_is_no_gain_column(add_run: AddRun) -> None:
    table = results_table(compare_runs([add_run("mixed", 0.7, strategy="mixed")]))
    assert table.headings[-1] == "accuracy %"
    assert list(table.rows[0]) == ["mixed", "4", "oracle", "FixMatch", "1", "70.0"]


def test_one_replicate_has_no_spread_and_two_no_interval(add_run: AddRun) -> None:
    runs = [add_run("random", 0.5), add_run("m0", 0.6, strategy="mixed")]
    runs.append(add_run("m1", 0.7, strategy="mixed", seed=1))
    comparison = compare_runs(runs)
    assert row(comparison, "random").sd is None
    first, second = results_table(comparison).rows
    assert first[-2:] == ["50.0", "–"]
    assert second[-2:] == ["65.0 ± 7.1", "+15.0 (n<3)"]


def test_splits_of_one_strategy_are_named_by_what_differs(add_run: AddRun) -> None:
    for ratio in (0.25, 0.75):
        parameters = {"ratio": ratio, "band": "0-100"}
        add_run(f"m{ratio}", 0.6, strategy="mixed", parameters=parameters)
    runs = add_run("random", 0.5).parent
    names = {group.name for group in compare_runs([runs]).groups}
    assert names == {"random", "mixed (ratio 0.25)", "mixed (ratio 0.75)"}


def test_differences_are_named_in_words_and_defaults_left_out(add_run: AddRun) -> None:
    default = {"outlier_band": {"start": 0.0, "stop": 100.0}, "metrics": list(PREFERRED)}
    others: list[dict[str, Any]] = [
        {"outlier_band": {"start": 10.0, "stop": 60.0}},
        {"metrics": ["conf", "agr"]},
        {"outlier_band": {"start": 2.5, "stop": 20.0}, "metrics": ["conf"]},
    ]
    for draw, changed in enumerate([{}, *others]):
        add_run(f"o{draw}", 0.6, strategy="outliers", draw=draw, parameters=default | changed)
    for draw, ratio in enumerate((0.5, 0.75)):
        parameters = default | {"ratio": ratio}
        runs = add_run(f"m{draw}", 0.6, strategy="mixed", draw=draw, parameters=parameters)
    assert {group.name for group in compare_runs([runs.parent]).groups} == {
        "outliers",
        "outliers (band 10-60)",
        "outliers (conf + agr)",
        "outliers (band 2.5-20, conf)",
        "mixed",
        "mixed (ratio 0.75)",
    }


def test_other_images_by_the_same_recipe_are_another_group(add_run: AddRun) -> None:
    """Two mixed splits of two scores files are no replicates."""
    runs = [
        add_run(f"m{k}", 0.6, strategy="mixed", draw=k, seed=k, provenance={"scores": f"{k}.npz"})
        for k in (0, 1)
    ]
    names = [group.name for group in compare_runs(runs).groups]
    assert len(set(names)) == 2
    assert all(re.fullmatch(r"mixed #[0-9a-f]{6}", name) for name in names)


def test_choices_of_other_seeds_by_the_same_recipe_are_replicates(add_run: AddRun) -> None:
    made_from = {"embeddings": {"sha256": "e"}}
    runs = [
        add_run(f"t{k}", 0.6, strategy="typiclust", draw=k, seed=k, provenance=made_from)
        for k in range(3)
    ]
    (group,) = compare_runs(runs).groups
    assert group.name == "typiclust" and len(group) == 3


def test_a_strategy_within_classes_goes_by_its_own_parameters(add_run: AddRun) -> None:
    name = "maxherding_within_classes"
    runs = [
        add_run(f"w{sigma}", 0.6, strategy=name, parameters={"inner": {"sigma": sigma}})
        for sigma in (1.0, 0.5)
    ]
    assert {g.name for g in compare_runs(runs).groups} == {name, f"{name} (sigma 0.5)"}


def test_warm_and_cold_starts_are_not_compared(add_run: AddRun) -> None:
    cold = add_run("cold", 0.6)
    warm = add_run("warm", 0.7, seed=1, init={"run": "cold", "step": 8, "config_sha256": "c"})
    with pytest.raises(OptionError, match=r"one of .*cold and .*warm started from another run's"):
        compare_runs([cold, warm])


def test_imported_splits_go_by_the_name_they_were_trained_under(add_run: AddRun) -> None:
    runs = [add_run(f"order{draw}", 0.6, strategy="imported", draw=draw) for draw in (0, 7)]
    assert {group.name for group in compare_runs(runs).groups} == {"order0", "order7"}


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (
            {"seed": 0},
            {"seed": 0},
            r"b .* training seed 0, on the same random split; leave one out, or take others",
        ),
        ({"draw": 1}, {"draw": 2}, r"training seed 0, on another draw of the random split"),
        ({"draw": 0}, {"draw": 0, "seed": 1}, r"/a and .*/b share one draw of the random split"),
        (
            {"strategy": "mixed"},
            {"strategy": "mixed"},
            r"/a and .*/b are no independent replicates: .* the same mixed split; leave one out",
        ),
        ({}, {"strategy": "mixed", "labels": 9}, r"/a and .*/b .*unequal budgets, 4 and 9 labels"),
        ({}, {"seed": 1, "images": "images b"}, r"/a and .*/b were trained on different images"),
        (
            {},
            {"seed": 1, "test": TEST_PART | {"images_sha256": "test b", "n": 90}},
            r"/a and .*/b were evaluated on different test parts \(200 and 90 images",
        ),
        (
            {},
            {"seed": 1, "test": TEST_PART | {"labels_sha256": "new labels"}},
            r"/a and .*/b were evaluated on different test parts",
        ),
        (
            {"config": {"threshold": 0.9}},
            {"seed": 1},
            r"trained differently, with threshold = 0.9 and threshold = 0.95; compare",
        ),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(
    add_run: AddRun, first: dict[str, Any], second: dict[str, Any], message: str
) -> None:
    runs = [add_run("a", 0.5, **first), add_run("b", 0.6, **second)]
    with pytest.raises(OptionError, match=message):
        compare_runs(runs)


def test_both_trainings_may_share_seed_and_split(add_run: AddRun) -> None:
    runs = [add_run("a", 0.5), add_run("b", 0.4, mode="supervised")]
    added = row(compare_runs(runs), "random").added
    assert added is not None
    assert added.mean == pytest.approx(0.1)


def test_paths_without_finished_runs_are_refused(add_run: AddRun, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for nothing in ("empty", "missing", "no*"):
        with pytest.raises(
            ArtefactError, match=rf"{nothing.replace('*', '.')} is no run and holds"
        ):
            compare_runs([tmp_path / nothing])
    with pytest.raises(ArtefactError, match=r"the run .*/half is not finished"):
        compare_runs([add_run("half", 0.5, finished=False)])
    with pytest.raises(ArtefactError, match=r"config\.json does not tell the test part"):
        compare_runs([add_run("untold", 0.5, test={"n": 200})])
    unlabelled = add_run("unlabelled", 0.5)
    (unlabelled / "summary.json").write_text('{"accuracy": null}')
    with pytest.raises(ArtefactError, match="unlabelled has no accuracy"):
        compare_runs([unlabelled])


def test_runs_without_an_accuracy_are_left_out_and_named(study: Path, add_run: AddRun) -> None:
    whole = compare_runs([study])
    half, other = add_run("half", 0.5, finished=False), add_run("other", 0.5, finished=False)
    unlabelled = add_run("unlabelled", 0.5)
    (unlabelled / "summary.json").write_text('{"accuracy": null}')
    with pytest.warns(UserWarning) as notes:
        rest = compare_runs([study])
    assert sorted(str(each.message) for each in notes) == [
        f"left out {half}, {other}: not finished; to go on: `fmsel train --resume`",
        f"left out {unlabelled}: no accuracy, as the test part has no labels",
    ]
    assert rest.as_dict() == whole.as_dict()
    with pytest.raises(ArtefactError, match=r"none of the 3 runs can be compared; the first: the"):
        compare_runs([half, other, unlabelled])
    (study / "mixed-0" / "config.json").write_text("{")
    with pytest.raises(ArtefactError, match=r"mixed-0/config\.json cannot be read"):
        compare_runs([study])


def test_the_files_hold_every_figure_and_the_runs_behind_it(study: Path, tmp_path: Path) -> None:
    comparison = compare_runs([study])
    out = tmp_path / "compare"
    write_comparison(comparison, out)
    record = json.loads((out / "compare.json").read_text())
    assert (record["dataset"], record["labels"], record["baseline"]) == ("toy", 4, "random")
    assert record["config"]["steps"] == 800
    for line, accuracies in zip(record["rows"], (RANDOM, MIXED, PLAIN), strict=True):
        assert [run["accuracy"] for run in line["runs"].values()] == list(accuracies)
        assert line["mean"] == pytest.approx(np.mean(accuracies))
    assert Image.open(out / "curves.png").size == (1350, 840)
    assert "![" in (out / "compare.md").read_text()
    with pytest.raises(OutputError, match=r"already exists; pass --force"):
        write_comparison(comparison, out)


def test_the_markdown_table(study: Path) -> None:
    comparison = compare_runs([study])
    lines = markdown(comparison).splitlines()
    low, high = ttest_ind(MIXED, RANDOM, equal_var=False).confidence_interval(0.95)
    assert lines[0] == "**toy, 4 labels, 800 steps**"
    assert "| random | 4 | none | FixMatch | 3 | 55.0 ± 5.0 | – |" in lines
    gain = f"+15.0 [{100 * low:+.1f}, {100 * high:+.1f}]"
    assert f"| mixed | 4 | oracle | FixMatch | 3 | 70.0 ± 2.0 | {gain} |" in lines
    added = added_table(comparison)
    assert added is not None
    assert [cells[0] for cells in added.rows] == ["mixed"]
    assert added.rows[0][1].startswith("+30.0 [")


def test_the_plot_shows_means_in_percent_and_says_which_are_oracles(study: Path) -> None:
    comparison = compare_runs([study])
    (axes,) = curves_figure(comparison).axes
    random, mixed, plain = axes.get_lines()
    np.testing.assert_array_equal(mixed.get_xdata(), np.arange(100, 900, 100))
    expected = 100 * float(np.mean(MIXED)) * np.arange(1, 9) / 8
    assert np.asarray(mixed.get_ydata(), float) == pytest.approx(expected)
    assert random.get_color() == BASELINE_COLOUR
    assert (mixed.get_color(), mixed.get_linestyle()) == (plain.get_color(), "-")
    assert plain.get_linestyle() == "--"
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "FixMatch, random (n=3)",
        "FixMatch, mixed, oracle (n=3)",
        "supervised, mixed, oracle (n=3)",
    ]
