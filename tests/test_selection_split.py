"""The `Split` artefact: its form, what it is checked against, and the index lists of others."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_scores import record_of

from fmsel.artefacts import sha256_array
from fmsel.datasets import ImageDataset, Source, WeakAugment
from fmsel.errors import ArtefactError, DataError, OptionError, OutputError
from fmsel.metrics.scores import Scores
from fmsel.metrics.scores.score import merge
from fmsel.selection.mixed import Mixed
from fmsel.selection.pool.extremes import Band
from fmsel.selection.random import Random
from fmsel.selection.random_stratified import RandomStratified
from fmsel.selection.split import Split, is_redrawn, make_split, redraw
from fmsel.selection.split.exchange import export_split, import_split


def make_data(labels: list[int], *, name: str = "toy", seed: int = 0) -> ImageDataset:
    n = len(labels)
    images = np.random.default_rng(seed).integers(0, 256, (n, 4, 4, 3), dtype=np.uint8)
    return ImageDataset(
        name=name,
        source=Source(dataset=name),
        part="train",
        images=images,
        labels=np.array(labels, dtype=np.int64),
        ids=np.array([str(i) for i in range(n)]),
        class_names=("cat", "dog", "emu")[: max(labels) + 1],
        weak=WeakAugment(),
    )


def make_scores(data: ImageDataset, label_use: str = "formula") -> Scores:
    array = np.random.default_rng(1).random(len(data)).astype(np.float32)
    record = record_of(array, label_use=label_use, labels_sha256=data.labels_sha256)
    return Scores(dataset=data.describe(), arrays={"m": array}, records={"m": record})


TOY = make_data([0, 1, 2] * 10)
RANDOM = make_split(TOY, Random(), batch_size=6, seed=3)


def test_people_s_labels_are_refused_once_the_classes_changed_their_order() -> None:
    labelled = replace(RANDOM, labels=[0] * 6, class_counts={"cat": 6, "dog": 0, "emu": 0})
    labelled.check(TOY, "s.json")
    with pytest.raises(
        ArtefactError, match="of the classes dog, cat, emu, but those of toy are cat"
    ):
        replace(labelled, class_counts={"dog": 6, "cat": 0, "emu": 0}).check(TOY, "s.json")


@pytest.mark.parametrize(
    "split",
    [
        RANDOM,
        replace(RANDOM, labels=[0, 1, 2, 0, 1, 2]),
        replace(RANDOM, labels=[0, -1, 2, 0, -1, 2]),
        make_split(
            TOY,
            Mixed(outlier_band=Band(10, 50), metrics=("m",)),
            batch_size=6,
            scores=make_scores(TOY),
        ),
    ],
)
def test_a_split_survives_its_file(split: Split, tmp_path: Path) -> None:
    split.save(tmp_path / "a.json")
    loaded = Split.load(tmp_path / "a.json")
    assert loaded == split
    assert loaded.sha256 == split.sha256
    loaded.check(TOY, "a.json")


def test_a_split_is_not_overwritten_unasked(tmp_path: Path) -> None:
    RANDOM.save(tmp_path / "a.json")
    with pytest.raises(OutputError, match=r"a\.json already exists; pass --force"):
        RANDOM.save(tmp_path / "a.json")
    RANDOM.save(tmp_path / "a.json", force=True)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("indices", [17, 4, 17], r"index 17 occurs twice \(positions 0 and 2\)"),
        ("indices", [4, -1], r"index -1 at position 1 is outside 0\.\.29"),
        ("indices", [4, 5, 30], r"index 30 at position 2 is outside 0\.\.29"),
        ("indices", [4, 5.0], r"index 5\.0 at position 1 is not an integer"),
        ("indices", [True, 5], r"index True at position 0 is not an integer"),
        ("indices", ["4"], r"index '4' at position 0 is not an integer"),
        ("indices", [], r"indices must be a list of at least one integer"),
        ("indices", "12", r"indices must be a list of at least one integer"),
        ("labels", [0, 1], r"labels must be a list as long as indices \(6\)"),
        ("labels", [0, 1, 2, 0, 1, -2], r"label -2 at position 5 is neither a class"),
        ("labels", [0, 1, 2, 0, 1, -1.0], r"label -1\.0 at position 5"),
        ("labels", [0, 1, 2, 0, 1, False], r"label False at position 5"),
        ("n", -1, r"n must be an integer of 0 or more, got -1"),
        ("seed", 0.5, r"seed must be an integer of 0 or more, got 0\.5"),
        ("dataset", "", r"dataset must be a text, got ''"),
        ("images_sha256", None, r"images_sha256 must be a text, got None"),
        ("label_use", "maybe", r"label_use must be one of none, .*, got 'maybe'"),
        ("class_counts", {"cat": "six"}, r"class_counts must be .* 0 or more, got 'six' of cat"),
        ("class_counts", {"cat": -1}, r"class_counts must be .* 0 or more, got -1 of cat"),
        ("class_counts", {"cat": 2.0}, r"class_counts must be .* 0 or more, got 2\.0 of cat"),
        ("parameters", [], r"parameters must be a JSON object"),
        ("source", {"folder": "x"}, r"source .*folder.* is not valid"),
        ("schema_version", 99, r"has schema_version 99; this fmsel reads version 1"),
        ("colour", "red", r"is not a valid split: .*'colour'"),
    ],
)
def test_broken_files_are_refused(field: str, value: Any, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    RANDOM.save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(ArtefactError, match=f"a\\.json.*{sentence}"):
        Split.load(path)


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    RANDOM.save(path)
    values = json.loads(path.read_text())
    del values["strategy"]
    path.write_text(json.dumps(values))
    with pytest.raises(ArtefactError, match="'strategy'"):
        Split.load(path)


def test_other_images_are_refused_and_both_named() -> None:
    other = make_data([0, 1, 2] * 12, name="photos")
    with pytest.raises(
        ArtefactError, match=r"a\.json chooses among 30 images of toy, not these 36 .* photos"
    ):
        RANDOM.check(other, "a.json")


def test_indices_outside_the_images_are_refused() -> None:
    larger = replace(RANDOM, n=40, indices=[4, 35])
    with pytest.raises(ArtefactError, match=r"a\.json counts 40 images in toy, which has 30"):
        larger.check(TOY, "a.json")


def test_counts_that_are_not_of_the_indices_are_refused() -> None:
    counts = {"cat": 1, "dog": 1, "emu": 1}
    three = replace(RANDOM, indices=[0, 1, 2], class_counts=counts)
    three.check(TOY, "a.json")
    replace(three, class_counts={}).check(TOY, "a.json")
    wrongs: list[tuple[dict[str, Any], str]] = [
        (
            {"indices": [0, 3, 2]},
            "a.json counts 1 images of class cat, but its indices choose 2 of",
        ),
        (
            {"class_counts": {**counts, "yak": 2}},
            "counts 2 images of class yak, .* choose 0 of toy",
        ),
    ]
    for wrong, sentence in wrongs:
        with pytest.raises(ArtefactError, match=sentence):
            replace(three, **wrong).check(TOY, "a.json")
    # where people gave labels, or the choice read none, other labels may have been counted
    theirs = {"cat": 3, "dog": 0, "emu": 0}
    replace(three, class_counts=theirs, labels=[0, 0, 0]).check(TOY, "a.json")
    three.check(make_data([2, 2, 2] * 10), "a.json")


def test_new_labels_spoil_only_a_choice_that_read_them() -> None:
    relabelled = make_data([2, 1, 0] * 10)
    RANDOM.check(relabelled, "a.json")
    stratified = make_split(TOY, RandomStratified(), batch_size=6)
    with pytest.raises(ArtefactError, match=r"b\.json was chosen with other labels of toy"):
        stratified.check(relabelled, "b.json")


def test_a_label_of_no_class_is_refused() -> None:
    with pytest.raises(ArtefactError, match="label 3 at position 1 is no class of toy"):
        replace(RANDOM, labels=[0, 3, 0, 0, 0, 0]).check(TOY, "a.json")


def test_peoples_labels_win_over_the_data_sets() -> None:
    assert RANDOM.given_labels(TOY).tolist() == TOY.labels[RANDOM.index_array].tolist()
    assert replace(RANDOM, labels=[2] * 6).given_labels(TOY).tolist() == [2] * 6
    waiting = replace(RANDOM, labels=[2, -1, -1, 0, 0, 0])
    assert waiting.given_labels(TOY).tolist() == [2, -1, -1, 0, 0, 0]
    assert (waiting.awaited, RANDOM.awaited) == (2, 0)


def test_class_counts_name_missing_classes_and_provenance_the_arrays() -> None:
    one_class = make_split(make_data([0] * 9 + [1, 2]), Random(), batch_size=2, seed=0)
    assert set(one_class.class_counts) == {"cat", "dog", "emu"}
    assert sum(one_class.class_counts.values()) == 2
    scores = make_scores(TOY)
    split = make_split(
        TOY, Mixed(metrics=("m",)), batch_size=6, scores=scores, scores_file="toy.npz"
    )
    assert split.class_counts == {"cat": 2, "dog": 2, "emu": 2}
    array = {"sha256": sha256_array(scores.array("m")), "label_use": "formula"}
    assert split.provenance == {"scores": "toy.npz", "arrays": {"m": array}}
    assert split.label_use == "formula" and split.oracle
    assert RANDOM.label_use == "none" and not RANDOM.oracle


def test_unlabelled_images_can_be_chosen_at_random() -> None:
    data = make_data([-1] * 12)
    split = make_split(data, Random(), batch_size=4)
    assert len(split) == 4
    assert split.class_counts == {}


def test_scores_of_other_images_or_other_labels_are_refused() -> None:
    strategy = Mixed(metrics=("m",))
    with pytest.raises(ArtefactError, match=r"toy\.npz scores 30 images of toy, not these 30"):
        make_split(
            make_data([0, 1, 2] * 10, seed=1),
            strategy,
            batch_size=6,
            scores=make_scores(TOY),
            scores_file="toy.npz",
        )
    relabelled = make_data([2, 1, 0] * 10)
    with pytest.raises(ArtefactError, match="m was computed with other labels"):
        make_split(relabelled, strategy, batch_size=6, scores=make_scores(TOY))
    label_free = make_scores(TOY, label_use="none")
    assert len(make_split(relabelled, strategy, batch_size=6, scores=label_free)) == 6


def test_a_metric_added_later_does_not_vouch_for_older_ones() -> None:
    """Score, relabel, add another metric: the file's own labels are the new ones by then."""
    relabelled = make_data([2, 1, 0] * 10)
    late = make_scores(relabelled)
    late = replace(late, arrays={"late": late.arrays["m"]}, records={"late": late.records["m"]})
    merged = merge(make_scores(TOY), late)
    assert merged.dataset["labels_sha256"] == relabelled.labels_sha256
    assert len(make_split(relabelled, Mixed(metrics=("late",)), batch_size=6, scores=merged)) == 6
    for metrics in (("m",), ("late", "m")):
        with pytest.raises(ArtefactError, match="m was computed with other labels than these"):
            make_split(relabelled, Mixed(metrics=metrics), batch_size=6, scores=merged)


@pytest.mark.parametrize("strategy", [Random(), RandomStratified()])
def test_redraw_is_what_the_other_seed_would_have_made(
    strategy: Random | RandomStratified,
) -> None:
    split = make_split(TOY, strategy, batch_size=6, seed=0)
    assert is_redrawn(split)
    assert redraw(split, TOY, 5) == make_split(TOY, strategy, batch_size=6, seed=5)


def test_what_chance_did_not_choose_is_not_redrawn(tmp_path: Path) -> None:
    mixed = make_split(TOY, Mixed(metrics=("m",)), batch_size=6, scores=make_scores(TOY))
    (tmp_path / "a.txt").write_text("3\n1\n")
    imported = import_split(tmp_path / "a.txt", TOY)
    answered = replace(RANDOM, labels=[0] * 6)
    for split in (mixed, imported, answered):
        assert not is_redrawn(split)
        assert redraw(split, TOY, 5) is split


def test_redraw_refuses_other_images() -> None:
    with pytest.raises(ArtefactError, match="the random split chooses among 30 images of toy"):
        redraw(RANDOM, make_data([0, 1, 2] * 10, seed=1), 5)


@given(indices=st.lists(st.integers(0, 29), min_size=1, max_size=30, unique=True))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_index_lists_come_back_as_they_went(indices: list[int], tmp_path: Path) -> None:
    split = replace(RANDOM, indices=indices)
    for name in ("a.npy", "a.txt", "label.json"):
        export_split(split, tmp_path / name, TOY, force=True)
        back = import_split(tmp_path / name, TOY)
        assert back.indices == (sorted(indices) if name == "label.json" else indices)
        assert back.strategy == "imported" and back.label_use == "unknown"
        assert sum(back.class_counts.values()) == len(indices)
        back.check(TOY, name)


def test_exports_hold_what_the_other_code_bases_read(tmp_path: Path) -> None:
    data = make_data([0, 0, 0, 0, 1, 1, 2])
    split = replace(make_split(data, Random(), batch_size=3), indices=[6, 0, 4], seed=7)
    export_split(split, tmp_path / "label.json", data)
    expected = {"distribution": [1.0, 0.5, 0.25], "label": [0, 4, 6]}
    assert json.loads((tmp_path / "label.json").read_text()) == expected
    export_split(split, tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text() == "6\n0\n4\n"
    written = export_split(split, tmp_path / "usb", format="usb")
    assert [path.name for path in written] == [
        "lb_labels3_1_seed7_idx.npy",
        "ulb_labels3_1_seed7_idx.npy",
    ]
    labelled, rest = (np.load(path) for path in written)
    assert labelled.dtype == rest.dtype == np.int64
    assert labelled.tolist() == [6, 0, 4] and rest.tolist() == [1, 2, 3, 5]
    assert import_split(written[0], data).indices == [6, 0, 4]


def test_import_records_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("5\n\n7\n")
    provenance = import_split(path, TOY).provenance
    # sha256 of b"5\n\n7\n", from coreutils' sha256sum
    assert provenance == {"file": "a.txt", "format": "txt", "sha256": SHA256_OF_LIST}


SHA256_OF_LIST = "bfe199c5a1f0089cd0d57753a41c7f91028a5df1aeea58dabed453aa1a4f8a40"


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.txt", b"3\nx\n", r"a\.txt is not an index list of format txt .*'x'"),
        ("a.txt", b"3\n1\n3\n", r"a\.txt: index 3 occurs twice \(positions 0 and 2\)"),
        ("a.txt", b"3\n30\n", r"a\.txt: index 30 at position 1 is outside 0\.\.29"),
        ("a.txt", b"", r"a\.txt: indices must be a list of at least one"),
        ("a.json", b'{"indices": [1]}', r"a\.json is not an index list of format fixmatch"),
        ("a.json", b"[1, 2]", r"a\.json is not an index list of format fixmatch"),
        ("a.json", b'{"label": [1.5]}', r"a\.json: index 1\.5 at position 0 is not an integer"),
        ("a.npy", b"no numpy", r"a\.npy is not an index list of format npy"),
    ],
)
def test_broken_lists_are_refused(name: str, content: bytes, sentence: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ArtefactError, match=sentence):
        import_split(tmp_path / name, TOY)


def test_arrays_that_are_no_lists_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(ArtefactError, match=r"one-dimensional array of integers, got float64"):
        import_split(tmp_path / "a.npy", TOY)
    np.save(tmp_path / "b.npy", np.zeros((3, 1), dtype=np.int64))
    with pytest.raises(ArtefactError, match=r"got int64 of shape \(3, 1\)"):
        import_split(tmp_path / "b.npy", TOY)
    np.save(tmp_path / "c.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ArtefactError, match=r"c\.npy is not an index list of format npy"):
        import_split(tmp_path / "c.npy", TOY)
    with pytest.raises(ArtefactError, match=r"d\.npy cannot be read"):
        import_split(tmp_path / "d.npy", TOY)


def test_formats_are_chosen_by_suffix_or_name(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"the suffix of .*a\.csv is no format.*npy, txt, fix"):
        export_split(RANDOM, tmp_path / "a.csv")
    with pytest.raises(OptionError, match="'csv' is no format of an index list"):
        export_split(RANDOM, tmp_path / "a.txt", format="csv")
    export_split(RANDOM, tmp_path / "a.csv", format="txt")
    assert (tmp_path / "a.csv").read_text().split() == [str(i) for i in RANDOM.indices]


def test_class_sizes_need_labels(tmp_path: Path) -> None:
    for data in (None, make_data([-1] * 30)):
        with pytest.raises(DataError, match="format fixmatch tells the class sizes"):
            export_split(RANDOM, tmp_path / "label.json", data)


def test_usb_export_leaves_no_half_of_the_pair(tmp_path: Path) -> None:
    (tmp_path / "ulb_labels6_1_seed3_idx.npy").touch()
    with pytest.raises(OutputError, match=r"ulb_labels6_1_seed3_idx\.npy already exists"):
        export_split(RANDOM, tmp_path, format="usb")
    assert [path.name for path in tmp_path.iterdir()] == ["ulb_labels6_1_seed3_idx.npy"]
