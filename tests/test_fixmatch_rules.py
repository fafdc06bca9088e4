"""Every pseudo-label rule against its definition, and what all have in common."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rule_definitions import (
    ALIGNING,
    BATCH,
    CLASSES,
    DEFINITIONS,
    LABELLED,
    PRIOR,
    RULES,
    TEMPERATURE,
    check,
    context,
    fresh_state,
    state_in_mid_training,
    steps_of,
    view_of,
)

from fmsel.errors import OptionError
from fmsel.fixmatch.rules import WeakView, make_rule


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
