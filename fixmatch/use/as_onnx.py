"""A run's network as an ONNX file: images as they are decoded in, probabilities out."""

from importlib.util import find_spec
from pathlib import Path

import torch

from fmsel.artefacts import atomic_path
from fmsel.errors import OptionError
from fmsel.fixmatch.use.exported import agreement, describe, random_images
from fmsel.fixmatch.use.weights import Classifier, Trained

PACKAGES = ("onnx", "onnxruntime", "onnxscript")  # the extra
INPUT, OUTPUT = "images", "probabilities"


def has_onnx() -> bool:
    """Whether the extra `fmsel[onnx]` is installed."""
    return all(find_spec(name) for name in PACKAGES)


def check_onnx() -> None:
    """Raises OptionError where the extra `fmsel[onnx]` is not installed."""
    if not has_onnx():
        raise OptionError("format onnx needs more packages; pip install 'fmsel[onnx]'")


def write_onnx(trained: Trained, path: Path, force: bool = False) -> float:
    """Write a graph from `images`, (N, S, S, 3) uint8, to `probabilities`, (N, C) float32.

    Normalisation and softmax are inside; N is free. The metadata is that of the safetensors file.

    Args:
        trained: on the CPU.
        path: the file; it comes to be only if onnxruntime agrees with the run.
        force: replace an existing file.
    Returns:
        The largest difference of a probability on random images, at most `exported.TOLERANCE`.
    Raises:
        OptionError: the extra is not installed.
        OutputError: `path` exists and `force` is false, or it cannot be written.
        ArtefactError: the file disagrees with the run.
    """
    check_onnx()
    import onnxruntime

    with atomic_path(path, force) as temporary:
        temporary.write_bytes(_graph(trained))
        session = onnxruntime.InferenceSession(temporary, providers=["CPUExecutionProvider"])
        images = random_images(trained)
        (theirs,) = session.run([OUTPUT], {INPUT: images})
        return agreement(trained, images, theirs, path)


def _graph(trained: Trained) -> bytes:
    import onnx

    side = trained.image_side
    program = torch.onnx.export(
        Classifier(trained.network).eval(),
        (torch.zeros((2, side, side, 3), dtype=torch.uint8),),
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes={INPUT: {0: torch.export.Dim("N")}},
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    assert program is not None  # None only where it cannot be exported as asked
    model = program.model_proto
    for node in model.graph.node:
        del node.metadata_props[:]  # where on this machine each line of the code lies
    onnx.helper.set_model_props(model, describe(trained))
    onnx.checker.check_model(model)
    written: bytes = model.SerializeToString()
    return written
