"""The `Split` artefact: which images get a label; made, drawn again, read and written."""

from fmsel.selection.split.artefact import Split, class_counts
from fmsel.selection.split.make import is_redrawn, make_split, redraw

__all__ = ["Split", "class_counts", "is_redrawn", "make_split", "redraw"]
