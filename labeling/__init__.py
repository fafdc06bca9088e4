"""People's labels in: which images wait for one, as a table or as tasks, and the answers back."""

from fmsel.labeling.answers import Answer, Answers
from fmsel.labeling.apply import apply_answers
from fmsel.labeling.label_studio import export_label_studio
from fmsel.labeling.read import read_answers
from fmsel.labeling.tables import export_csv

__all__ = [
    "Answer",
    "Answers",
    "apply_answers",
    "export_csv",
    "export_label_studio",
    "read_answers",
]
