"""`export_run`: a run's network as files that need no run folder."""

from collections.abc import Callable, Sequence
from pathlib import Path

from fmsel.artefacts import check_output
from fmsel.errors import OptionError
from fmsel.fixmatch.use.as_onnx import check_onnx, has_onnx, write_onnx
from fmsel.fixmatch.use.as_safetensors import write_safetensors
from fmsel.fixmatch.use.weights import Trained, load_trained

WRITERS: dict[str, Callable[[Trained, Path, bool], float]] = {
    "safetensors": write_safetensors,
    "onnx": write_onnx,
}


def export_run(
    run: Path,
    out: Path,
    formats: Sequence[str] = (),
    *,
    force: bool = False,
    data_root: Path | None = None,
    offline: bool = False,
) -> dict[Path, float]:
    """Write a run's averaged network into `out` as RUN.safetensors and RUN.onnx.

    Args:
        run: the run folder.
        out: the folder to write to.
        formats: of `WRITERS`; none = all that can be written here.
        force: replace existing files.
        data_root, offline: as for `load_trained`.
    Returns:
        For each file the largest difference of its probabilities from the run's.
    Raises:
        OptionError: an unknown format, or onnx without the extra.
        OutputError: a file exists and `force` is false, or cannot be written.
        ArtefactError: a run that cannot be used, or a file that disagrees with it.
        DataError: as `load_trained`.
    """
    chosen = list(dict.fromkeys(formats)) or [n for n in WRITERS if n != "onnx" or has_onnx()]
    for name in chosen:
        if name not in WRITERS:
            raise OptionError(f"format {name!r} must be one of {', '.join(WRITERS)}")
    if "onnx" in chosen:
        check_onnx()
    paths = {name: out / f"{run.resolve().name}.{name}" for name in chosen}
    for path in paths.values():
        check_output(path, force)
    trained = load_trained(run, data_root=data_root, offline=offline)
    return {path: WRITERS[name](trained, path, force) for name, path in paths.items()}
