"""`read_answers`: a file of answers, whatever wrote it."""

from collections.abc import Iterable
from pathlib import Path

from fmsel.artefacts import sha256_file
from fmsel.errors import ArtefactError, OptionError
from fmsel.labeling.answers import Answers
from fmsel.labeling.label_studio import read_label_studio
from fmsel.labeling.page.lines import read_journal
from fmsel.labeling.tables import read_csv

READERS = {".csv": read_csv, ".json": read_label_studio, ".jsonl": read_journal}
EXPORTED = (".csv", ".json")  # what is written for people to fill in
FORMS = {
    ".csv": "a table",
    ".json": "tasks of Label Studio",
    ".jsonl": "the answers that `fmsel label` saved",
}


def check_suffix(path: Path, known: Iterable[str] = READERS) -> None:
    """OptionError where a name does not tell one of these formats."""
    if path.suffix not in known:
        forms = [f"in {each}, {FORMS[each]}" for each in known]
        raise OptionError(f"{path} must end {', '.join(forms[:-1])}, or {forms[-1]}")


def read_answers(path: Path) -> Answers:
    """Read a filled table (.csv), what Label Studio exports (.json), or a journal (.jsonl).

    Label Studio's may be JSON or JSON-MIN; journals are those of `fmsel label`, which may be open.

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
