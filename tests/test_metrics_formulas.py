"""Each metric's formula against something else: scipy, scikit-learn, a loop."""

from itertools import combinations
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from sklearn.linear_model import Ridge

from fmsel.errors import OptionError
from fmsel.metrics import agr, conf, epoch_confidence, leave_one_out, self_confidence
from fmsel.metrics.evidence import Evidence
from fmsel.metrics.evidence.crossfit import Crossfit
from fmsel.metrics.evidence.patch_regression import PatchRegression
from fmsel.metrics.evidence.patch_regression import leave_one_out as leave_one_out_predictions

N, C = 12, 4


def evidence(repetitions: int = 3, seed: int = 0) -> Evidence:
    rng = np.random.default_rng(seed)
    predictions = rng.dirichlet(np.full(C, 0.4), (repetitions, N)).astype(np.float32)
    crossfit = Crossfit(
        heldout=predictions,
        training_mean=rng.random((repetitions, N), dtype=np.float32),
        networks={},
        parameters=MappingProxyType({}),
    )
    return Evidence(labels=rng.integers(0, C, N), parts={"crossfit": crossfit})


@given(st.integers(0, 50), st.integers(3, 5))
def test_agr_is_minus_mean_pairwise_divergence_of_scipy(seed: int, repetitions: int) -> None:
    case = evidence(repetitions, seed)
    nets = case.get(Crossfit).heldout.astype(np.float64)
    expected = [
        -np.mean([jensenshannon(nets[a, i], nets[b, i]) ** 2 for a, b in pairs(repetitions)])
        for i in range(N)
    ]
    np.testing.assert_allclose(agr.score(case), expected, atol=1e-7)


def pairs(repetitions: int) -> list[tuple[int, int]]:
    return list(combinations(range(repetitions), 2))


def test_agr_is_highest_where_networks_agree_and_bounded_by_ln_2() -> None:
    same, opposed = np.eye(C, dtype=np.float32)[[0, 0, 0]], np.eye(C, dtype=np.float32)[[0, 1, 2]]
    crossfit = Crossfit(
        heldout=np.stack([same, opposed], axis=1),
        training_mean=np.zeros((3, 2), np.float32),
        networks={},
        parameters={},
    )
    scores = agr.score(Evidence(labels=np.zeros(2, np.int64), parts={"crossfit": crossfit}))
    assert scores == pytest.approx([0.0, -np.log(2)])


def test_agr_needs_three_networks() -> None:
    with pytest.raises(OptionError, match="needs 3 networks that held an image out, got 2"):
        agr.score(evidence(repetitions=2))


def test_confidences_by_loop() -> None:
    case = evidence()
    nets = case.get(Crossfit).heldout
    top = [np.mean([nets[r, i].max() for r in range(3)]) for i in range(N)]
    own = [np.mean([nets[r, i, case.labels[i]] for r in range(3)]) for i in range(N)]
    training = case.get(Crossfit).training_mean
    np.testing.assert_allclose(conf.score(case), top, rtol=1e-6)
    np.testing.assert_allclose(self_confidence.score(case), own, rtol=1e-6)
    np.testing.assert_allclose(epoch_confidence.score(case), training.mean(axis=0), rtol=1e-6)


def test_conf_reads_no_label_and_self_confidence_does() -> None:
    case = evidence()
    other = Evidence(labels=(case.labels + 1) % C, parts=case.parts)
    np.testing.assert_array_equal(conf.score(case), conf.score(other))
    np.testing.assert_array_equal(agr.score(case), agr.score(other))
    assert not np.allclose(self_confidence.score(case), self_confidence.score(other))


@pytest.mark.parametrize(("count", "width", "ridge"), [(30, 5, 0.1), (25, 40, 0.01), (15, 3, 3.0)])
def test_leave_one_out_equals_n_refits(count: int, width: int, ridge: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    features = rng.normal(2.0, 1.5, (count, width)).astype(np.float32)
    targets = np.eye(3)[rng.integers(0, 3, count)]
    centred = features - features.mean(axis=0, dtype=np.float64)
    penalty = ridge * (centred**2).sum() / width
    refits = np.empty_like(targets)
    for i in range(count):
        rest = np.arange(count) != i
        model = Ridge(alpha=penalty).fit(features[rest].astype(np.float64), targets[rest])
        refits[i] = model.predict(features[i : i + 1].astype(np.float64))[0]
    closed = leave_one_out_predictions(features, targets, ridge)
    np.testing.assert_allclose(closed, refits, atol=1e-8)


def test_leave_one_out_score_is_the_margin() -> None:
    predictions = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.9]], dtype=np.float32)
    part = PatchRegression(predictions=predictions, parameters={})
    case = Evidence(labels=np.array([0, 1]), parts={"patch_regression": part})
    assert leave_one_out.score(case) == pytest.approx([0.5, -0.6])


def test_evidence_that_was_not_made_is_named() -> None:
    with pytest.raises(KeyError, match="PatchRegression"):
        evidence().get(PatchRegression)
