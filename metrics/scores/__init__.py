"""The `Scores` artefact and what is computed from scores alone."""

from fmsel.metrics.scores.artefact import MetricRecord, Scores
from fmsel.metrics.scores.ranking import (
    PREFERRED,
    class_ranking,
    percentile,
    rank_average,
    typical_first,
    within_class_percentile,
)

__all__ = [
    "PREFERRED",
    "MetricRecord",
    "Scores",
    "class_ranking",
    "percentile",
    "rank_average",
    "typical_first",
    "within_class_percentile",
]
