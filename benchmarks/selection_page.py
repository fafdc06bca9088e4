"""The tables and the picture of docs/selection-results.md, from what choices.py and FixMatch left.

    python benchmarks/selection_page.py RESULTS… --out docs/selection-results.md

RESULTS are folders that hold choices/ and question/ (choices.py --out) and perhaps fixmatch.json
(written here from runs with --runs RUNS RESULTS). The text of the page between the marks
`<!-- results -->` and `<!-- end -->` is replaced; the rest is written by hand.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from scipy.stats import t as student

from fmsel.artefacts import write_json, write_text
from fmsel.experiments.loop.statistics import paired_gain
from fmsel.experiments.selection_quality import chance_of_all_classes
from fmsel.experiments.statistics import standard_deviation, welch_gain
from fmsel.fixmatch.run.record import RunRecord
from fmsel.report.figure import (
    BASELINE_COLOUR,
    COLOURS,
    SMALL_SIZE,
    SOFT,
    clean_axes,
    new_figure,
    set_heading,
    write_figure,
)

BEGIN, END = "<!-- results -->", "<!-- end -->"
Rows = list[dict[str, Any]]


def load(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def by_choice(rows: Rows, value: str) -> dict[tuple[str, int], list[float]]:
    """(choice, budget) -> the value for each seed."""
    found = defaultdict(list)
    for row in rows:
        found[row["choice"], row["budget"]].append(float(row[value]))
    return dict(found)


def spread(values: Sequence[float] | None, scale: float = 100, digits: int = 1) -> str:
    if not values:
        return "–"
    sd = standard_deviation(values)
    mean = f"{scale * float(np.mean(values)):.{digits}f}"
    return mean if sd is None else f"{mean} ± {scale * sd:.{digits}f}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def strategies_table(rows: Rows) -> str:
    accuracy = by_choice(rows, "accuracy")
    classes, covered, mmd = (by_choice(rows, key) for key in ("classes", "covered", "mmd"))
    budgets = sorted({row["budget"] for row in rows})
    facts = {row["choice"]: row for row in rows}
    order = sorted(facts, key=lambda name: -float(np.mean(accuracy[name, 40])))
    heads = ["strategy", "reads"]
    heads += [f"{budget}" for budget in budgets]
    heads += ["classes of 10 labels", "covered by 40", "MMD² x 1000 of 40"]
    return table(
        heads,
        (
            [
                f"`{name}`",
                _reads(facts[name]),
                *(spread(accuracy.get((name, budget))) for budget in budgets),
                f"{np.mean(classes[name, 10]):.1f}",
                spread(covered[name, 40]),
                spread(mmd[name, 40], 1000),
            ]
            for name in order
        ),
    )


def gains_table(rows: Rows, baseline: str) -> str:
    """Of every choice that reads no label over the baseline, paired by seed, in points."""
    found: dict[tuple[str, int], dict[int, float]] = defaultdict(dict)
    for row in rows:
        found[row["choice"], row["budget"]][row["seed"]] = row["accuracy"]
    budgets = sorted({row["budget"] for row in rows})
    names = {row["choice"] for row in rows if row["label_use"] == "none"} - {baseline}

    def gain(name: str, budget: int) -> str:
        ours, theirs = found[name, budget], found[baseline, budget]
        seeds = sorted(ours.keys() & theirs.keys())
        if all(ours[seed] == theirs[seed] for seed in seeds):
            return "the same"
        over = paired_gain([ours[seed] for seed in seeds], [theirs[seed] for seed in seeds])
        interval = (
            f" [{100 * over.low:+.1f}, {100 * over.high:+.1f}]"
            if over.low is not None and over.high is not None
            else ""
        )
        return f"{100 * over.mean:+.1f}{interval}"

    order = sorted(names, key=lambda name: -float(np.mean(list(found[name, 40].values()))))
    return table(
        ["strategy", *(f"{budget} labels" for budget in budgets)],
        ([f"`{name}`", *(gain(name, budget) for budget in budgets)] for name in order),
    )


def _reads(row: Mapping[str, Any]) -> str:
    if row["label_use"] != "none":
        return "labels (oracle)"
    names = {"features": "embedding", "probabilities": "probe", "history": "probe"}
    return ", ".join(dict.fromkeys(names[each] for each in row["needs"])) or "nothing"


def question_table(rows: Rows) -> str:
    accuracy = by_choice(rows, "accuracy")
    budgets = sorted({row["budget"] for row in rows})
    return table(
        ["choice", *(f"{budget} labels" for budget in budgets)],
        (
            [_plain(name), *(spread(accuracy.get((name, budget))) for budget in budgets)]
            for name in dict.fromkeys(row["choice"] for row in rows)
        ),
    )


def _plain(name: str) -> str:
    kind, _, number = name.partition(" ")
    if kind == "share":
        return f"{float(number):.0%} prototypes, the rest the extreme tail"
    if kind == "start":
        return f"half prototypes, half from percentile {number} of the outlier end on"
    return {"random": "random", "random_stratified": "random, the same number a class"}[name]


def interval(values: Sequence[float]) -> float:
    """Half the 95 % interval of the mean."""
    sd = standard_deviation(values)
    if sd is None:
        return float("nan")
    return float(student.ppf(0.975, len(values) - 1) * sd / len(values) ** 0.5)


# What choices_fixmatch.sh calls the cells that it shares with choices.py --question.
SHARES_OF = {"outliers": "share 0", "mix-tail": "share 0.5", "prototypes": "share 1"}
STARTS_OF = {"mix-tail": "start 0", "mix-band5-20": "start 5", "mix-band25-50": "start 25"}
PROBE, FIXMATCH = ("-", "o"), ("--", "D")  # line and marker of each learner


def question_figure(folders: Sequence[Path], path: Path) -> None:
    figure = new_figure(11, 4.6 * len(folders))
    grid = figure.subplots(len(folders), 2, squeeze=False, sharey="row")
    for line, folder in zip(grid, folders, strict=True):
        accuracy = by_choice(load(folder / "question" / "choices.jsonl"), "accuracy")
        trained = trained_mixes(folder)
        _curve(line[0], accuracy, trained, "share", "share of prototypes; the rest is the tail")
        learners = "solid: linear probe" + ", dashed: small FixMatch" * bool(trained)
        set_heading(line[0], dataset_of(folder), f"accuracy ({learners}); mean, 95 % interval")
        _curve(line[1], accuracy, trained, "start", "percentile at which the outliers begin")
        set_heading(line[1], " ", "half prototypes; dotted: probe, random with as many a class")
    write_figure(figure, path, force=True)


def trained_mixes(folder: Path) -> dict[tuple[str, int], list[float]]:
    """FixMatch's accuracies, by the names that choices.py --question gives such choices."""
    file = folder / "fixmatch.json"
    rows = json.loads(file.read_text())["runs"] if file.exists() else []
    found = defaultdict(list)
    for row in rows:
        for names in (SHARES_OF, STARTS_OF):
            if row["choice"] in names:
                found[names[row["choice"]], row["labels"]].append(float(row["accuracy"]))
    return dict(found)


def dataset_of(folder: Path) -> str:
    conditions = json.loads((folder / "choices" / "conditions.json").read_text())
    return str(conditions["dataset"]["dataset"])


Accuracies = Mapping[tuple[str, int], list[float]]  # (choice, labels) -> one for each seed


def _curve(axes: Axes, accuracy: Accuracies, trained: Accuracies, kind: str, label: str) -> None:
    for budget, colour in zip(sorted({b for _, b in accuracy}), COLOURS, strict=False):
        for found, (dash, marker) in ((trained, FIXMATCH), (accuracy, PROBE)):
            points = {
                float(name.partition(" ")[2]): values
                for (name, b), values in found.items()
                if b == budget and name.startswith(kind)
            }
            xs = sorted(points)
            means = [100 * float(np.mean(points[x])) for x in xs]
            errors = [100 * interval(points[x]) for x in xs]
            look: dict[str, Any] = {"ls": dash, "marker": marker, "ms": 4, "capsize": 2}
            if len(xs) > 1:  # a learner with only one of these mixes has no curve
                axes.errorbar(xs, means, errors, color=colour, lw=2.2, **look)
        level = 100 * float(np.mean(accuracy["random_stratified", budget]))
        axes.axhline(level, color=colour, lw=1.2, linestyle=":")
        axes.annotate(
            f"{budget} labels",
            (xs[-1], means[-1]),
            xytext=(8, 0),
            textcoords="offset points",
            color=colour,
            fontsize=SMALL_SIZE,
            va="center",
            annotation_clip=False,
        )
    clean_axes(axes)
    axes.set_xlabel(label, fontsize=SMALL_SIZE, color=SOFT)
    axes.yaxis.set_major_formatter("{x:g} %")
    axes.spines["bottom"].set_color(BASELINE_COLOUR)


def collect(runs: Path, out: Path) -> None:
    """Every finished run below `runs`, named CHOICE-LABELS-SEED, as one small file.

    What that file holds of other runs of the same recipe stays, so that they may come in parts.
    """
    rows = []
    for folder in sorted(runs.iterdir()):
        if not (folder / "summary.json").exists():
            continue
        record = RunRecord.load(folder)
        choice, labels, seed = folder.name.rsplit("-", 2)
        rows.append(
            {
                "choice": choice,
                "labels": int(labels),
                "seed": int(seed),
                "accuracy": record.accuracy,
                "label_use": record.split["label_use"],
                "strategy": record.split["strategy"],
                "parameters": record.split["parameters"],
                "split_sha256": record.split["sha256"],
                "config": record.config.as_dict(),
            }
        )
    configs = [row.pop("config") for row in rows]
    assert all(each == configs[0] for each in configs), "runs of different recipes"
    file = out / "fixmatch.json"
    before = json.loads(file.read_text()) if file.exists() else {"config": configs[0], "runs": []}
    assert before["config"] == configs[0], "runs of another recipe than those before"
    of = {(row["choice"], row["labels"], row["seed"]): row for row in [*before["runs"], *rows]}
    runs_of = [of[key] for key in sorted(of)]
    write_json(file, {"config": configs[0], "runs": runs_of}, force=True)


def fixmatch_table(rows: Rows) -> str:
    found = defaultdict(list)
    for row in rows:
        found[row["labels"], row["choice"]].append(row["accuracy"])
    oracle = {row["choice"]: row["label_use"] != "none" for row in rows}

    def gain(labels: int, choice: str, base: str) -> str:
        ours, theirs = found[labels, choice], found.get((labels, base), [])
        if not theirs or choice == base:
            return "–"
        over = welch_gain(ours, theirs)
        if over.low is None or over.high is None:
            return f"{100 * over.mean:+.1f}"
        return f"{100 * over.mean:+.1f} [{100 * over.low:+.1f}, {100 * over.high:+.1f}]"

    def line(labels: int, choice: str) -> list[str]:
        values, use = found[labels, choice], "oracle" if oracle[choice] else "none"
        gains = [gain(labels, choice, base) for base in ("stratified", "prototypes")]
        return [f"{labels}", f"`{choice}`", use, f"{len(values)}", spread(values), *gains]

    order = sorted(found, key=lambda key: (key[0], -float(np.mean(found[key]))))
    heads = ["labels", "choice", "label use", "n", "accuracy %"]
    return table([*heads, "over stratified", "over prototypes"], (line(*key) for key in order))


def section(folder: Path) -> str:
    conditions = json.loads((folder / "choices" / "conditions.json").read_text())
    rows = load(folder / "choices" / "choices.jsonl")
    name = dataset_of(folder)
    seeds = len({row["seed"] for row in rows})
    encoder, reduced = conditions["embeddings"]["encoder"], conditions["embeddings"]["parameters"]
    settings = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in reduced.items())
    drawn = by_choice(rows, "classes")["random", 10]
    parts = [
        f"## {name}",
        f"Embedding: `{encoder}` ({settings}). {seeds} seeds, mean ± sample standard "
        f"deviation. Ten random labels found {np.mean(drawn):.1f} classes on average; all ten with "
        f"a chance of {chance_of_all_classes(10, 10):.5f}, forty with "
        f"{chance_of_all_classes(40, 10):.2f}.",
        "Accuracy of a linear probe, %, at each number of labels:",
        strategies_table(rows),
        "Gain over `random` in points, paired by seed, with the 95 % interval of a paired t-test:",
        gains_table(rows, "random"),
        "and over `random_stratified`, which reads the label of every image:",
        gains_table(rows, "random_stratified"),
        "### Prototypes and outliers",
        "The same, for mixes of the most and the least prototypical images of each class:",
        question_table(load(folder / "question" / "choices.jsonl")),
    ]
    if (folder / "fixmatch.json").exists():
        record = json.loads((folder / "fixmatch.json").read_text())
        recipe = record["config"]
        parts += [
            "### FixMatch",
            f"{recipe['arch']}, {recipe['steps']:,} steps of {recipe['batch']} labelled and "
            f"{recipe['batch'] * recipe['mu']} unlabelled images. Test part, median of the last "
            "quarter of the evaluations (the last 20 where those are fewer); gains in points "
            "with Welch 95 % intervals.",
            fixmatch_table(record["runs"]),
        ]
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--runs", type=Path, help="write fixmatch.json into RESULTS from these")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.runs:
        collect(options.runs, options.results[0])
    if options.out:
        text = options.out.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        made = "\n\n".join(section(folder) for folder in options.results)
        after = rest.partition(END)[2]
        write_text(options.out, f"{before}{BEGIN}\n\n{made}\n\n{END}{after}", force=True)
        question_figure(options.results, options.out.with_name("prototype-mix.png"))


if __name__ == "__main__":
    main()
