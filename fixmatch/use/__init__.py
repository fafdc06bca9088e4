"""A trained network in use: label images with it, take it elsewhere."""

from fmsel.fixmatch.use.as_safetensors import load_exported
from fmsel.fixmatch.use.outputs import RunOutputs, run_outputs
from fmsel.fixmatch.use.weights import Classifier, Trained, load_trained

__all__ = [
    "Classifier",
    "RunOutputs",
    "Trained",
    "load_exported",
    "load_trained",
    "run_outputs",
]
