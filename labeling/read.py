"""`read_answers`: a file of answers, whatever wrote it."""

from pathlib import Path

from fmsel.artefacts import sha256_file
from fmsel.errors import ArtefactError, OptionError
from fmsel.labeling.answers import Answers
from fmsel.labeling.label_studio import read_label_studio
from fmsel.labeling.tables import read_csv

READERS = {".csv": read_csv, ".json": read_label_studio}


def check_suffix(path: Path) -> None:
    """OptionError where a name does not tell a format."""
    if path.suffix not in READERS:
        raise OptionError(f"{path} must end in .csv, a table, or in .json, tasks of Label Studio")


def read_answers(path: Path) -> Answers:
    """Read a filled table (.csv), or what Label Studio exports as JSON or JSON-MIN (.json).

    Raises:
        ArtefactError: unreadable, not UTF-8, empty, or of another format.
        OptionError: another suffix.
    """
    check_suffix(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
        digest = sha256_file(path)
    except OSError as error:
        raise ArtefactError(f"{path} cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise ArtefactError(
            f"{path} is not UTF-8 (byte {error.start}); save it again as UTF-8, which a "
            "spreadsheet may call CSV UTF-8"
        ) from None
    if not text.strip():
        raise ArtefactError(f"{path} is empty")
    return Answers(
        source=str(path),
        record={"file": path.name, "sha256": digest},
        answers=READERS[path.suffix](text, str(path)),
    )
