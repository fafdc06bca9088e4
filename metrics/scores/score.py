"""`score_dataset`: images in, `Scores` out."""

import time
from collections.abc import Mapping, Sequence

import numpy as np

from fmsel.artefacts import sha256_array, versions
from fmsel.datasets import ImageDataset
from fmsel.errors import DataError
from fmsel.metrics.evidence import Evidence, Settings, gather
from fmsel.metrics.scores.artefact import MetricRecord, Scores
from fmsel.metrics.scores.catalogue import DEFAULT, check_metrics, metric_module
from fmsel.training.engine.device import device_name, resolve_device


def score_dataset(
    data: ImageDataset,
    metrics: Sequence[str] = DEFAULT,
    settings: Settings | None = None,
) -> Scores:
    """Score every image of `data` by each metric.

    Args:
        data: a train part; every image labelled, except for metrics of label use "none".
        metrics: names or groups of them, as `check_metrics` takes them.
        settings: seed, device, precision, cache; None = the defaults of each.
    Raises:
        OptionError: unknown metric.
        DataError: labels are missing, or too few images in a class.
    """
    names = check_metrics(metrics)
    settings = settings or Settings()
    if len(data) < 2:
        raise DataError(f"{data.name} has {len(data)} images; scoring compares at least 2")
    kinds = [kind for name in names for kind in metric_module(name).NEEDS]
    evidence = gather(data, kinds, settings)
    place = device_name(resolve_device(settings.device))
    arrays, records = {}, {}
    for name in names:
        arrays[name], records[name] = _apply(
            name, evidence, settings.seed, place, data.labels_sha256
        )
    return Scores(dataset=data.describe(), arrays=arrays, records=records)


def merge(old: Scores, new: Scores) -> Scores:
    """`old` with the metrics of `new` added or replaced; both must score the same images.

    Their labels may differ: every record keeps the hash of those that its metric was made with.
    """
    arrays: Mapping[str, np.ndarray] = {**old.arrays, **new.arrays}
    records = {**old.records, **new.records}
    return Scores(dataset=new.dataset, arrays=arrays, records=records)


def _apply(
    name: str, evidence: Evidence, seed: int, place: str, labels_sha256: str
) -> tuple[np.ndarray, MetricRecord]:
    module = metric_module(name)
    start = time.perf_counter()
    array = np.ascontiguousarray(module.score(evidence), dtype=np.float32)
    seconds = time.perf_counter() - start
    if array.shape != evidence.labels.shape or not np.isfinite(array).all():
        raise DataError(
            f"the metric {name} gave {array.shape} scores, or some that are not finite, "
            f"for {len(evidence.labels)} images; please report this with the data set"
        )
    kinds = evidence.closure(module.NEEDS)
    record = MetricRecord(
        parameters={kind: dict(evidence.parameters[kind]) for kind in kinds},
        seed=seed,
        seconds=round(seconds, 4),
        evidence_seconds={kind: round(evidence.seconds[kind], 1) for kind in kinds},
        compute_seconds={kind: evidence.compute_seconds[kind] for kind in kinds},
        device=place,
        label_use=module.LABEL_USE,
        labels_sha256=labels_sha256,
        sha256=sha256_array(array),
        made_with=versions("torch", "scikit-learn"),
    )
    return array, record
