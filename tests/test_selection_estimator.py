"""Strategies as scikit-learn estimators and inside scikit-activeml's own pool loop."""

import numpy as np
import pytest
from skactiveml.classifier import SklearnClassifier
from skactiveml.pool import UncertaintySampling
from skactiveml.utils import MISSING_LABEL, call_func, is_labeled, unlabeled_indices
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from fmsel.errors import DataError, OptionError
from fmsel.selection.estimator import QueryStrategy
from fmsel.selection.margin import Margin
from fmsel.selection.maxherding import Maxherding
from fmsel.selection.pool import Pool

X, TRUTH = load_iris(return_X_y=True)


def loop(strategy: object, cycles: int, batch_size: int) -> tuple[np.ndarray, float]:
    """The pool loop of scikit-activeml's tutorial: picks in order, and the accuracy at the end."""
    y = np.full(len(X), MISSING_LABEL)
    classifier = SklearnClassifier(LogisticRegression(max_iter=500), classes=np.unique(TRUTH))
    picks: list[int] = []
    for _ in range(cycles):
        chosen = call_func(
            strategy.query,  # type: ignore[attr-defined]
            X=X,
            y=y,
            clf=classifier if is_labeled(y).any() else None,
            batch_size=batch_size,
        )
        assert set(chosen.tolist()) <= set(unlabeled_indices(y).tolist())
        y[chosen] = TRUTH[chosen]
        picks += chosen.tolist()
        classifier.fit(X, y)
    return np.array(picks), float(classifier.score(X, TRUTH))


@pytest.mark.parametrize("name", ["maxherding", "typiclust", "k_center", "rdss", "random"])
def test_strategies_run_in_scikit_activemls_pool_loop(name: str) -> None:
    picks, accuracy = loop(QueryStrategy(name), cycles=5, batch_size=4)
    assert len(np.unique(picks)) == 20
    assert accuracy > 0.85  # iris; three classes by chance would be 0.33


def test_rounds_of_a_greedy_strategy_are_its_one_choice() -> None:
    pool = Pool(n=len(X), features=X.astype(np.float32))
    picks, _ = loop(QueryStrategy("maxherding", sigma=0.5), cycles=4, batch_size=3)
    assert picks.tolist() == Maxherding(0.5).query(pool, batch_size=12).tolist()


def test_margin_is_scikit_activemls_where_it_has_no_ties() -> None:
    y = np.full(len(X), MISSING_LABEL)
    y[::15] = TRUTH[::15]
    classifier = SklearnClassifier(LogisticRegression(max_iter=500), classes=np.unique(TRUTH))
    theirs = UncertaintySampling(method="margin_sampling", random_state=0)
    ours = QueryStrategy("margin").query(X, y, classifier, batch_size=10)
    assert ours.tolist() == theirs.query(X, y, clf=classifier, batch_size=10).tolist()


def test_a_fitted_classifier_is_taken_as_it_is() -> None:
    y = np.where(np.arange(len(X)) % 5 == 0, TRUTH, -1)
    fitted = LogisticRegression(max_iter=500).fit(X[y >= 0], y[y >= 0])
    ours = QueryStrategy("margin").query(X, y, fitted, batch_size=6, fit_clf=False)
    pool = Pool(
        n=len(X),
        class_names=("a", "b", "c"),
        labels=y,
        features=X.astype(np.float32),
        probabilities=fitted.predict_proba(X.astype(np.float32)),
    )
    assert ours.tolist() == Margin().query(pool, batch_size=6).tolist()


def test_it_can_be_cloned_and_set() -> None:
    made = QueryStrategy("maxherding", random_state=3, sigma=0.7)
    copy = clone(made)
    assert copy is not made and copy.get_params() == made.get_params()
    assert made.get_params()["sigma"] == 0.7
    other = copy.set_params(sigma=2.0, random_state=4)
    assert other is copy and made.get_params()["sigma"] == 0.7
    pool = Pool(n=len(X), features=X.astype(np.float32))
    assert other.query(X, batch_size=5).tolist() == Maxherding(2).query(pool, batch_size=5).tolist()


@pytest.mark.parametrize("missing", [np.nan, -1, None, "?"])
def test_labels_may_be_missing_in_any_of_the_usual_ways(missing: object) -> None:
    names = np.array(["setosa", "versicolor", "virginica"], dtype=object)[TRUTH]
    y = names if missing in (None, "?") else TRUTH.astype(float)
    y = np.array([each if i % 2 else missing for i, each in enumerate(y)], dtype=y.dtype)
    picks = QueryStrategy("k_center", missing_label=missing).query(X, y, batch_size=75)
    assert sorted(picks.tolist()) == list(range(0, 150, 2))


def test_utilities_tell_the_order_of_the_picks() -> None:
    y = np.where(np.arange(len(X)) < 10, TRUTH, -1)
    picks, utilities = QueryStrategy("k_center").query(X, y, batch_size=3, return_utilities=True)
    assert np.nanargmax(utilities, axis=1).tolist() == picks.tolist()
    assert np.isnan(utilities[:, :10]).all() and np.isnan(utilities[2, picks[:2]]).all()


def test_candidates_are_obeyed() -> None:
    picks = QueryStrategy("maxherding").query(X, candidates=[3, 70, 140], batch_size=3)
    assert sorted(picks.tolist()) == [3, 70, 140]


def test_what_a_pool_loop_cannot_give_is_refused() -> None:
    with pytest.raises(OptionError, match="prototypes reads labels or scores of all images"):
        QueryStrategy("prototypes").query(X)
    with pytest.raises(DataError, match="margin needs the predictions"):
        QueryStrategy("margin").query(X)
    with pytest.raises(OptionError, match="maxherding has no parameter 'width'"):
        QueryStrategy("maxherding").set_params(width=1)
    with pytest.raises(DataError, match="finite numbers"):
        QueryStrategy("maxherding").query(np.full((4, 2), np.nan))
    with pytest.raises(DataError, match="one label a row"):
        QueryStrategy("maxherding").query(X, TRUTH[:5])
