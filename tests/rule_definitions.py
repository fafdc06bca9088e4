"""The definition of every pseudo-label rule, step by step in float64 numpy."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
import torch

from fmsel.fixmatch.rules import PseudoLabels, RuleContext, WeakView, rule_names

Array = npt.NDArray[np.float64]
State = dict[str, Array]
CLASSES, UNLABELLED, BATCH, LABELLED = 4, 30, 24, 8
TAU, TEMPERATURE = 0.7, 0.5
PRIOR = np.array([0.4, 0.3, 0.2, 0.1])
RULES = rule_names()
ALIGNING = ("adamatch", "distribution_alignment", "softmatch")
CPU = torch.device("cpu")


@dataclass
class Step:
    weak: npt.NDArray[np.float32]
    labelled: npt.NDArray[np.float32]
    strong: npt.NDArray[np.float32]
    index: npt.NDArray[np.int64]


@dataclass
class Expected:
    """What a rule must answer; `margin` is how far each confidence is from its threshold."""

    probabilities: Array  # (U, C), of which targets are made
    weights: Array
    margin: Array
    penalty: float = 0.0


def steps_of(seed: int, count: int = 4) -> list[Step]:
    """Random steps whose predictions favour some classes, with images that repeat in a batch."""
    rng = np.random.default_rng(seed)
    favour = rng.normal(0, 1, CLASSES)

    def logits(n: int) -> npt.NDArray[np.float32]:
        return (rng.normal(favour, 2, (n, CLASSES))).astype(np.float32)

    return [
        Step(logits(BATCH), logits(LABELLED), logits(BATCH), rng.integers(0, UNLABELLED, BATCH))
        for _ in range(count)
    ]


def context(**settings: object) -> RuleContext:
    defaults = {"threshold": TAU, "n_classes": CLASSES, "n_unlabelled": UNLABELLED, "device": CPU}
    return RuleContext(**(defaults | settings))  # type: ignore[arg-type]


def view_of(step: Step) -> WeakView:
    weak, labelled, index = map(torch.from_numpy, (step.weak, step.labelled, step.index))
    return WeakView(logits=weak, labelled_logits=labelled, index=index)


def softmax(logits: npt.NDArray[np.floating]) -> Array:
    return normalised(np.exp(logits.astype(np.float64)))


def normalised(shares: Array) -> Array:
    result: Array = shares / shares.sum(axis=-1, keepdims=True)
    return result


def align(probabilities: Array, target: Array, predicted: Array) -> Array:
    return normalised(probabilities * (target + 1e-6) / (predicted + 1e-6))


def cut(probabilities: Array, thresholds: Array | float) -> Expected:
    margin = probabilities.max(axis=1) - thresholds
    return Expected(probabilities, (margin >= 0).astype(float), margin)


def fixed(steps: Sequence[Step], state: State, prior: Array | None) -> list[Expected]:
    return [cut(softmax(step.weak), TAU) for step in steps]


def distribution_alignment(
    steps: Sequence[Step], state: State, prior: Array | None
) -> list[Expected]:
    target = np.full(CLASSES, 1 / CLASSES) if prior is None else prior
    means, answers = list(state["predicted"]), []
    for step in steps:
        weak = softmax(step.weak)
        answers.append(cut(align(weak, target, np.mean(means[-128:], axis=0)), TAU))
        means.append(weak.mean(axis=0))
    state.update(predicted=np.stack(means[-128:]))
    return answers


def adamatch(steps: Sequence[Step], state: State, prior: Array | None) -> list[Expected]:
    target, means, answers = state["target"], list(state["predicted"]), []
    for step in steps:
        weak, labelled = softmax(step.weak), softmax(step.labelled)
        target = 0.999 * target + 0.001 * labelled.mean(axis=0) if prior is None else prior
        means.append(weak.mean(axis=0))
        threshold = TAU * labelled.max(axis=1).mean()
        answers.append(cut(align(weak, target, np.mean(means[-128:], axis=0)), threshold))
    state.update(predicted=np.stack(means[-128:]), target=target)
    return answers


def softmatch(steps: Sequence[Step], state: State, prior: Array | None) -> list[Expected]:
    target = np.full(CLASSES, 1 / CLASSES) if prior is None else prior
    predicted, mean, variance = state["predicted"], state["mean"], state["variance"]
    answers = []
    for step in steps:
        weak = softmax(step.weak)
        first = not predicted.any()
        batch = weak.mean(axis=0)
        predicted = batch if first else 0.999 * predicted + 0.001 * batch
        confidence = align(weak, target, predicted).max(axis=1)
        mean = 0.999 * mean + 0.001 * confidence.mean()
        variance = 0.999 * variance + 0.001 * confidence.var(ddof=1)
        gauss = np.exp(-((confidence - mean) ** 2) / (2 * variance / 2**2))
        weights = np.where(confidence < mean, gauss, 1.0)
        answers.append(Expected(weak, weights, np.full(BATCH, np.inf)))
    state.update(predicted=predicted, mean=mean, variance=variance)
    return answers


def flexmatch(steps: Sequence[Step], state: State, prior: Array | None) -> list[Expected]:
    latest, answers = state["latest"].astype(int).tolist(), []
    for step in steps:
        counts = Counter(latest)
        share = np.array([counts[c] for c in range(CLASSES)]) / max(counts.values())
        weak = softmax(step.weak)
        classes, confidence = weak.argmax(axis=1), weak.max(axis=1)
        expected = cut(weak, TAU * share[classes] / (2 - share[classes]))
        # Rounding may matter where either threshold is close.
        nearest = np.minimum(np.abs(expected.margin), np.abs(confidence - TAU))
        answers.append(Expected(weak, expected.weights, nearest))
        for image, label, sure in zip(step.index, classes, confidence >= TAU, strict=True):
            if sure:
                latest[image] = int(label)
    state.update(latest=np.array(latest, dtype=np.float64))
    return answers


def fairness_of(strong: Array, predicted: Array, histogram: Array) -> float:
    """The fairness loss on the confident images alone, (K, C) probabilities."""
    seen = np.bincount(strong.argmax(axis=1), minlength=CLASSES) / len(strong)
    with np.errstate(divide="ignore"):
        ratio = np.where(seen > 0, strong.mean(axis=0) / np.where(seen > 0, seen, 1), 0)
        wanted = np.where(histogram > 0, predicted / np.where(histogram > 0, histogram, 1), 0)
    return float((normalised(wanted) * np.log(normalised(ratio) + 1e-12)).sum())


def freematch(steps: Sequence[Step], state: State, prior: Array | None) -> list[Expected]:
    confidence, predicted, histogram = (state[k] for k in ("confidence", "predicted", "histogram"))
    answers = []
    for step in steps:
        weak = softmax(step.weak)
        classes = weak.argmax(axis=1)
        confidence = 0.999 * confidence + 0.001 * weak.max(axis=1).mean()
        predicted = 0.999 * predicted + 0.001 * weak.mean(axis=0)
        shares = np.bincount(classes, minlength=CLASSES) / BATCH
        histogram = 0.999 * histogram + 0.001 * shares
        expected = cut(weak, (confidence * predicted / predicted.max())[classes])
        sure = softmax(step.strong)[expected.weights == 1]
        expected.penalty = 0.001 * fairness_of(sure, predicted, histogram) if len(sure) else 0.0
        answers.append(expected)
    state.update(confidence=confidence, predicted=predicted, histogram=histogram)
    return answers


# Each takes steps, the state before them, which it brings up to date, and a prior.
DEFINITIONS: Mapping[str, Callable[[Sequence[Step], State, Array | None], list[Expected]]] = {
    "adamatch": adamatch,
    "distribution_alignment": distribution_alignment,
    "fixed": fixed,
    "flexmatch": flexmatch,
    "freematch": freematch,
    "softmatch": softmatch,
}


def state_in_mid_training(name: str, rng: np.random.Generator) -> State:
    """A state that fresh rules reach only after thousands of steps."""
    shares = rng.dirichlet(np.full(CLASSES, 3.0), size=3)
    window = rng.dirichlet(np.full(CLASSES, 3.0), size=128)
    latest = rng.integers(-1, CLASSES, UNLABELLED).astype(float)
    level, spread = np.array(rng.uniform(0.5, 0.9)), np.array(rng.uniform(0.01, 0.1))
    states: dict[str, State] = {
        "adamatch": {"target": shares[0], "predicted": window},
        "distribution_alignment": {"predicted": window},
        "fixed": {},
        "flexmatch": {"latest": latest},
        "freematch": {"confidence": level, "predicted": shares[0], "histogram": shares[1]},
        "softmatch": {"predicted": shares[0], "mean": level, "variance": spread},
    }
    return states[name]


def fresh_state(name: str) -> State:
    uniform = np.full(CLASSES, 1 / CLASSES)
    window = np.tile(uniform, (128, 1))
    states: dict[str, State] = {
        "adamatch": {"target": uniform, "predicted": window},
        "distribution_alignment": {"predicted": window},
        "fixed": {},
        "flexmatch": {"latest": np.full(UNLABELLED, -1.0)},
        "freematch": {"confidence": uniform[0], "predicted": uniform, "histogram": uniform},
        "softmatch": {"predicted": uniform * 0, "mean": uniform[0], "variance": np.array(1.0)},
    }
    return states[name]


def check(step: Step, pseudo: PseudoLabels, expected: Expected, hard: bool) -> None:
    clear = np.abs(expected.margin) > 1e-5  # elsewhere float32 may fall on the other side
    np.testing.assert_allclose(
        pseudo.weights.numpy()[clear], expected.weights[clear], atol=2e-5, rtol=0
    )
    if hard:
        top = np.sort(expected.probabilities, axis=1)
        untied = top[:, -1] - top[:, -2] > 1e-5
        classes = expected.probabilities.argmax(axis=1)
        assert np.array_equal(pseudo.targets.numpy()[untied], classes[untied])
    else:
        sharp = normalised(expected.probabilities ** (1 / TEMPERATURE))
        np.testing.assert_allclose(pseudo.targets.numpy(), sharp, atol=2e-5, rtol=0)
    if pseudo.penalty is not None:
        value = float(pseudo.penalty(torch.from_numpy(step.strong)))
        assert value == pytest.approx(expected.penalty, rel=1e-4, abs=1e-7)
