"""Every strategy at several budgets: classes found, cover, likeness and the accuracy of a probe.

    python benchmarks/choices.py EMBEDDINGS --scores SCORES --out FOLDER [--question]

Each seed halves the training images by chance. A strategy chooses from one half; the other half
judges: the share of its images near a chosen one (40 chosen by chance are near half of them), the
squared MMD, and how many of its labels a linear probe on the choice predicts. So deterministic
strategies vary from seed to seed too, and no image that is judged could have been chosen.
Strategies that read a trained run get the probe's predictions instead, in rounds: 10 random labels
first, then from each budget to the next.

With --question the choices are mixes of prototypes and outliers instead: their share, and the
percentile of each class's ranking at which the outliers begin.

FOLDER/choices.jsonl gets a line a choice, seed and budget; what is there already is kept.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fmsel.artefacts import versions
from fmsel.datasets import ImageDataset, Source, load_dataset
from fmsel.embeddings.vectors import Embeddings
from fmsel.errors import BudgetError
from fmsel.experiments.selection_quality import Likeness, covered_mass, fit_probe
from fmsel.metrics.scores import Scores
from fmsel.progress import progress_bar
from fmsel.seeds import generator
from fmsel.selection.coverage.kernels import directions
from fmsel.selection.mixed import Mixed
from fmsel.selection.pool import Pool, Strategy, strategy_class, strategy_names
from fmsel.selection.pool.extremes import Band
from fmsel.selection.random import Random
from fmsel.selection.random_stratified import RandomStratified

BUDGETS = (10, 20, 40, 100, 250)
QUESTION_BUDGETS = (10, 40, 240)
SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)  # of prototypes; the rest is the extreme tail
STARTS = (0, 1, 2, 5, 10, 20, 30, 50, 70)  # percentiles at which the other half's outliers begin
PASSES = 10  # of stochastic gradient descent, whose predictions stand for a run's history
SAMPLE = 2_000  # images whose median distance is the bandwidth of the MMD


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """Images of which one half may be chosen and the other judges."""

    data: ImageDataset
    scores: dict[str, np.ndarray]
    directions: np.ndarray  # (N, D) what strategies read
    probed: np.ndarray  # (N, D) what the probe reads: every feature of variance 1
    open: np.ndarray
    judge: np.ndarray
    radius: float
    likeness: Likeness
    seed: int

    def pool(self, **known: Any) -> Pool:
        return Pool(
            n=len(self.data),
            class_names=self.data.class_names,
            scores=self.scores,
            features=self.directions,
            candidates=self.open,
            **known,
        )

    def probe(self, chosen: np.ndarray, others: np.ndarray) -> np.ndarray:
        labels = self.data.labels[chosen]
        return fit_probe(self.probed[chosen], labels, self.probed[others], self.data.n_classes)

    def judged(self, chosen: np.ndarray) -> dict[str, float]:
        points = self.directions[self.judge]
        predicted = self.probe(chosen, self.judge).argmax(axis=1)
        return {
            "classes": len(np.unique(self.data.labels[chosen])),
            "covered": covered_mass(points, self.directions[chosen], self.radius),
            "mmd": self.likeness.squared_mmd(self.directions[chosen]),
            "accuracy": float((predicted == self.data.labels[self.judge]).mean()),
        }


def make_task(data: ImageDataset, embeddings: Embeddings, scores: Scores, seed: int) -> Task:
    features = np.asarray(embeddings.features)
    points = directions(features)
    order = generator(seed, "halves").permutation(len(data))
    half, judge = np.sort(order[: len(data) // 2]), np.sort(order[len(data) // 2 :])
    some = points[judge[:SAMPLE]]
    apart = np.sqrt(np.maximum(2 - 2 * some @ some.T, 0))
    spread = features.std(axis=0)
    return Task(
        data=data,
        scores={name: np.asarray(each) for name, each in scores.arrays.items()},
        directions=points,
        probed=(features - features.mean(axis=0)) / np.where(spread > 0, spread, 1),
        open=half,
        judge=judge,
        radius=half_covered(points[judge], seed),
        likeness=Likeness(points[judge], float(np.median(apart[np.triu_indices(len(some), 1)]))),
        seed=seed,
    )


def half_covered(points: np.ndarray, seed: int) -> float:
    """The radius within which half of the points have one of 40 that are drawn by chance."""
    drawn = points[generator(seed, "radius").choice(len(points), 40, replace=False)]
    return float(np.sqrt(np.maximum(2 - 2 * np.median((points @ drawn.T).max(axis=1)), 0)))


def every_strategy(only: list[str] | None) -> dict[str, Strategy]:
    # Published sets point into whole data sets, not into halves.
    names = only or [name for name in strategy_names() if name != "published"]
    return {name: strategy_class(name)() for name in names}


def every_mix() -> dict[str, Strategy]:
    shares = {f"share {share:g}": Mixed(ratio=share) for share in SHARES}
    starts = {f"start {p}": Mixed(ratio=0.5, outlier_band=Band(p, 100)) for p in STARTS}
    return {**shares, **starts, "random": Random(), "random_stratified": RandomStratified()}


def choices(
    task: Task, strategy: Strategy, budgets: tuple[int, ...]
) -> Iterator[tuple[int, np.ndarray, float]]:
    """(budget, images, seconds) for every budget."""
    if "probabilities" in strategy.NEEDS or "history" in strategy.NEEDS:
        yield from in_rounds(task, strategy, budgets)
    elif strategy.NESTED:
        chosen, seconds = timed(task, strategy, task.pool(), budgets[-1])
        yield from ((budget, chosen[:budget], seconds) for budget in budgets)
    else:
        for budget in budgets:
            try:
                yield budget, *timed(task, strategy, task.pool(), budget)
            except BudgetError as error:
                print(f"left out: {error}")


def in_rounds(
    task: Task, strategy: Strategy, budgets: tuple[int, ...]
) -> Iterator[tuple[int, np.ndarray, float]]:
    held, seconds = timed(task, Random(), task.pool(), budgets[0])
    yield budgets[0], held, seconds
    everything = np.arange(len(task.data))
    for budget in budgets[1:]:
        labels = np.full(len(task.data), -1)
        labels[held] = task.data.labels[held]
        pool = task.pool(
            labels=labels,
            probabilities=task.probe(held, everything),
            history=history(task, held) if "history" in strategy.NEEDS else None,
        )
        new, seconds = timed(task, strategy, pool, budget - len(held))
        held = np.concatenate([held, new])
        yield budget, held, seconds


def history(task: Task, held: np.ndarray) -> np.ndarray:
    """(PASSES, N) classes by a linear network after each pass over its labels."""
    from sklearn.linear_model import SGDClassifier

    state = int(generator(task.seed, "history").integers(2**31))
    network = SGDClassifier(loss="log_loss", random_state=state)
    labels, known = task.data.labels[held], np.unique(task.data.labels[held])
    return np.stack(
        [
            network.partial_fit(task.probed[held], labels, classes=known).predict(task.probed)
            for _ in range(PASSES)
        ]
    )


def timed(task: Task, strategy: Strategy, pool: Pool, size: int) -> tuple[np.ndarray, float]:
    began = time.perf_counter()
    chosen = strategy.query(pool, batch_size=size, seed=task.seed, truth=task.data.labels)
    return chosen, time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("embeddings", type=Path)
    parser.add_argument("--scores", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--question", action="store_true", help="mixes instead of strategies")
    parser.add_argument("--strategy", action="append", help="only these (default: all)")
    options = parser.parse_args()

    embeddings = Embeddings.load(options.embeddings)
    source = Source.from_dict(embeddings.dataset["source"])
    data = load_dataset(source, data_root=options.data_root, offline=True)
    embeddings.check(data, str(options.embeddings))
    scores = Scores.load(options.scores)
    scores.check(data, str(options.scores))
    budgets = QUESTION_BUDGETS if options.question else BUDGETS
    wanted = every_mix() if options.question else every_strategy(options.strategy)
    options.out.mkdir(parents=True, exist_ok=True)
    conditions = {
        "dataset": data.describe() | {"source": replace(source, data_root=None).as_dict()},
        "embeddings": {"encoder": embeddings.encoder, "parameters": dict(embeddings.parameters)},
        "budgets": budgets,
        "versions": versions("numpy", "scikit-learn"),
    }
    (options.out / "conditions.json").write_text(json.dumps(conditions, indent=2) + "\n")
    path = options.out / "choices.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(row["choice"], row["seed"]) for row in rows}
    with (
        path.open("a") as file,
        progress_bar("choices", len(wanted) * options.seeds, "choices") as advance,
    ):
        for seed in range(options.seeds):
            missing = [name for name in wanted if (name, seed) not in done]
            advance(len(wanted) - len(missing))
            task = make_task(data, embeddings, scores, seed) if missing else None
            for name in missing:
                assert task is not None
                lines = [json.dumps(row) for row in measured(task, name, wanted[name], budgets)]
                file.write("".join(line + "\n" for line in lines))  # at once, or not at all
                file.flush()
                advance(1)


def measured(
    task: Task, name: str, strategy: Strategy, budgets: tuple[int, ...]
) -> list[dict[str, Any]]:
    """A row a budget."""
    return [
        {
            "choice": name,
            "seed": task.seed,
            "budget": budget,
            "label_use": strategy.LABEL_USE,
            "needs": list(strategy.NEEDS),
            "seconds": round(seconds, 3),
            **task.judged(chosen),
        }
        for budget, chosen, seconds in choices(task, strategy, budgets)
    ]


if __name__ == "__main__":
    main()
