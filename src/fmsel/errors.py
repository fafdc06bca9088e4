"""Errors fmsel raises on purpose; the command line prints them without a traceback and exits 2.

Every message is one sentence that says what is wrong, where, and how to mend it.
"""


class FmselError(Exception):
    """Base class: the message is written for the person at the terminal."""


class OptionError(FmselError, ValueError):
    """An option, name or combination of options that cannot be used."""


class DataError(FmselError, ValueError):
    """Images or labels that cannot be read or used."""


class ArtefactError(FmselError, ValueError):
    """A scores, split or run file that is broken or belongs to something else."""


class BudgetError(FmselError, ValueError):
    """A labelling budget that does not fit the pool."""


class OutputError(FmselError, OSError):
    """An output that already exists or cannot be written."""


class DeviceError(FmselError, RuntimeError):
    """A device that cannot be used here."""


class Interrupted(FmselError):
    """Work stopped by Ctrl-C or a signal after saving its state; the command line exits 130."""
