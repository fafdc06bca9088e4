"""`fmsel report`: one page that stands alone, whose figures are those of the artefacts."""

import json
import re
import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from report_pages import FEW, QUICK, Reader
from split_project import write_scores

from fmsel.cli.app import main
from fmsel.datasets import load_dataset
from fmsel.embeddings.vectors import Embeddings
from fmsel.errors import OptionError
from fmsel.experiments.compare import compare_runs
from fmsel.experiments.compare_groups import comparable_parts, find_runs, group_runs
from fmsel.experiments.loop.folder import LoopFolder
from fmsel.experiments.loop.reread import reread_loop
from fmsel.fixmatch.run import RunRecord
from fmsel.metrics.scores import Scores
from fmsel.metrics.scores.summary import default_ranking, extremes
from fmsel.report.story import curves, labelled
from fmsel.report.story.looks import looks
from fmsel.selection.split import Split

pytest_plugins = ["report_pages"]


def read(path: str = "report.html") -> Reader:
    return Reader(Path(path).read_text(encoding="utf-8"))


def report(*words: str) -> Reader:
    """A page in a file of its own."""
    assert main(["report", *words, "--out", "other.html", "--force"]) == 0
    return read("other.html")


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(["report", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err


def test_the_page_stands_alone(home: Path) -> None:
    page = read()
    [policy] = page.values("content")[1:]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert {tag for tag, _ in page.elements}.isdisjoint({"script", "link", "iframe", "object"})
    targets = page.values("href") + page.values("src") + page.values("xlink:href")
    assert targets and all(each.startswith(("#", "data:image/")) for each in targets)
    assert not any(name.startswith("on") for _, each in page.elements for name in each)
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {each[1:] for each in targets if each.startswith("#")} <= set(ids)


def test_every_section_is_there_and_nothing_is_missing(home: Path) -> None:
    sections = read().values("id", "section")
    assert sections == [
        *("results", "training", "pseudo-labels", "confusion", "rounds", "labelled", "galleries"),
        *("map", "origins"),
    ]


def test_every_figure_is_a_png_and_an_svg_too(home: Path) -> None:
    folder = home / "report-figures"
    names = {path.stem for path in folder.iterdir()}
    assert {path.name for path in folder.iterdir()} == {
        f"{name}{suffix}" for name in names for suffix in (".png", ".svg")
    }
    assert {"accuracy-test", "accuracy-train", "loss-test", "loss-train", "mask-rate"} <= names
    assert {"pseudo-accuracy", "largest-class", "confusion-1", "loop", "map"} <= names
    assert {"gallery-digits"} <= names
    for name in names:
        assert Image.open(folder / f"{name}.png").format == "PNG"
        assert ElementTree.parse(folder / f"{name}.svg").getroot().tag.endswith("svg")
    inline = [each for each in read().values("aria-labelledby", "svg")]
    assert {each.split("-title")[0] for each in inline} == names - {"gallery-digits"}


def test_tables_hold_the_figures_of_the_comparison(home: Path) -> None:
    text = read().text
    for row in compare_runs(["runs"]).rows:
        spread = "" if row.sd is None else f" ± {100 * row.sd:.1f}"
        assert f"{row.group.name} 20" in text and f"{100 * row.mean:.1f}{spread}" in text
    record = RunRecord.load(Path("runs/mixed-seed0")), RunRecord.load(Path("runs/mixed-seed1"))
    for field, share in (("ema_loss", False), ("accuracy_labelled", True)):
        mean = np.mean([each.series(field)[-1] for each in record])
        assert (f"{100 * mean:.1f}" if share else f"{mean:.3f}") in text
    counts = sum(each.confusion for each in record if each.confusion is not None)
    assert isinstance(counts, np.ndarray)
    for name, line in zip("0123456789", counts, strict=True):
        assert " ".join([name, *map(str, line)]) in text


def test_the_labelled_images_are_shown_with_their_class_and_linked_to_from_the_map(
    home: Path,
) -> None:
    page, data = read(), load_dataset("digits")
    shown = {
        tuple(each.split("-")[1:]) for each in page.values("id", "li") if each.startswith("t-s")
    }
    splits = {
        split.sha256: split
        for path in [*Path("runs").glob("*/split.json"), *Path("splits").glob("*.json")]
        if (split := Split.load(path))
    }
    loop = Split.load(Path("loops/digits/tracks/random-seed0/round-1/split.json"))
    chosen = [index for split in (*splits.values(), loop) for index in split.indices]
    assert sorted(int(index) for _, index in shown) == sorted(chosen)
    alts = page.values("alt", "img")
    for index in chosen:
        name = data.class_names[data.labels[index]]
        assert any(alt == f"image {index} ({data.ids[index]}), {name}" for alt in alts)
    links = page.values("href", "a")
    assert {f"#t-{key}-{index}" for key, index in shown} <= set(links)
    assert f"all {len(set(chosen))} chosen images and {FEW} others" in page.text


def test_the_gallery_holds_the_ends_of_every_class(home: Path) -> None:
    page, data = read(), load_dataset("digits")
    scores = Scores.load(Path("scores/digits.npz"))
    ranking, _ = default_ranking(scores, data.labels)
    for label, (best, worst) in extremes(ranking, data.labels, 5).items():
        for place, index in enumerate(best, 1):
            name = f"image {index} ({data.ids[index]}), {data.class_names[label]}"
            total = int((data.labels == label).sum())
            assert f"{name}, rank {place} of {total}" in page.values("alt", "img")
        assert all(f"image {index} (" in " ".join(page.values("alt", "img")) for index in worst)


def test_runs_that_cannot_be_compared_stand_apart_with_the_reason(home: Path) -> None:
    other = Path("apart")
    words = ["--split", "splits/random.json", *QUICK[:-4], "--steps", "9", *QUICK[-4:]]
    assert main(["train", *words, "--out", str(other)]) == 0
    page = report("runs/random-seed0", str(other))
    text = page.text
    assert "cannot all be compared with one another, so they stand in 2 tables" in text
    assert "were trained differently, with steps = 12 and steps = 9." in text
    assert "1. digits, 20 labels, 12 steps" in text and "2. digits, 20 labels, 9 steps" in text
    assert {"part1-accuracy-test-title", "part2-accuracy-test-title"} <= set(page.values("id"))


def test_parts_hold_every_run_once_and_each_is_comparable(home: Path) -> None:
    runs = find_runs(["runs"])
    same_seed = [
        replace(each, record=replace(each.record, path=each.record.path / "again")) for each in runs
    ]
    parts = comparable_parts([*runs, *same_seed])
    assert [len(part.runs) for part in parts] == [len(runs), len(runs)]
    assert parts[0].reason == "" and "no independent replicates" in parts[1].reason
    for part in parts:
        group_runs(part.runs)
    with pytest.raises(OptionError) as refused:
        group_runs([*parts[0].runs, parts[1].runs[0]])
    assert str(refused.value) == parts[1].reason


def test_an_unfinished_run_and_one_of_an_older_fmsel_are_told_of(home: Path) -> None:
    old, cut = Path("old"), Path("cut")
    for folder in (old, cut):
        shutil.copytree("runs/random-seed0", folder)
    (cut / "summary.json").unlink()
    summary = json.loads((old / "summary.json").read_text())
    del summary["confusion"]
    (old / "summary.json").write_text(json.dumps(summary))
    rows = [json.loads(line) for line in (old / "metrics.jsonl").read_text().splitlines()]
    lines = [{k: v for k, v in row.items() if k != "ema_loss"} for row in rows]
    (old / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    text = report("old", "cut").text
    assert "Left out: cut is not finished" in text
    assert "Not recorded in these runs: test loss" in text
    assert "Confusion matrices: the runs are of an older fmsel" in text


def test_what_had_nothing_to_measure_is_told_from_what_was_not_recorded(home: Path) -> None:
    shutil.copytree("runs/random-seed0", "bare")
    rows = [json.loads(line) for line in Path("bare/metrics.jsonl").read_text().splitlines()]
    rows = [{**row, "pseudo_label_accuracy": None, "largest_class_share": None} for row in rows]
    Path("bare/metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    text = report("bare").text
    assert "Never measured in these runs: pseudo-label accuracy, largest class share;" in text
    assert "Not recorded in these runs" not in text
    assert "Never measured" not in report("runs/random-supervised-seed0").text


def test_peoples_labels_are_shown_and_differences_are_marked(home: Path) -> None:
    split, data = Split.load(Path("splits/random.json")), load_dataset("digits")
    truth = split.given_labels(data).tolist()
    given = [(truth[0] + 1) % 10, -1, *truth[2:]]
    replace(split, labels=given).save(Path("people.json"), force=True)
    page = report("people.json")
    assert page.values("class", "li") == ["marked"]
    first, second = (f"image {i} ({data.ids[i]})" for i in split.indices[:2])
    assert f"{first}, {given[0]}, data set: {truth[0]}" in page.values("alt")
    assert f"{second}, no label" in page.values("alt")
    assert "people's labels" in page.text and "People gave its labels" in page.text


def test_more_images_than_a_page_bears_are_sampled_by_class(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["split", "--random", "--per-class", "9", "--dataset", "digits"]) == 0
    monkeypatch.setattr("fmsel.report.story.page.MOST", 70)
    monkeypatch.setattr(labelled, "MOST", 70)
    page, data = report("splits/random_stratified.json"), load_dataset("digits")
    split = Split.load(Path("splits/random_stratified.json"))
    shown = [int(e.split("-")[2]) for e in page.values("id", "li") if e.startswith("t-")]
    assert np.bincount(data.labels[shown], minlength=10).tolist() == [7] * 10
    for label in range(10):
        own = [index for index in split.indices if data.labels[index] == label]
        assert [index for index in shown if data.labels[index] == label] == own[:7]
    assert "The choices hold 90 images" in page.text and "fmsel report --serve" in page.text


def test_sections_that_lack_something_say_what_would_give_it(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy("splits/random.json", tmp_path)
    monkeypatch.chdir(tmp_path)
    page = report("random.json")
    assert "Galleries: name a scores file too" in page.text
    assert "Map: there are no embeddings of digits in embeddings/" in page.text
    split = json.loads(Path("random.json").read_text())
    split["source"]["dataset"] = str(tmp_path / "nowhere")
    Path("moved.json").write_text(json.dumps(split))
    page = report("moved.json")
    assert "are not at hand" in page.text and "--data-root" in page.text


def test_a_loop_reads_as_its_own_table_says_and_an_unfinished_one_as_far_as_it_is(
    home: Path,
) -> None:
    results = json.loads(Path("loops/digits/results.json").read_text())
    loop = reread_loop(Path("loops/digits"))
    assert loop.results is not None
    assert json.loads(json.dumps(loop.results.as_dict())) == results
    cut = Path("cut-loop")
    shutil.copytree("loops/digits", cut)
    (cut / "tracks/random-seed0/round-1/run/summary.json").unlink()
    shorter = reread_loop(cut)
    assert shorter.done == 1 and shorter.results is not None
    assert shorter.results.budgets == (4,)
    assert shorter.results.rows[0].accuracies[0] == loop.results.rows[0].accuracies[0]
    assert "1 of 2 rounds are finished" in report(str(cut)).text
    (cut / "tracks/random-seed0/round-0/run/summary.json").unlink()
    assert reread_loop(cut).results is None
    assert "no round is finished in all tracks" in report(str(cut)).text
    assert LoopFolder(cut).begun


def test_question_and_title_are_shown_as_they_are(home: Path) -> None:
    page = report("splits/random.json", "--question", "Is <b> & so?", "--title", "Mine & yours")
    assert "Is <b> & so?" in page.text and "Mine & yours" in page.text
    assert not any(tag == "b" and not attributes for tag, attributes in page.elements[:20])


def test_bad_input_is_one_sentence_and_nothing_is_overwritten(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Path("report.html").read_bytes()
    assert "report.html already exists; pass --force" in refusal(capsys, "runs")
    assert "there is no nowhere" in refusal(capsys, "nowhere", "--out", "new.html")
    Path("empty").mkdir()
    assert "holds none" in refusal(capsys, "empty", "--out", "new.html")
    Path("broken.json").write_text('{"indices": [], "strategy": 1}')
    assert "broken.json" in refusal(capsys, "broken.json", "--out", "new.html")
    words = ("splits/random.json", "--out", "new.html", "--figures", "report-figures")
    assert "report-figures/accuracy-test.png already exists" in refusal(capsys, *words)
    assert not Path("new.html").exists() and Path("report.html").read_bytes() == before


def test_embeddings_of_other_images_draw_no_map(home: Path) -> None:
    made = Embeddings.load(Path("embeddings/digits-pixels.npy"))
    other = {**made.dataset, "images_sha256": "0" * 64}
    replace(made, dataset=other).save(Path("other.npy"), force=True)
    text = report("splits/random.json", "--embeddings", "other.npy").text
    assert re.search(r"Map: other\.npy", text)


def test_named_embeddings_that_are_none_are_refused(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("splits/random.json", "--out", "new.html", "--embeddings")
    for name in ("nowhere.npy", "scores/digits.npz"):
        assert f"{name} is no embeddings file" in refusal(capsys, *words, name)
    assert not Path("new.html").exists()


def test_names_with_dollars_quotes_and_brackets_are_shown_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ("US$ to AU$", "$x^{$", '<b id="b">', "_one & 'two'")
    rng = np.random.default_rng(0)
    for part, each in product(("train", "test"), range(8)):
        folder = Path("my images", part, names[each % 4])
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(60 * (each % 4), 60 * (each % 4) + 50, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f'an "image" {each}.png')
    data, split = load_dataset("./my images"), 'splits/_a "b" $1 $2.json'
    write_scores(data, 'scores/ä "s" & <t>.npz')
    words = ["--random", "--per-class", "1", "--dataset", "./my images"]
    assert main(["split", *words, "--out", split]) == 0
    assert main(["train", "--split", split, *QUICK]) == 0
    page = report("runs", "splits", "scores")
    assert {"US$ to AU$", "$x^{$", '<b id="b">', "_one & 'two'"} <= set(page.texts)
    assert "b" not in page.values("id")
    svgs = list(Path("other-figures").glob("*.svg"))
    assert {"gallery-s-t.svg", "confusion-1.svg"} <= {path.name for path in svgs}
    for path in svgs:
        ElementTree.parse(path)


def test_a_lone_evaluation_is_seen(home: Path) -> None:
    [run] = find_runs(["runs/random-seed0"])
    rows = [{**each, "mask_rate": None} for each in run.record.rows]
    rows[-1]["mask_rate"] = 0.5
    (part,) = comparable_parts([replace(run, record=replace(run.record, rows=rows))])
    groups = group_runs(part.runs)
    measure = next(each for each in curves.PSEUDO if each.field == "mask_rate")
    values = {"random": (groups[0], curves._curves(groups[0], "mask_rate"))}
    figure = curves._figure(measure, values, looks(["random"]))
    assert figure.axes[0].lines[0].get_markevery() is None


def test_a_path_that_cannot_be_read_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "cannot be read (File name too long)" in refusal(capsys, "x" * 300, "--out", "new.html")
