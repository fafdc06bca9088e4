"""`QueryStrategy`: any strategy, called as scikit-activeml calls its own."""

from dataclasses import fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, clone

from fmsel.errors import DataError, OptionError
from fmsel.selection.pool import IntArray, Pool, Strategy, strategy_class

Labels = npt.NDArray[Any]


class QueryStrategy(BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """A strategy of fmsel for scikit-activeml's pool loop, and for `sklearn.base.clone`.

    It chooses from features and, where the strategy reads them, from the probabilities of a
    classifier. Oracles and strategies on scores need more than a pool loop has: use `make_split`.

    Args:
        strategy: name of a module of `fmsel.selection`, such as "typiclust".
        random_state: the seed, 0 or more.
        missing_label: what marks an unlabelled sample in y, beside nan.
        parameters: of the strategy, such as delta=0.5.
    """

    def __init__(
        self,
        strategy: str = "typiclust",
        *,
        random_state: int = 0,
        missing_label: Any = np.nan,
        **parameters: Any,
    ) -> None:
        self.strategy = strategy
        self.random_state = random_state
        self.missing_label = missing_label
        self.parameters = parameters

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """All arguments of the constructor, those of the strategy by their own names."""
        own = ("strategy", "random_state", "missing_label")
        return {name: getattr(self, name) for name in own} | dict(self.parameters)

    def set_params(self, **params: Any) -> Self:
        """Change arguments of the constructor; OptionError names those there are."""
        kind = strategy_class(str(params.get("strategy", self.strategy)))
        known = {each.name for each in fields(kind)}
        for name, value in params.items():
            if name in ("strategy", "random_state", "missing_label"):
                setattr(self, name, value)
            elif name in known:
                self.parameters = {**self.parameters, name: value}
            else:
                raise OptionError(
                    f"{self.strategy} has no parameter {name!r}; its parameters: "
                    f"{', '.join(sorted(known)) or 'none'}"
                )
        return self

    def query(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike | None = None,
        clf: Any = None,
        *,
        candidates: npt.ArrayLike | None = None,
        batch_size: int = 1,
        return_utilities: bool = False,
        fit_clf: bool = True,
    ) -> Any:  # one array, or two with `return_utilities`
        """Choose samples of X that have no label.

        Args:
            X: (N, D) features, finite.
            y: (N,) labels, with `missing_label`, nan, None or -1 (of numbers) for unlabelled
                samples; None = all of them are.
            clf: a classifier with `predict_proba`, for strategies that read probabilities.
            candidates: indices of samples that may be chosen; None = all unlabelled ones.
            batch_size: how many to choose.
            return_utilities: also return the order of the choice as utilities.
            fit_clf: fit a clone of `clf` to the labelled samples first.
        Returns:
            (batch_size,) int64 indices into X, in pick order; with `return_utilities` also
            (batch_size, N) float64: in row i 1 for pick i, 0 for the other candidates left and nan
            elsewhere. Strategies of fmsel rank sets of images, so there is no finer utility.
        Raises:
            BudgetError, DataError, OptionError: as `Strategy.query`.
        """
        features = np.asarray(X, dtype=np.float32)
        if features.ndim != 2 or not np.isfinite(features).all():
            raise DataError(f"X must be finite numbers of shape (N, D), got {features.shape}")
        given = np.full(len(features), np.nan) if y is None else np.asarray(y)
        if given.shape != (len(features),):
            raise DataError(f"y must have one label a row of X, got shape {given.shape}")
        known = ~self._missing(given)
        names, codes = np.unique(given[known].astype(str), return_inverse=True)
        labels = np.full(len(features), -1, dtype=np.int64)
        labels[known] = codes
        pool = Pool(
            n=len(features),
            class_names=tuple(names.tolist()),
            labels=labels,
            candidates=None if candidates is None else np.asarray(candidates, dtype=np.int64),
            features=features,
            probabilities=self._probabilities(clf, fit_clf, features, given, known),
        )
        picks = self._make().query(pool, batch_size=batch_size, seed=self.random_state)
        return (picks, _utilities(pool, picks)) if return_utilities else picks

    def _make(self) -> Strategy:
        made = strategy_class(self.strategy)(**self.parameters)
        if made.LABEL_USE != "none" or made.metrics:
            raise OptionError(
                f"{self.strategy} reads labels or scores of all images, which a pool loop does not "
                "have; use fmsel.selection.split.make_split"
            )
        return made

    def _missing(self, y: Labels) -> npt.NDArray[np.bool_]:
        """(N,) which labels are not known."""
        missing = np.array([each is None or each != each for each in y.tolist()], dtype=bool)
        marks = [self.missing_label] if y.dtype.kind == "U" else [self.missing_label, -1]
        for mark in marks:
            missing |= np.array([type(mark) is not float and each == mark for each in y.tolist()])
        return missing

    def _probabilities(
        self, clf: Any, fit: bool, features: Labels, y: Labels, known: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.floating] | None:
        if clf is None:
            return None
        fitted = clone(clf).fit(features[known], y[known]) if fit else clf
        return np.asarray(fitted.predict_proba(features))


def _utilities(pool: Pool, picks: IntArray) -> npt.NDArray[np.float64]:
    utilities = np.full((len(picks), pool.n), np.nan)
    left = pool.available
    for row, pick in zip(utilities, picks, strict=True):
        row[left] = 0
        row[pick] = 1
        left = left[left != pick]
    return utilities
