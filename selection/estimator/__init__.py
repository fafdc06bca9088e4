"""Strategies in the shape of scikit-learn estimators and scikit-activeml query strategies."""

from fmsel.selection.estimator.query_strategy import QueryStrategy

__all__ = ["QueryStrategy"]
