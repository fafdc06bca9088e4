"""The `Scores` artefact and what is computed from scores alone."""

from fmsel.metrics.scores.artefact import MetricRecord, Scores
from fmsel.metrics.scores.ranking import percentile, rank_average, within_class_percentile

__all__ = ["MetricRecord", "Scores", "percentile", "rank_average", "within_class_percentile"]
