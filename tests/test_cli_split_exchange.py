"""`fmsel split import` and `export` as they are typed."""

from pathlib import Path

import pytest
from split_project import fmsel, read, refusal

pytest_plugins = ["split_project"]
pytestmark = pytest.mark.usefixtures("project")


@pytest.mark.parametrize("name", ["a.npy", "a.txt", "label.json"])
def test_export_and_import_are_inverse(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    fmsel("--random", "40", "--dataset", "digits")
    fmsel("export", "splits/random.json", "--to", name)
    fmsel("import", name, "--dataset", "digits")
    split = read(Path(name).with_suffix(".json").name)
    assert sorted(split.indices) == sorted(read("random.json").indices)
    assert split.strategy == "imported" and split.label_use == "unknown"
    assert "already exists" in refusal(capsys, "export", "splits/random.json", "--to", name)
    assert "already exists" in refusal(capsys, "import", name, "--dataset", "digits")


def test_export_for_usb_writes_the_pair(capsys: pytest.CaptureFixture[str]) -> None:
    fmsel("--random", "40", "--dataset", "digits", "--seed", "2")
    capsys.readouterr()
    fmsel("export", "splits/random.json", "--to", "usb", "--format", "usb")
    expected = [f"wrote usb/{part}_labels40_1_seed2_idx.npy" for part in ("lb", "ulb")]
    assert capsys.readouterr().out.splitlines() == expected


def test_bad_imports_and_exports_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.txt").write_text("3\n2000\n")
    answer = refusal(capsys, "import", "a.txt", "--dataset", "digits")
    assert "a.txt: index 2000 at position 1 is outside 0..1437" in answer
    assert not Path("splits").exists()
    fmsel("--random", "40", "--dataset", "digits")
    answer = refusal(capsys, "export", "splits/random.json", "--to", "a.csv")
    assert "the suffix of a.csv is no format of an index list" in answer
    assert not Path("splits/a.json").exists() and not Path("a.csv").exists()
