"""`fmsel labels` as it is typed: out to people and back, to a trained network; and bad input."""

import csv
import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fmsel.cli.app import main
from fmsel.datasets import ImageDataset, load_dataset
from fmsel.fixmatch.run import RunRecord
from fmsel.selection.split import Split

SMOKE = ["--preset", "smoke", "--steps", "4", "--eval-every", "2", "--device", "cpu"]
IMPORT = ["import", "answers.csv", "--split", "splits/random.json", "--out", "new/labelled.json"]


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return load_dataset("digits")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with splits/random.json, twelve digits."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    assert main(["split", "--random", "12", "--dataset", "digits"]) == 0
    return tmp_path


def fmsel(*words: str) -> None:
    assert main(["labels", *words]) == 0


def everything(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one sentence that bad input is answered with; nothing is written or changed."""
    capsys.readouterr()
    before = everything(Path.cwd())
    assert main(["labels", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert everything(Path.cwd()) == before
    return captured.err


def read(name: str) -> list[dict[str, str]]:
    with Path(name).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def answer(labels: list[str], name: str = "answers.csv", annotator: str = "ann") -> None:
    """Export, and fill in the first rows as a spreadsheet does."""
    Path(name).unlink(missing_ok=True)
    fmsel("export", "splits/random.json", "--to", name, "--all", "--force")
    with Path(name).open(encoding="utf-8-sig", newline="") as file:
        header, *rows = csv.reader(file)
    for row, label in zip(rows, labels, strict=False):
        row[3:] = [label, annotator]
    with Path(name).open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, dialect="excel").writerows([header, *rows])


def true_names(digits: ImageDataset) -> list[str]:
    split = Split.load(Path("splits/random.json"))
    return [digits.class_names[digits.labels[index]] for index in split.indices]


def test_a_labelled_split_trains_and_one_that_waits_does_not(
    digits: ImageDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    names = true_names(digits)
    answer(names[:10])
    capsys.readouterr()
    fmsel(*IMPORT)
    out = capsys.readouterr().out
    assert "wrote new/labelled.json: 10 of 12 images of digits have a label" in out
    assert "answers.csv: 10 labelled, 2 still empty; by ann 10\n" in out
    assert "next: `fmsel labels export new/labelled.json` for the other 2, or the same" in out
    assert main(["train", "--split", "new/labelled.json", *SMOKE]) == 2
    err = capsys.readouterr().err
    assert "2 of the split's 12 images have no label yet" in err
    assert (
        "`fmsel labels export`" in err and "`fmsel labels import`, where --drop-unlabelled" in err
    )
    assert not Path("runs").exists()

    fmsel("export", "new/labelled.json", "--to", "rest.csv")
    rows = read("rest.csv")
    split = Split.load(Path("new/labelled.json"))
    assert [row["index"] for row in rows] == [str(index) for index in split.indices[10:]]
    with Path("rest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "label"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(row | {"label": name} for row, name in zip(rows, names[10:], strict=True))
    fmsel("import", "rest.csv", "--split", "new/labelled.json", "--out", "full.json")
    full = Split.load(Path("full.json"))
    assert full.labels == [digits.labels[index] for index in full.indices]
    assert main(["train", "--split", "full.json", *SMOKE]) == 0
    assert RunRecord.load(Path("runs/full-seed0")).split["name"] == "full"


def test_show_counts_what_people_gave(
    digits: ImageDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(["7", "unsure", "7"])
    fmsel(*IMPORT)
    capsys.readouterr()
    assert main(["split", "show", "new/labelled.json"]) == 0
    out = capsys.readouterr().out
    assert "12, 2 of them given by people" in out
    assert "from labels 1 annotators ann" in out and "from labels 1 no_class unsure" in out
    assert Split.load(Path("new/labelled.json")).class_counts["7"] == 2
    assert out.count("none ") == 9
    assert main(["split", "check", "new/labelled.json"]) == 0
    assert "12 labels of digits, 10 of them awaited (random" in capsys.readouterr().out


def test_label_studio_there_and_back(
    digits: ImageDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", "splits/random.json", "--to", "tasks.json", "--all"]
    capsys.readouterr()
    fmsel(*words, "--image-root", "http://host/files")
    assert capsys.readouterr().out.splitlines() == [
        *(f"wrote {name}" for name in ("tasks.json", "tasks.xml", "tasks-images")),
        "12 images of digits to label; the classes are 0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
        "next: label the tasks, export them as tasks-answers.json, then fmsel labels import "
        "tasks-answers.json --split splits/random.json --out splits/random-labelled.json",
    ]
    tasks: list[dict[str, Any]] = json.loads(Path("tasks.json").read_text())
    for number, (task, name) in enumerate(zip(tasks, true_names(digits), strict=True)):
        assert task["data"]["image"].startswith("http://host/files/tasks-images/")
        value = {"type": "choices", "from_name": "class", "value": {"choices": [name]}}
        times = {"updated_at": "2024-05-31T12:00:00.5Z"}
        done = {"result": [value], "was_cancelled": False, "completed_by": 1} | times
        task |= {"id": number, "annotations": [done]}
    Path("export.json").write_text(json.dumps(tasks))
    fmsel("import", "export.json", "--split", "splits/random.json", "--out", "a.json")
    made = Split.load(Path("a.json"))
    assert made.labels == [digits.labels[index] for index in made.indices]
    assert "already exists; choose another --to, or pass --force" in refusal(capsys, *words)
    Path("export.json").replace("tasks.json")
    said = refusal(capsys, *words, "--force")
    assert "tasks.json holds 12 labels that would be lost, even with --force; choose ano" in said


def test_the_printed_commands_lead_from_a_table_to_a_split_without_those_that_nobody_can_label(
    digits: ImageDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    names = true_names(digits)
    answer(["skip", *names[1:11]])  # filled down: the empty last row has its annotator
    rows = Path("answers.csv").read_text(encoding="utf-8-sig").splitlines()
    Path("answers.csv").write_text("\n".join([*rows[:-1], rows[-1] + "ann"]) + "\n")
    before = Path("answers.csv").read_bytes()
    said = refusal(
        capsys, "export", "splits/random.json", "--to", "answers.csv", "--all", "--force"
    )
    assert "answers.csv holds 11 labels that would be lost" in said
    fmsel("export", "splits/random.json", "--to", "b.csv", "--all")
    *_, found, then = capsys.readouterr().out.splitlines()
    assert found == "12 images of digits to label; the classes are 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    start, command = then.split(", then ")
    assert start == "next: fill in the labels in b.csv"
    Path("b.csv").write_bytes(before)
    program, *words = shlex.split(command)
    assert program == "fmsel" and main([*words, "--drop-unlabelled"]) == 0
    *_, told, then = capsys.readouterr().out.splitlines()
    assert told == "b.csv: 10 labelled, 1 still empty, 1 skipped, 2 left out; by ann 10"
    split = Split.load(Path("splits/random.json"))
    made = Split.load(Path("splits/random-labelled.json"))
    assert made.indices == split.indices[1:11]
    assert made.labels == [digits.labels[index] for index in made.indices]
    start, command = then.split("next: ")
    program, *words = shlex.split(command)
    assert program == "fmsel" and main([*words, *SMOKE]) == 0
    record = RunRecord.load(Path("runs/random-labelled-seed0"))
    assert record.split["sha256"] == made.sha256 and record.split["labels"] == 10
    assert main([*words, *SMOKE, "--resume"]) == 0


def test_two_people_need_not_agree(capsys: pytest.CaptureFixture[str]) -> None:
    answer(["7", "3"])
    first = Path("answers.csv").read_text(encoding="utf-8-sig")
    answer(["7", "4"], annotator="ben")
    second = Path("answers.csv").read_text(encoding="utf-8-sig").splitlines()[1:]
    Path("answers.csv").write_text(first + "\n".join(second) + "\n")
    capsys.readouterr()
    fmsel(*IMPORT, "--agreement", "all")
    out = capsys.readouterr().out
    assert "1 labelled, 10 still empty, 1 disagreed upon; by ann 2, ben 2" in out


def test_labels_of_before_are_kept_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    answer(["7"])
    fmsel(*IMPORT)
    answer(["8"])
    again = ["import", "answers.csv", "--split", "new/labelled.json", "--out", "new/labelled.json"]
    assert "new/labelled.json already exists; pass --force" in refusal(capsys, *again)
    assert "'8' here and '7' in the split" in refusal(capsys, *again, "--force")
    fmsel(*again, "--force", "--relabel")
    labels = Split.load(Path("new/labelled.json")).labels
    assert labels is not None and labels[0] == 8


BAD_ANSWERS = [
    (b"", "answers.csv is empty"),
    (b"index,label\n1,\xff\n", "answers.csv is not UTF-8"),
    (b"index,id\n", "must begin with a line of column names"),
    (b"index,label\n", "answers.csv holds no answers; fill in some labels first"),
    (b"index,label\n@,seven\n", "line 2: 'seven' is no class of digits; the classes are 0, 1"),
    (b"index,label\n@,7.0\n", "line 2: '7.0' is no class of digits, did you mean '7'; the"),
    (b"index,label\n5000,7\n", "line 2: image 5000 is not among the split's 12 images"),
    (b"id,label\nnone,7\n", "line 2: no image of the split has the id 'none'"),
    (b"index,id,label\n@,none,7\n", "not 'none'; the answers may be of another data set"),
    (b"index,label,annotator\n@,,a\n", "answers.csv holds no answers; fill in some labels first"),
    (b"index,label,annotator\n@,7,a\n@,8,a\n", "line 3: a answered otherwise about this image bef"),
    (b"index,label\n@,7\n@,8\n", "line 3: an unnamed annotator answered otherwise about this ima"),
    (b"index,label\n@,six\n5000,7\n", "holds 2 mistakes: line 2: 'six' is no class of digits; li"),
    (b"index,label\n@,7,8\n", "line 2: 3 fields under 2 column names"),
    (b'index,label\n@,"7\n', "line 2: not a CSV table"),
]


@pytest.mark.parametrize(("content", "sentence"), BAD_ANSWERS)
def test_bad_answers_are_refused_and_nothing_is_written(
    content: bytes, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    index = Split.load(Path("splits/random.json")).indices[0]
    Path("answers.csv").write_bytes(content.replace(b"@", str(index).encode()))
    assert sentence in refusal(capsys, *IMPORT)


def test_other_files_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    into = ["--split", "splits/random.json", "--out", "a.json"]
    Path("coco.json").write_text('{"images": [], "annotations": [], "categories": []}')
    assert "coco.json is a file of COCO, not a list" in refusal(
        capsys, "import", "coco.json", *into
    )
    split = "splits/random.json"
    assert "is a split of fmsel" in refusal(capsys, "import", split, *into)
    fmsel("export", split, "--to", "tasks.json", "--all")
    answer = refusal(capsys, "import", "tasks.json", *into)
    assert "task 1: a task without data or annotations; export the project" in answer
    assert "none.csv cannot be read" in refusal(capsys, "import", "none.csv", *into)
    assert "must end in .csv" in refusal(capsys, "import", "a.xlsx", *into)


def test_bad_options_are_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export = ["export", "splits/random.json", "--to"]
    said = refusal(capsys, *export, "a.csv")
    assert "all 12 images of the split have a label already; pass --all" in said
    assert "a.txt must end in .csv" in refusal(capsys, *export, "a.txt", "--all")
    root = ["--image-root", "http://host"]
    assert "--image-root goes with tasks" in refusal(capsys, *export, "a.csv", "--all", *root)
    assert "cannot be read as a split" in refusal(capsys, "export", "none.json", "--to", "a.csv")
    answer(["7"])
    assert "got 'most'" in refusal(capsys, *IMPORT, "--agreement", "most")
    Path("empty.csv").write_text("index,label\n1,\n")
    said = refusal(capsys, *export, "empty.csv", "--all")
    assert "empty.csv already exists; choose another --to, or pass --force to replace it" in said
    Path("b-images").mkdir()
    assert "b-images already exists; choose another --to" in refusal(
        capsys, *export, "b.csv", "--all"
    )
    assert "holds 1 label that would be lost" in refusal(capsys, *export, "answers.csv", "--all")
    Path("answers.csv").write_text(Path("answers.csv").read_text().replace(",7,", ",skip,"))
    said = refusal(capsys, *IMPORT, "--drop-unlabelled")
    assert "none of the split's 12 images has a label" in said
    (project / "file").touch()
    assert "cannot write to file" in refusal(capsys, *IMPORT[:-1], "file/a.json")


def test_folders_of_images_need_no_copies_but_classes(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(20):
        path = project / f"photos/{'ab'[index % 2]}/=é{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), index, dtype=np.uint8)).save(path)
    assert main(["split", "--random", "4", "--dataset", "./photos", "--out", "p.json"]) == 0
    fmsel("export", "p.json", "--to", "p.csv", "--all")
    rows = read("p.csv")
    assert len(rows) == 4 and all(Path(row["image"]).is_file() for row in rows)
    assert not Path("p-images").exists()
    (project / "photos").rename(project / "loose")
    fmsel("export", "p.json", "--to", "p.csv", "--all", "--data-root", "loose", "--force")
    rows = read("p.csv")
    assert all(Path(row["image"]).is_file() for row in rows)
    moved = ["--data-root", "loose"]
    fmsel("export", "p.json", "--to", "p.json.json", "--all", *moved)
    tasks = json.loads(Path("p.json.json").read_text())
    assert {task["data"]["dataset"] for task in tasks} == {"photos"}
    result = [{"type": "choices", "value": {"choices": ["b"]}}]
    done = [task | {"annotations": [{"result": result}]} for task in tasks]
    Path("done.json").write_text(json.dumps(done))
    fmsel("import", "done.json", "--split", "p.json", "--out", "b.json", *moved)
    assert Split.load(Path("b.json")).labels == [1] * 4
    assert main(["split", "--random", "4", "--dataset", "loose/a", "--out", "q.json"]) == 0
    said = refusal(capsys, "export", "q.json", "--to", "q.csv")
    assert "a has no classes that people could choose from; name them in a file classes.txt" in said
