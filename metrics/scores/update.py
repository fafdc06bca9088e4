"""A scores file gains metrics: what may be written over what."""

from collections.abc import Sequence
from pathlib import Path

from fmsel.artefacts import check_output
from fmsel.datasets import ImageDataset
from fmsel.errors import ArtefactError, OutputError
from fmsel.metrics.scores.artefact import Scores


def existing_scores(
    path: Path, data: ImageDataset, metrics: Sequence[str], force: bool
) -> Scores | None:
    """The scores at `path` that new metrics may join; None where a new file will be written.

    Raises:
        OutputError: the folder cannot be written to, or the file holds one of `metrics` already and
            `force` is false.
        ArtefactError: the file is broken, or scores other images, and `force` is false.
    """
    check_output(path, force=True)
    if not path.exists():
        return None
    if force and not _belongs(path, data):
        return None
    old = Scores.load(path)
    old.check(data, str(path))
    repeated = [name for name in metrics if name in old.arrays]
    if repeated and not force:
        raise OutputError(
            f"{path} already holds {', '.join(repeated)}; pass --force to replace them, "
            "or --out to write elsewhere"
        )
    return old


def missing_metrics(
    path: Path, old: Scores | None, metrics: Sequence[str], force: bool
) -> tuple[str, ...]:
    """The metrics that are still to be made: with `force` all of them.

    Raises:
        OutputError: there are none.
    """
    if old is None or force:
        return tuple(metrics)
    missing = tuple(name for name in metrics if name not in old.arrays)
    if not missing:
        raise OutputError(
            f"{path} already holds {', '.join(metrics)}; pass --force to replace them, "
            "or --out to write elsewhere"
        )
    return missing


def _belongs(path: Path, data: ImageDataset) -> bool:
    try:
        Scores.load(path).check(data, str(path))
    except ArtefactError:
        return False
    return True
