"""`RunRecord`: a finished run, read back from its folder."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fmsel.artefacts import read_json
from fmsel.errors import ArtefactError, OptionError
from fmsel.fixmatch.config import FixMatchConfig

SCHEMA = 1
CONFIG, METRICS, SUMMARY = "config.json", "metrics.jsonl", "summary.json"
SPLIT, CHECKPOINTS, OUTPUTS = "split.json", "checkpoints", "outputs.npz"


def reported_accuracy(evaluations: Sequence[float]) -> tuple[float, int]:
    """A run's one accuracy: (median of its last evaluations, how many those were).

    The last 20, as the paper reports (reference code, extract_accuracy.py); of fewer than 80
    evaluations the last quarter, at least one, so that the beginning of a short run does not count.
    Never the best on the test part.

    Args:
        evaluations: EMA accuracies in order, not empty.
    """
    count = min(20, max(len(evaluations) // 4, 1))
    return float(np.median(evaluations[-count:])), count


@dataclass(frozen=True, kw_only=True, eq=False)
class RunRecord:
    """One finished run.

    Attributes:
        path: its folder.
        mode: "fixmatch" or "supervised".
        seed: the training seed.
        config: the recipe.
        dataset: `ImageDataset.describe()` of the train part.
        split: name, sha256, strategy, parameters, seed, label_use, labels (their number M).
        init: the run whose weights it started from (run, step, config_sha256); None = afresh.
        steps: (E,) int64, the steps of the evaluations.
        ema_accuracy: (E,) float64 in [0, 1]; nan where the test part has no labels.
        rows: E lines of metrics.jsonl, whole.
        summary: the whole of summary.json.
    """

    path: Path
    mode: str
    seed: int
    config: FixMatchConfig
    dataset: Mapping[str, Any]
    split: Mapping[str, Any]
    init: Mapping[str, Any] | None
    steps: npt.NDArray[np.int64]
    ema_accuracy: npt.NDArray[np.float64]
    rows: Sequence[Mapping[str, Any]]
    summary: Mapping[str, Any]

    @property
    def accuracy(self) -> float | None:
        """`reported_accuracy`; None where the test part has no labels."""
        value = self.summary["accuracy"]
        return None if value is None else float(value)

    @property
    def confusion(self) -> npt.NDArray[np.int64] | None:
        """(C, C) test images by true class (rows) and by the class that the averaged network gave.

        None where the test part has no labels, and in runs of an older fmsel.
        """
        counts = self.summary.get("confusion")
        return None if counts is None else np.array(counts, dtype=np.int64)

    def series(self, name: str) -> npt.NDArray[np.float64]:
        """(E,) one field of every row; nan where it was not measured."""
        return np.array([row.get(name) for row in self.rows], dtype=np.float64)

    @classmethod
    def load(cls, path: Path) -> "RunRecord":
        """Read a run folder.

        Raises:
            ArtefactError: no run folder, an unfinished run, or a broken file.
        """
        config = read_run_config(path)
        if not (path / SUMMARY).exists():
            raise ArtefactError(
                f"the run {path} is not finished; go on with `fmsel train --resume`"
            )
        rows = _read_rows(path / METRICS)
        try:
            return cls(
                path=path,
                mode=config["mode"],
                seed=config["seed"],
                config=FixMatchConfig.from_dict(config["fixmatch"]),
                dataset=config["dataset"],
                split=config["split"],
                init=config.get("init"),
                steps=np.array([row["step"] for row in rows], dtype=np.int64),
                ema_accuracy=np.array([row["ema_accuracy"] for row in rows], dtype=np.float64),
                rows=rows,
                summary=_summary(path / SUMMARY),
            )
        except KeyError as error:
            raise ArtefactError(f"the run {path} lacks the field {error}") from error
        except (OptionError, TypeError) as error:
            raise ArtefactError(f"the run {path} is broken: {error}") from error


def read_run_config(run: Path) -> dict[str, Any]:
    """config.json of a run folder, whether the run is finished or not.

    Raises:
        ArtefactError: no run folder, or a config.json of another version or broken.
    """
    path = run / CONFIG
    if not path.exists():
        raise ArtefactError(f"{run} is not a run folder: it holds no {CONFIG}")
    config = read_json(path, "run configuration")
    if config.get("schema_version") != SCHEMA:
        raise ArtefactError(
            f"{path} has schema_version {config.get('schema_version')!r}; "
            f"this fmsel reads version {SCHEMA}"
        )
    return config


def _summary(path: Path) -> dict[str, Any]:
    summary = read_json(path, "run summary")
    if "accuracy" not in summary:
        raise ArtefactError(f"{path} lacks the field 'accuracy'")
    accuracy = summary["accuracy"]
    if accuracy is not None and not isinstance(accuracy, int | float):
        raise ArtefactError(f"{path} is broken: its accuracy is {accuracy!r}; train it again")
    return summary


def _read_rows(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ArtefactError(f"{path} cannot be read as run metrics ({error})") from error
