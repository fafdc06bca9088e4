"""The scores file: round trip, refusal of what does not belong, gaining metrics."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_scores import record_of
from rich.console import Console

from fmsel.cli.score import _metric_table
from fmsel.datasets import ImageDataset, Source, WeakAugment
from fmsel.errors import ArtefactError, OptionError, OutputError
from fmsel.metrics.evidence import Settings
from fmsel.metrics.scores import Scores
from fmsel.metrics.scores.catalogue import check_metrics, metric_module, metric_names
from fmsel.metrics.scores.score import merge, score_dataset
from fmsel.metrics.scores.summary import default_ranking, rank_correlations
from fmsel.metrics.scores.update import existing_scores


def dataset(count: int = 6, fill: int = 0) -> ImageDataset:
    return ImageDataset(
        name="toy",
        source=Source(dataset="toy"),
        part="train",
        images=np.full((count, 8, 8, 3), fill, dtype=np.uint8),
        labels=np.arange(count, dtype=np.int64) % 2,
        ids=np.array([str(i) for i in range(count)]),
        class_names=("a", "b"),
        weak=WeakAugment(flip=False, shift=1),
    )


def scores(*names: str, data: ImageDataset | None = None) -> Scores:
    data = data or dataset()
    arrays = {n: np.arange(len(data), dtype=np.float32) + i for i, n in enumerate(names)}
    records = {
        name: record_of(
            array,
            parameters={"crossfit": {"epochs": 5}},
            seconds=0.1,
            evidence_seconds={"crossfit": 3.0},
            labels_sha256=data.labels_sha256,
        )
        for name, array in arrays.items()
    }
    return Scores(dataset=data.describe(), arrays=arrays, records=records)


def by_torch(version: str, name: str) -> Scores:
    made = scores(name)
    record = dataclasses.replace(made.records[name], made_with={"torch": version})
    return dataclasses.replace(made, records={name: record})


def saved(made: Scores, folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and the arrays of its file."""
    made.save(folder / "saved.npz")
    with np.load(folder / "saved.npz") as file:
        return json.loads(str(file["header"])), {name: file[name] for name in made.arrays}


def test_round_trip(tmp_path: Path) -> None:
    made = scores("conf", "agr")
    made.save(tmp_path / "s.npz")
    read = Scores.load(tmp_path / "s.npz")
    assert read.dataset == made.dataset and read.records == made.records
    for name in ("conf", "agr"):
        np.testing.assert_array_equal(read.array(name), made.array(name))
        assert read.array(name).dtype == np.float32


def test_unknown_metric_names_those_there_are() -> None:
    with pytest.raises(OptionError, match=r"no metric 'adv'; they hold conf, agr"):
        scores("conf", "agr").array("adv")


def test_other_images_are_refused() -> None:
    with pytest.raises(ArtefactError, match=r"s.npz scores 6 images of toy, not these 6 images"):
        scores("conf").check(dataset(fill=1), "s.npz")


def test_new_labels_do_not_spoil_scores() -> None:
    relabelled = dataclasses.replace(dataset(), labels=np.zeros(6, dtype=np.int64))
    scores("conf").check(relabelled, "s.npz")


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 broken"])
def test_broken_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.npz"
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match="is not a readable fmsel scores file"):
        Scores.load(path)


def test_changed_array_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    scores("conf").save(path)
    with np.load(path) as file:
        header = file["header"]
    np.savez(path, header=header, conf=np.zeros(6, np.float32))
    with pytest.raises(ArtefactError, match="'conf' does not match its recorded sha256"):
        Scores.load(path)


def test_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    scores("conf").save(path)
    with np.load(path) as file:
        header = json.loads(str(file["header"]))
    np.savez(path, header=np.array(json.dumps({**header, "schema": 99})))
    with pytest.raises(ArtefactError, match="has schema 99; this fmsel reads schema 1"):
        Scores.load(path)


def test_file_gains_metrics_but_keeps_those_it_has(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    assert existing_scores(path, dataset(), ["conf"], force=False) is None
    scores("conf").save(path)
    old = existing_scores(path, dataset(), ["agr"], force=False)
    assert old is not None
    assert list(merge(old, scores("agr")).arrays) == ["conf", "agr"]
    with pytest.raises(OutputError, match="already holds conf; pass --force"):
        existing_scores(path, dataset(), ["conf"], force=False)
    assert existing_scores(path, dataset(), ["conf"], force=True) is not None


def test_a_metric_added_after_relabelling_does_not_pass_for_the_older_ones() -> None:
    relabelled = dataclasses.replace(dataset(), labels=np.zeros(6, dtype=np.int64))
    merged = merge(scores("conf"), scores("agr", data=relabelled))
    assert merged.records["conf"].labels_sha256 == dataset().labels_sha256
    assert merged.records["agr"].labels_sha256 == relabelled.labels_sha256


def test_a_metric_added_later_keeps_its_own_versions(tmp_path: Path) -> None:
    merge(by_torch("2.14", "conf"), by_torch("2.15", "agr")).save(tmp_path / "s.npz")
    read = Scores.load(tmp_path / "s.npz").records
    assert [read[name].made_with["torch"] for name in ("conf", "agr")] == ["2.14", "2.15"]


def test_older_files_do_not_tell_the_versions_of_each_metric(tmp_path: Path) -> None:
    """They had one set, of the last writer."""
    header, arrays = saved(scores("conf", "agr"), tmp_path)
    for record in header["records"].values():
        del record["made_with"]
    np.savez(tmp_path / "old.npz", header=np.array(json.dumps(header)), **arrays)  # type: ignore[arg-type]
    read = Scores.load(tmp_path / "old.npz").records
    assert [record.made_with for record in read.values()] == [{}, {}]


@pytest.mark.parametrize("broken", [[], {"records": []}, {"records": {"conf": 3}}, "text"])
def test_a_header_of_another_shape_is_refused(tmp_path: Path, broken: object) -> None:
    np.savez(tmp_path / "s.npz", header=np.array(json.dumps(broken)))
    with pytest.raises(ArtefactError, match="not a readable fmsel scores file"):
        Scores.load(tmp_path / "s.npz")


def test_records_carry_the_labels_that_were_scored() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    data = dataclasses.replace(dataset(40), images=images)
    made = score_dataset(data, ["leave-one-out"], settings=Settings(device="cpu"))
    assert made.records["leave-one-out"].labels_sha256 == data.labels_sha256
    assert made.records["leave-one-out"].made_with["torch"] == torch.__version__.split("+")[0]


def test_scores_of_other_images_are_only_replaced_by_force(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    scores("conf").save(path)
    with pytest.raises(ArtefactError, match="their sha256 differ"):
        existing_scores(path, dataset(fill=9), ["agr"], force=False)
    assert existing_scores(path, dataset(fill=9), ["agr"], force=True) is None


def test_every_metric_keeps_the_contract() -> None:
    for name in metric_names():
        module = metric_module(name)
        assert module.LABEL_USE in {"none", "training", "formula"}, name
        assert module.NEEDS and (module.__doc__ or "").startswith(f"`{name}`"), name
    assert {"conf", "agr", "self-confidence", "epoch-confidence", "leave-one-out"} <= set(
        metric_names()
    )


def test_unknown_metric_is_refused_before_any_work() -> None:
    with pytest.raises(OptionError, match="unknown metric 'confidence'; the metrics are adv"):
        check_metrics(["conf", "confidence"])


def test_default_ranking_and_correlations() -> None:
    made = scores("self-confidence", "conf")
    ranking, used = default_ranking(made, dataset().labels)
    assert used == ("self-confidence",)
    assert ranking[4] > ranking[2] > ranking[0]
    np.testing.assert_allclose(rank_correlations(made), np.ones((2, 2)))


def test_a_constant_metric_has_no_correlation_in_the_table_of_fmsel_score() -> None:
    made = scores("conf", "agr")
    made.arrays["agr"][:] = 0.5
    console = Console(width=100)
    with console.capture() as shown:
        console.print(_metric_table(made))
    assert "1.00" in shown.get() and "–" in shown.get() and "nan" not in shown.get()
