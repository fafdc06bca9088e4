"""`fmsel loop --exclude --groups --near-duplicates`, as `fmsel split` has them."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from test_cli_loop import BASE, loop, project, refusal, write_embeddings

from fmsel.cli.app import main
from fmsel.datasets import load_dataset
from fmsel.selection.split import Split
from fmsel.selection.split.lists import near_duplicates, read_groups

__all__ = ["project"]  # a fixture that every test uses
WORDS = ["--strategy", "random", "--strategy", "margin", *BASE, "--out", "loop"]


def write_groups(count: int) -> Path:
    with Path("groups.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "group"])
        data = load_dataset("digits")
        writer.writerows([name, f"g{k % count}"] for k, name in enumerate(data.ids))
    return Path("groups.csv")


def rounds() -> list[Split]:
    return [Split.load(path) for path in sorted(Path("loop/tracks").glob("*/*/split.json"))]


def test_they_mean_what_they_mean_to_split(capsys: pytest.CaptureFixture[str]) -> None:
    write_embeddings()
    data = load_dataset("digits")
    groups = read_groups(write_groups(700), data)
    Path("out.txt").write_text("".join(f"{index}\n" for index in range(600)))
    heed = ["--exclude", "out.txt", "--groups", "groups.csv", "--near-duplicates", "0.985"]
    loop(*WORDS, *heed, "--embeddings", "pixels.npy")
    said = capsys.readouterr().out.splitlines()[0]
    pixels = data.images[..., 0].reshape(len(data), -1).astype(np.float32)
    alike = near_duplicates(pixels, 0.985)
    assert said.startswith("near-duplicates: ") and len(rounds()) == 3
    for split in rounds():
        chosen = split.index_array
        assert chosen.min() >= 600
        assert len(np.unique(groups[chosen])) == len(np.unique(alike[chosen])) == len(chosen)
    assert (
        main(
            ["split", "--random", "10", "--dataset", "digits", "--embeddings", "pixels.npy", *heed]
        )
        == 0
    )
    by_split = Split.load(Path("splits/random.json"))
    first = Split.load(Path("loop/tracks/random-seed0/round-0/split.json"))
    assert first.indices == by_split.indices
    for name in ("excluded", "groups", "near_duplicates", "embeddings", "files"):
        assert first.provenance[name] == by_split.provenance[name]
    record = json.loads(Path("loop/loop.json").read_text())
    assert record["restrictions"]["near_duplicates"] == by_split.provenance["near_duplicates"]
    assert record["embeddings"]["embeddings"]["encoder"] == "pixels"


def test_near_duplicates_find_the_only_embeddings(capsys: pytest.CaptureFixture[str]) -> None:
    words = [*WORDS, "--labels", "answers", "--near-duplicates", "0.985"]
    assert "there are no embeddings of digits in embeddings/" in refusal(capsys, *words)
    Path("embeddings").mkdir()
    write_embeddings("embeddings/digits-pixels.npy")
    loop(*words)
    assert json.loads(Path("loop/loop.json").read_text())["restrictions"]["near_duplicates"]


def test_bad_restrictions_are_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    write_embeddings()
    Path("bad.csv").write_text("id,group\nnobody,g\n")
    write_groups(15)
    for words, message in (
        (["--groups", "none.csv"], "cannot be read as a .csv"),
        (["--groups", "bad.csv"], "bad.csv, line 2: there is no image with the id 'nobody'"),
        (["--groups", "groups.csv"], "but 15 of the 1438 training images of digits can be chosen"),
        (["--exclude", "list.docx"], "is no format of an index list"),
        (
            ["--near-duplicates", "2", "--embeddings", "pixels.npy"],
            "the cosine of near-duplicates must be in 0..1 and not 0, got 2",
        ),
    ):
        assert message in refusal(capsys, *WORDS, *words)
