"""The run folder: train into it, resume it, read it."""

from fmsel.fixmatch.run.loop import train
from fmsel.fixmatch.run.record import RunRecord, reported_accuracy

__all__ = ["RunRecord", "reported_accuracy", "train"]
