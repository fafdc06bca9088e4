"""Records of scores that a test made up."""

from typing import Any

import numpy as np

from fmsel.artefacts import sha256_array
from fmsel.metrics.scores import MetricRecord


def record_of(array: np.ndarray, **given: Any) -> MetricRecord:
    """What a scores file says of `array`: no parameters, no time, made with a formula on a CPU."""
    plain: dict[str, Any] = {
        "parameters": {},
        "seed": 0,
        "seconds": 0.0,
        "evidence_seconds": {},
        "device": "cpu",
        "label_use": "formula",
        "labels_sha256": "",
        "sha256": sha256_array(array),
    }
    return MetricRecord(**(plain | given))
