"""Every pseudo-label rule against its definition, step by step in float64 numpy."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from fmsel.errors import OptionError
from fmsel.fixmatch.loss import fixmatch_loss
from fmsel.fixmatch.rules import PseudoLabels, RuleContext, WeakView, make_rule, rule_names
from fmsel.fixmatch.rules.freematch import fairness, per_prediction

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


def test_every_rule_has_a_definition_here() -> None:
    assert sorted(DEFINITIONS) == RULES


@pytest.mark.parametrize("name", RULES)
@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**32),
    fresh=st.booleans(),
    hard=st.booleans(),
    with_prior=st.booleans(),
)
def test_every_rule_follows_its_definition(
    name: str, seed: int, fresh: bool, hard: bool, with_prior: bool
) -> None:
    prior = PRIOR if with_prior and name in ALIGNING else None
    steps = steps_of(seed)
    state = fresh_state(name)
    rule = make_rule(
        name,
        context(
            hard=hard,
            temperature=1.0 if hard else TEMPERATURE,
            prior=None if prior is None else torch.tensor(prior, dtype=torch.float32),
        ),
    )
    if not fresh:
        state = state_in_mid_training(name, np.random.default_rng(seed))
        rule.load_state_dict({k: torch.tensor(v) for k, v in state.items()})
    answers = DEFINITIONS[name](steps, state, prior)
    # A rounding that flips a choice changes what these two do next.
    if name in ("flexmatch", "freematch"):
        assume(all((np.abs(answer.margin) > 1e-5).all() for answer in answers))
    for step, expected in zip(steps, answers, strict=True):
        check(step, rule(view_of(step)), expected, hard)
    for key, tensor in rule.state_dict().items():
        np.testing.assert_allclose(tensor.numpy(), state[key], rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("name", RULES)
def test_the_tests_see_both_kept_and_dropped_images(name: str) -> None:
    weights = np.concatenate(
        [
            answer.weights
            for seed in range(5)
            for answer in DEFINITIONS[name](
                steps_of(seed), state_in_mid_training(name, np.random.default_rng(seed)), None
            )
        ]
    )
    assert 0.05 < (weights < 0.5).mean() < 0.95


@pytest.mark.parametrize("name", RULES)
def test_state_round_trip_equals_going_on(name: str, seed: int) -> None:
    steps = steps_of(seed, 6)
    rule = make_rule(name, context())
    for step in steps[:3]:
        rule(view_of(step))
    saved = {key: tensor.clone() for key, tensor in rule.state_dict().items()}
    resumed = make_rule(name, context())
    resumed.load_state_dict(saved)
    for step in steps[3:]:
        first, second = rule(view_of(step)), resumed(view_of(step))
        assert torch.equal(first.targets, second.targets)
        assert torch.equal(first.weights, second.weights)
    for key, tensor in rule.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[key])
        assert not torch.equal(tensor, saved[key])


@pytest.mark.parametrize("name", RULES)
def test_state_stays_where_it_is(name: str) -> None:
    rule = make_rule(name, context())

    def places() -> dict[str, int]:
        return {key: tensor.data_ptr() for key, tensor in rule.state_dict().items()}

    before = places()
    for step in steps_of(0, 2):
        rule(view_of(step))
    rule.load_state_dict({key: tensor.clone() for key, tensor in rule.state_dict().items()})
    assert places() == before


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("hard", [True, False])
def test_no_rule_waits_for_the_device(name: str, hard: bool) -> None:
    """Meta tensors have no values: reading one, or a shape that depends on one, fails."""
    meta = torch.device("meta")
    rule = make_rule(name, context(device=meta, hard=hard))
    strong = torch.empty(BATCH, CLASSES, device=meta, requires_grad=True)
    for _ in range(2):
        pseudo = rule(
            WeakView(
                logits=torch.empty(BATCH, CLASSES, device=meta),
                labelled_logits=torch.empty(LABELLED, CLASSES, device=meta),
                index=torch.empty(BATCH, dtype=torch.int64, device=meta),
            )
        )
        assert pseudo.targets.shape == ((BATCH,) if hard else (BATCH, CLASSES))
        if pseudo.penalty is not None:
            pseudo.penalty(strong).backward()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("name", sorted(set(RULES) - set(ALIGNING)))
def test_a_prior_without_use_is_refused(name: str) -> None:
    sentence = f"rule '{name}' aligns with no class prior; leave the prior out"
    with pytest.raises(OptionError, match=sentence):
        make_rule(name, context(prior=torch.full((CLASSES,), 1 / CLASSES)))


@pytest.mark.parametrize("name", ALIGNING)
def test_a_given_prior_is_never_written_to(name: str) -> None:
    prior = torch.tensor(PRIOR, dtype=torch.float32)
    rule = make_rule(name, context(prior=prior))
    for step in steps_of(0):
        rule(view_of(step))
    assert np.array_equal(prior.numpy(), PRIOR.astype(np.float32))


def balanced(seed: int) -> WeakView:
    """Every rotation of every row, so that the mean prediction is uniform; certain labels."""
    rows = torch.from_numpy(steps_of(seed)[0].weak)
    logits = torch.cat([rows.roll(shift, dims=1) for shift in range(CLASSES)])
    return WeakView(
        logits=logits,
        labelled_logits=50 * torch.eye(CLASSES),
        index=torch.arange(len(logits)),
    )


@pytest.mark.parametrize("name", ["adamatch", "distribution_alignment"])
def test_alignment_of_a_balanced_network_changes_nothing(name: str, seed: int) -> None:
    view = balanced(seed)
    rule, plain = (make_rule(n, context(n_unlabelled=len(view.index))) for n in (name, "fixed"))
    for _ in range(3):
        first, second = rule(view), plain(view)
        assert torch.equal(first.weights, second.weights)
        assert torch.equal(first.targets, second.targets)
    assert 0 < second.weights.mean() < 1


def test_flexmatch_with_classes_learned_alike_is_the_fixed_threshold(seed: int) -> None:
    step = view_of(steps_of(seed)[0])
    rule = make_rule("flexmatch", context(n_unlabelled=CLASSES * 10))
    rule.load_state_dict({"latest": torch.arange(CLASSES).repeat(10)})
    assert torch.equal(rule(step).weights, make_rule("fixed", context())(step).weights)


def test_flexmatch_at_the_start_takes_every_image() -> None:
    assert make_rule("flexmatch", context())(view_of(steps_of(0)[0])).weights.all()


def test_flexmatch_remembers_the_last_confident_view_of_an_image() -> None:
    sure, unsure = 20.0, 0.1
    logits = torch.zeros(4, CLASSES)
    logits[0, 1], logits[1, 2], logits[2, 3], logits[3, 0] = sure, sure, unsure, unsure
    view = WeakView(
        logits=logits, labelled_logits=torch.zeros(1, CLASSES), index=torch.tensor([5, 5, 5, 6])
    )
    rule = make_rule("flexmatch", context())
    rule(view)
    latest = rule.state_dict()["latest"]
    assert latest[5] == 2 and latest[6] == -1 and (latest >= 0).sum() == 1


@pytest.mark.parametrize("name", ["adamatch", "distribution_alignment"])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=20)
def test_alignment_pulls_the_mean_prediction_to_the_prior(name: str, seed: int) -> None:
    """After 128 equal steps: still distributions, and their mean is nearer to the prior."""
    step = steps_of(seed)[0]
    rule = make_rule(name, context(hard=False, prior=torch.tensor(PRIOR, dtype=torch.float32)))
    for _ in range(129):
        soft = rule(view_of(step)).targets
    assert soft.sum(dim=1).numpy() == pytest.approx(1, abs=1e-5)

    def divergence(mean: Array) -> float:
        return float((PRIOR * np.log(PRIOR / mean)).sum())

    before = divergence(softmax(step.weak).mean(axis=0))
    assert divergence(soft.numpy().astype(np.float64).mean(axis=0)) <= before + 1e-6


def test_softmatch_counts_what_is_confident_enough_in_full(seed: int) -> None:
    rule = make_rule("softmatch", context())
    for step in steps_of(seed):
        weights = rule(view_of(step)).weights
        # The mean starts at 1 / C, the least confidence there is.
        assert (weights > 0.99).float().mean() > 0.9
    assert make_rule("softmatch", context())(
        WeakView(
            logits=torch.zeros(1, CLASSES),
            labelled_logits=torch.zeros(1, CLASSES),
            index=torch.zeros(1, dtype=torch.int64),
        )
    ).weights.isfinite()  # one image has no variance


def fairness_case(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Float64: logits of strong views, running means' ratio, and a mask of some of the images."""
    rng = np.random.default_rng(seed)
    strong = torch.tensor(rng.normal(0, 2, (BATCH, CLASSES)), requires_grad=True)
    predicted, histogram = torch.tensor(rng.dirichlet(np.full(CLASSES, 3.0), size=2))
    mask = torch.tensor((rng.random(BATCH) < 0.4).astype(float))
    return strong, per_prediction(predicted, histogram), mask


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20)
def test_fairness_by_weights_has_the_value_and_gradient_of_the_masked_subset(seed: int) -> None:
    strong, wanted, mask = fairness_case(seed)
    assume(mask.any())

    def subset(logits: Array) -> float:
        confident = softmax(logits[mask.numpy() == 1])
        return 0.001 * fairness_of(confident, wanted.numpy(), np.ones(CLASSES))

    loss = fairness(strong, wanted=wanted, weights=mask)
    loss.backward()  # type: ignore[no-untyped-call]
    assert strong.grad is not None
    logits = strong.detach().numpy()
    assert loss.item() == pytest.approx(subset(logits), rel=1e-9)
    numeric = np.zeros_like(logits)
    for place in np.ndindex(*logits.shape):
        shift = np.zeros_like(logits)
        shift[place] = 1e-5
        numeric[place] = (subset(logits + shift) - subset(logits - shift)) / 2e-5
    top = np.sort(logits, axis=1)
    assume((top[:, -1] - top[:, -2] > 1e-4).all())  # the histogram jumps where classes tie
    np.testing.assert_allclose(strong.grad.numpy(), numeric, atol=1e-9)
    assert not strong.grad[mask == 0].any()


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_fairness_without_a_confident_image_is_nothing(precision: torch.dtype) -> None:
    strong = torch.randn(BATCH, CLASSES, dtype=precision, requires_grad=True)
    wanted = torch.full((CLASSES,), 1 / CLASSES, dtype=precision)
    loss = fairness(strong, wanted=wanted, weights=torch.zeros(BATCH, dtype=precision))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert strong.grad is not None and not strong.grad.any()


def test_a_class_that_was_never_predicted_asks_for_nothing() -> None:
    shares = per_prediction(torch.tensor([0.5, 0.4, 0.1]), torch.tensor([0.5, 0.5, 0.0]))
    assert shares.tolist() == pytest.approx([1 / 1.8, 0.8 / 1.8, 0])
    # 1 / 1e-40 is infinite in float32.
    tiny = per_prediction(torch.tensor([0.5, 0.4, 0.1]), torch.tensor([0.5, 0.5, 1e-40]))
    assert torch.equal(tiny, shares)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("hard", [True, False])
def test_every_rule_trains_through_the_loss(name: str, hard: bool) -> None:
    rule = make_rule(name, context(hard=hard))
    rule.load_state_dict(
        {
            key: torch.tensor(value)
            for key, value in state_in_mid_training(name, np.random.default_rng(0)).items()
        }
    )
    for step in steps_of(0, 2):
        strong = torch.from_numpy(step.strong).requires_grad_()
        labelled = torch.from_numpy(step.labelled)
        labels = torch.zeros(LABELLED, dtype=torch.int64)
        with torch.no_grad():
            pseudo = rule(view_of(step))
        loss = fixmatch_loss(labelled, labels, strong, pseudo, 1.0)
        loss.total.backward()  # type: ignore[no-untyped-call]
        assert strong.grad is not None
        assert strong.grad.isfinite().all() and strong.grad.any()


@pytest.mark.gpu
@pytest.mark.parametrize("name", RULES)
def test_a_captured_step_equals_the_eager_one(name: str) -> None:
    """Each rule as a CUDA graph, replayed on new values, against itself run eagerly."""
    device = torch.device("cuda")
    steps = steps_of(0, 5)
    captured, eager = (make_rule(name, context(device=device)) for _ in range(2))

    def on_device(step: Step) -> WeakView:
        view = view_of(step)
        return WeakView(
            logits=view.logits.to(device),
            labelled_logits=view.labelled_logits.to(device),
            index=view.index.to(device),
        )

    place, stream = on_device(steps[0]), torch.cuda.Stream()  # type: ignore[no-untyped-call]
    saved = {key: tensor.clone() for key, tensor in captured.state_dict().items()}
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        captured(place)  # warm-up
    torch.cuda.synchronize()
    captured.load_state_dict(saved)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        pseudo = captured(place)
    captured.load_state_dict(saved)
    for step in steps:
        view = on_device(step)
        place.logits.copy_(view.logits)
        place.labelled_logits.copy_(view.labelled_logits)
        place.index.copy_(view.index)
        graph.replay()
        expected = eager(view)
        assert torch.equal(pseudo.targets, expected.targets)
        assert torch.equal(pseudo.weights, expected.weights)
    for key, tensor in eager.state_dict().items():
        assert torch.equal(tensor, captured.state_dict()[key])
