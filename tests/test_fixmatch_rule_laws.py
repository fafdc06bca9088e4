"""What each pseudo-label rule promises, and how all of them train."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rule_definitions import (
    BATCH,
    CLASSES,
    LABELLED,
    PRIOR,
    RULES,
    Array,
    Step,
    context,
    fairness_of,
    softmax,
    state_in_mid_training,
    steps_of,
    view_of,
)
from torch import Tensor

from fmsel.fixmatch.loss import fixmatch_loss
from fmsel.fixmatch.rules import WeakView, make_rule, reads_threshold, rule_names
from fmsel.fixmatch.rules.freematch import fairness, per_prediction


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


@pytest.mark.parametrize("name", rule_names())
def test_a_rule_that_reads_no_threshold_does_not_depend_on_it(name: str) -> None:
    low, high = (make_rule(name, context(threshold=value)) for value in (0.1, 0.9))
    view = view_of(steps_of(0)[0])
    state = state_in_mid_training(name, np.random.default_rng(0))
    for rule in (low, high):
        rule.load_state_dict({key: torch.tensor(value) for key, value in state.items()})
    differ = not torch.equal(low(view).weights, high(view).weights)
    assert differ == reads_threshold(name)
