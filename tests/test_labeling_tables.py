"""The table that people fill in: what it holds, and that any copy of it reads back."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fmsel.artefacts import sha256_file
from fmsel.datasets import ImageDataset, Source, WeakAugment, load_dataset
from fmsel.errors import ArtefactError, DataError, OptionError, OutputError
from fmsel.labeling import apply_answers, export_csv, read_answers
from fmsel.labeling.tables import FORMULA, count_labels, neutral, restored
from fmsel.selection.random import Random
from fmsel.selection.split import Split, make_split

Rows = list[list[str]]


def make_data(ids: list[str], names: tuple[str, ...], source: str = "/photos") -> ImageDataset:
    n = len(ids)
    return ImageDataset(
        name="photos",
        source=Source(dataset=source),
        part="train",
        images=np.random.default_rng(0).integers(0, 256, (n, 4, 5, 3), dtype=np.uint8),
        labels=np.full(n, -1, dtype=np.int64),
        ids=np.array(ids),
        class_names=names,
        weak=WeakAugment(),
    )


PHOTOS = make_data([f"train/{i}.png" for i in range(12)], ("cat", "dog", "emu"))
SPLIT = make_split(PHOTOS, Random(), batch_size=5)


def read_rows(path: Path) -> Rows:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


def fill_in(rows: Rows, names: list[str], annotator: str = "ann") -> Rows:
    filled = [[*row[:3], name, annotator] for row, name in zip(rows[1:], names, strict=True)]
    return [rows[0], *filled]


def test_a_table_names_the_images_that_wait(tmp_path: Path) -> None:
    split = Split(**{**vars(SPLIT), "labels": [0, -1, 2, -1, -1]})
    assert export_csv(split, PHOTOS, tmp_path / "a.csv") == [tmp_path / "a.csv"]
    header, *rows = read_rows(tmp_path / "a.csv")
    assert header == ["index", "id", "image", "label", "annotator"]
    waiting = [split.indices[place] for place in (1, 3, 4)]
    expected = [[str(i), f"train/{i}.png", f"/photos/train/{i}.png", "", ""] for i in waiting]
    assert rows == expected
    export_csv(split, PHOTOS, tmp_path / "all.csv", everything=True)
    assert [row[0] for row in read_rows(tmp_path / "all.csv")[1:]] == [*map(str, split.indices)]


def test_images_that_are_no_files_are_written_without_loss(tmp_path: Path) -> None:
    digits = load_dataset("digits")
    split = make_split(digits, Random(), batch_size=4)
    written = export_csv(split, digits, tmp_path / "a.csv", everything=True)
    assert written == [tmp_path / "a.csv", tmp_path / "a-images"]
    for index, _, image, *_ in read_rows(tmp_path / "a.csv")[1:]:
        assert image == f"a-images/{index}.png"
        pixels = np.asarray(Image.open(tmp_path / image))  # 8 x 8, each of them 16 x 16 now
        blocks = np.kron(digits.images[int(index)], np.ones((16, 16, 1), dtype=np.uint8))
        assert pixels.shape == (128, 128, 3) and np.array_equal(pixels, blocks)
    assert {p.name for p in tmp_path.iterdir()} == {"a.csv", "a-images"}
    assert len(list((tmp_path / "a-images").iterdir())) == 4


def test_nothing_is_replaced_unasked_and_strangers_stay(tmp_path: Path) -> None:
    digits = load_dataset("digits")
    split = make_split(digits, Random(), batch_size=2)
    (tmp_path / "a-images").mkdir()
    (tmp_path / "a-images/mine.png").touch()
    with pytest.raises(
        OutputError, match="a-images already exists; choose another --to, or pass --force"
    ):
        export_csv(split, digits, tmp_path / "a.csv", everything=True)
    assert [p.name for p in tmp_path.iterdir()] == ["a-images"]
    export_csv(split, digits, tmp_path / "a.csv", everything=True, force=True)
    assert len(list((tmp_path / "a-images").iterdir())) == 3


def test_a_disk_that_is_full_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = load_dataset("digits")
    split = make_split(digits, Random(), batch_size=3)
    save, saved = Image.Image.save, []

    def full(image: Image.Image, path: Path) -> None:
        saved.append(path)
        if len(saved) == 3:
            raise OSError(28, "No space left on device")
        save(image, path)

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OutputError, match=r"a\.csv .No space left on device"):
        export_csv(split, digits, tmp_path / "a.csv", everything=True)
    assert len(saved) == 3 and not list(tmp_path.iterdir())


def test_what_cannot_be_labelled_is_refused(tmp_path: Path) -> None:
    done = Split(**{**vars(SPLIT), "labels": [0, 1, 2, 0, 0]})
    with pytest.raises(OptionError, match="all 5 images of the split have a label already; pass"):
        export_csv(done, PHOTOS, tmp_path / "a.csv")
    nameless = make_data([str(i) for i in range(12)], ())
    with pytest.raises(DataError, match="photos has no classes that people could choose from"):
        export_csv(SPLIT, nameless, tmp_path / "a.csv")
    bytes_name = make_data([f"{i}\udcff.png" for i in range(12)], ("cat",))
    with pytest.raises(DataError, match=r"udcff.png' is not UTF-8, .*; rename the file"):
        export_csv(SPLIT, bytes_name, tmp_path / "a.csv")
    with pytest.raises(ArtefactError, match="chooses among 12 images of photos"):
        export_csv(SPLIT, load_dataset("digits"), tmp_path / "a.csv")
    assert not list(tmp_path.iterdir())


ANY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
EVIL = st.tuples(st.sampled_from(["=", "+", "-", "@", "'", "\t", "\r", "''="]), ANY).map("".join)
TEXT = ANY | EVIL


@given(text=TEXT)
def test_no_cell_is_a_formula_and_none_is_changed(text: str) -> None:
    assert not neutral(text).startswith(tuple(FORMULA))
    assert restored(neutral(text)) == text


def dialect(**options: Any) -> Callable[[Rows, str], bytes]:
    """A spreadsheet's way of writing a table."""

    def write(rows: Rows, encoding: str) -> bytes:
        text = io.StringIO()
        csv.writer(text, **options).writerows(rows)
        return text.getvalue().encode(encoding)

    return write


DIALECTS = st.sampled_from(
    [
        dialect(),
        dialect(lineterminator="\n", quoting=csv.QUOTE_ALL),  # else it leaves "\r" unquoted
        dialect(delimiter=";"),
        dialect(delimiter="\t", quoting=csv.QUOTE_ALL),
    ]
)
# A name that begins with an apostrophe and a sign cannot be told from a neutralised one.
NAMES = TEXT.map(str.strip).filter(
    lambda name: (
        name
        and restored(name) == name
        and name.casefold() not in ("none of these", "unsure", "skip")
    )
)


@given(
    ids=st.lists(TEXT.filter(bool), min_size=6, max_size=6, unique=True),
    names=st.lists(NAMES, min_size=2, max_size=4, unique=True),
    labels=st.lists(st.integers(-1, 1), min_size=5, max_size=5).filter(lambda each: max(each) >= 0),
    write=DIALECTS,
    encoding=st.sampled_from(["utf-8", "utf-8-sig"]),
    keep=st.sampled_from([("index", "id"), ("index",), ("id",)]),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_filled_table_gives_the_labels_that_were_typed(
    ids: list[str],
    names: list[str],
    labels: list[int],
    write: Callable[[Rows, str], bytes],
    encoding: str,
    keep: tuple[str, ...],
    tmp_path: Path,
) -> None:
    data = make_data(ids, tuple(names))
    split = make_split(data, Random(), batch_size=5)
    export_csv(split, data, tmp_path / "a.csv", force=True)
    typed = [names[label] if label >= 0 else "" for label in labels]
    rows = fill_in(read_rows(tmp_path / "a.csv"), typed)
    columns = [rows[0].index(name) for name in (*keep, "label", "annotator")]
    kept = [[row[column] for column in columns] for row in rows]
    (tmp_path / "b.csv").write_bytes(write(kept, encoding))
    made = apply_answers(split, data, read_answers(tmp_path / "b.csv"))
    assert made.labels == labels


def test_pandas_reads_the_table_and_writes_it_back(tmp_path: Path) -> None:
    pandas: Any = pytest.importorskip("pandas")
    data = make_data([f'é{i}, "x".png' for i in range(12)], ("cat", "dog"))
    export_csv(SPLIT, data, tmp_path / "a.csv")
    frame = pandas.read_csv(tmp_path / "a.csv")
    assert list(frame.columns) == ["index", "id", "image", "label", "annotator"]
    assert frame["index"].tolist() == list(SPLIT.indices)
    assert frame["id"].tolist() == [data.ids[i] for i in SPLIT.indices]
    frame["label"] = ["dog", None, "cat", "dog", None]
    frame.to_csv(tmp_path / "b.csv", index=False)
    assert apply_answers(SPLIT, data, read_answers(tmp_path / "b.csv")).labels == [1, -1, 0, 1, -1]


def test_a_mark_for_excel_only_where_it_is_needed(tmp_path: Path) -> None:
    export_csv(SPLIT, PHOTOS, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_bytes().startswith(b"index,")
    accents = make_data([f"é{i}.png" for i in range(12)], ("cat", "dog"))
    export_csv(SPLIT, accents, tmp_path / "b.csv")
    assert (tmp_path / "b.csv").read_bytes().startswith(b"\xef\xbb\xbfindex,")


def test_rows_are_read_with_their_line_person_and_time(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        'id,label,annotator,index,time,note\n"a\nb",cat,ann,7,2024-05-31T12:00:00Z,"well, yes"\n'
        ",,,8,,\n, ,ben,8,,\n,Skip,ben,9,,\n",
    )
    read = read_answers(path)
    first, second = read.answers  # nobody answered about 8, for an empty label is no answer
    assert (first.where, first.index, first.id, first.choice) == ("line 3", 7, "a\nb", "cat")
    assert first.annotator == "ann" and first.time is not None and first.time.hour == 12
    assert (second.where, second.index, second.choice) == ("line 6", 9, "Skip")
    assert read.record == {"file": "a.csv", "sha256": sha256_file(path)}


def test_columns_may_have_capitals(tmp_path: Path) -> None:
    text = "INDEX;Label;Annotator;Time;note;Note\n7.0;cat;Ann;2024-05-31T12:00:00Z;;\n"
    (tmp_path / "a.csv").write_text(text)
    (answer,) = read_answers(tmp_path / "a.csv").answers
    assert (answer.index, answer.choice, answer.annotator) == (7, "cat", "Ann") and answer.time
    (tmp_path / "a.csv").write_text("index,Label,label\n7,dog,cat\n")
    (answer,) = read_answers(tmp_path / "a.csv").answers
    assert answer.choice == "cat"  # a column as we write it is ours, another may be anything


def filled(path: Path, *names: str) -> bytes:
    """A table that was exported to `path`, with labels for its first rows, as its bytes."""
    rows = read_rows(path)
    for row, name in zip(rows[1:], names, strict=False):
        row[3] = name
    return dialect()(rows, "utf-8")


def test_a_table_that_holds_labels_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    export_csv(SPLIT, PHOTOS, path)
    export_csv(SPLIT, PHOTOS, path, force=True)
    begun = filled(path, "cat", "", " ", "skip")
    for content in (
        begun,
        begun.replace(b"label", b"Label").replace(b",", b";"),
        begun.replace(b"cat", b"\xe9"),  # not UTF-8
        begun.decode().encode("utf-16"),
        begun + b'"1,"',  # a quote that is never closed
    ):
        path.write_bytes(content)
        for force in (False, True):
            with pytest.raises(OutputError, match=r"a\.csv holds 2 labels .*another --to, or del"):
                export_csv(SPLIT, PHOTOS, path, force=force)
        assert path.read_bytes() == content
    path.write_bytes(filled(path, "", " "))


def test_other_files_hold_no_labels() -> None:
    for content in (b"", b"\0", b"a,b\n1,2\n", b"index,label\n1\n2,\n3, \n", b"\xff\xfe"):
        assert count_labels(content) == 0
    assert count_labels(b"label\ncat\n\ndog") == 2


BAD = [
    (b"", "a.csv is empty"),
    (b"\xef\xbb\xbf \r\n", "a.csv is empty"),
    (b"index,label\n1,caf\xe9\n", r"a.csv is not UTF-8 \(byte 17\); save it again as UTF-8"),
    ("index,label\n1,cat\n".encode("utf-16"), r"a.csv is not UTF-8 \(byte 0\)"),
    (
        b"index,id\n1,a\n",
        "a.csv must begin with a line of column names, among them label and .*id$",
    ),
    (b"label,annotator\ncat,ann\n", "among them label and index or id; it begins with label, ann"),
    (b"1,cat\n2,dog\n", "it begins with 1, cat"),
    (b"\nindex,label\n", "it begins with an empty line"),
    (b"index,label,label\n1,a,b\n", "a.csv has 2 columns label; keep one"),
    (b"index,label\n1.5,cat\n", "a.csv, line 2: index '1.5' is not an integer of 0 or more"),
    (b"index,label\n1,cat\n-2,cat\n", "a.csv, line 3: index '-2' is not an integer"),
    (b"index,label\n" + b"9" * 5000 + b",cat\n", "a.csv, line 2: index '9*' is not an integer"),
    (
        b'index,label,time\n1.5,cat,\n1,cat,\n,dog,\n2,dog,noon\n3,a,b,c\n4,"a',
        "a.csv holds 5 mistakes: line 2: index '1.5' .*; line 4: neither .*; line 5: time 'noon' .*"
        "; line 6: 4 fields under 3 .*; line 7: not a CSV table",
    ),
    (b"index,label\n" + b"x,cat\n" * 11, "a.csv holds more than 10 mistakes, first: line 2: ind"),
    (b"index,Label,LABEL\n1,a,b\n", "a.csv has 2 columns label; keep one"),
    (b"index,label\n,cat\n", "a.csv, line 2: neither an index nor an id names the image"),
    (b"index,label\n1,cat,dog\n", "a.csv, line 2: 3 fields under 2 column names; put texts that"),
    (b'index,label\n1,"cat\n', r"a.csv, line 2: not a CSV table \(unexpected end of data\)"),
    (b'index,label\n1,"c"at\n', "a.csv, line 2: not a CSV table"),
    (b"index,label,time\n1,cat,noon\n", "a.csv, line 2: time 'noon' is not of ISO 8601"),
    (b"index,label\n1," + b"x" * 200_000 + b"\n", "a.csv, line 2: not a CSV table .field larger"),
]


@pytest.mark.parametrize(("content", "sentence"), BAD)
def test_broken_tables_are_refused(content: bytes, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(ArtefactError, match=sentence):
        read_answers(tmp_path / "a.csv")


def test_missing_files_and_other_suffixes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"none.csv cannot be read \(No such file"):
        read_answers(tmp_path / "none.csv")
    with pytest.raises(OptionError, match=r"a.xlsx must end in .csv, a table, in .json, tasks"):
        read_answers(tmp_path / "a.xlsx")
