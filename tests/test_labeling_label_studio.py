"""Tasks for Label Studio, and its exports, written by hand after its documentation."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fmsel.datasets import ImageDataset, Source, WeakAugment, load_dataset
from fmsel.errors import ArtefactError, OutputError
from fmsel.labeling import Answer, apply_answers, export_label_studio, read_answers
from fmsel.labeling.label_studio import count_labels, labelling_interface
from fmsel.selection.random import Random
from fmsel.selection.split import make_split


def make_data(root: str = "/my photos", names: tuple[str, ...] = ("cat", "dog")) -> ImageDataset:
    return ImageDataset(
        name="photos",
        source=Source(dataset=root),
        part="train",
        images=np.random.default_rng(0).integers(0, 256, (8, 4, 4, 3), dtype=np.uint8),
        labels=np.full(8, -1, dtype=np.int64),
        ids=np.array([f"train/é {i}&.png" for i in range(8)]),
        class_names=names,
        weak=WeakAugment(),
    )


DATA = make_data()
SPLIT = make_split(DATA, Random(), batch_size=4)


def tasks_of(path: Path) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = json.loads(path.read_text())
    return tasks


def test_tasks_name_images_as_label_studio_serves_them(tmp_path: Path) -> None:
    written = export_label_studio(SPLIT, DATA, tmp_path / "a.json")
    assert written == [tmp_path / "a.json", tmp_path / "a.xml"]
    tasks = tasks_of(tmp_path / "a.json")
    assert [set(task) for task in tasks] == [{"data"}] * 4
    for task, index in zip(tasks, SPLIT.indices, strict=True):
        data = task["data"]
        assert (data["index"], data["image_id"]) == (index, DATA.ids[index])
        assert data["dataset"] == "photos"
        url = urlsplit(data["image"])
        assert url.path == "/data/local-files/"
        assert parse_qs(url.query) == {"d": [f"my photos/{DATA.ids[index]}"]}


def test_an_image_root_comes_before_paths_in_the_data_sets_folder(tmp_path: Path) -> None:
    for root, start in {
        "https://host/photos": "https://host/photos/",
        "https://host/": "https://host/",
        "/data/local-files/?d=": "/data/local-files/?d=",
    }.items():
        export_label_studio(SPLIT, DATA, tmp_path / "a.json", image_root=root, force=True)
        image = tasks_of(tmp_path / "a.json")[0]["data"]["image"]
        assert image == f"{start}train/%C3%A9%20{SPLIT.indices[0]}%26.png"


def test_copies_are_relative_to_the_tasks(tmp_path: Path) -> None:
    digits = load_dataset("digits")
    split = make_split(digits, Random(), batch_size=2)
    to = tmp_path / "new" / "a.json"
    export_label_studio(split, digits, to, image_root="http://host", everything=True)
    for task in tasks_of(to):
        name = task["data"]["image"].removeprefix("http://host/")
        assert (to.parent / name).is_file() and name == f"a-images/{task['data']['index']}.png"
    (tmp_path / "b.xml").touch()
    with pytest.raises(OutputError, match=r"b\.xml already exists"):
        export_label_studio(split, digits, tmp_path / "b.json", everything=True)
    assert {p.name for p in tmp_path.iterdir()} == {"new", "b.xml"}


def test_the_interface_offers_every_class_by_its_name() -> None:
    names = ["cat", 'a "b" <c> & d', "it's", "é", "unsure"]
    view = ElementTree.fromstring(labelling_interface(names))
    image, choices = view
    assert (image.tag, image.get("value")) == ("Image", "$image")
    assert choices.get("toName") == image.get("name") and choices.get("choice") == "single"
    assert [choice.get("value") for choice in choices] == [*names, "none of these"]


def annotation(*names: str, who: object = 1, **fields: Any) -> dict[str, Any]:
    """One annotation, as the documentation shows it."""
    result = {
        "from_name": "class",
        "id": "Dx_aB91ISN",
        "to_name": "image",
        "type": "choices",
        "origin": "manual",
        "value": {"choices": list(names)},
    }
    return {
        "id": 1001,
        "result": [result] if names else [],
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": "2021-03-09T22:16:08.728353Z",
        "updated_at": "2021-03-09T22:16:08.728378Z",
        "lead_time": 4.288,
        "result_count": 0,
        "task": 1,
        "completed_by": who,
    } | fields


def task(place: int, *annotations: dict[str, Any], **data: Any) -> dict[str, Any]:
    index = SPLIT.indices[place]
    values = {"image": "x", "index": index, "image_id": str(DATA.ids[index]), "dataset": "photos"}
    return {
        "id": place + 50,
        "created_at": "2021-03-09T21:52:49.513742Z",
        "updated_at": "2021-03-09T22:16:08.746926Z",
        "project": 83,
        "data": values | data,
        "annotations": list(annotations),
        "drafts": [],
        "predictions": [{"model_version": "1", "result": annotation("dog")["result"]}],
    }


def minimal(place: int, value: object = "cat", **fields: Any) -> dict[str, Any]:
    """One item of JSON-MIN; `id` is the task's, whatever the data said."""
    index = SPLIT.indices[place]
    return {
        "image": "x",
        "index": index,
        "image_id": str(DATA.ids[index]),
        "dataset": "photos",
        "id": place + 50,
        "class": value,
        "annotator": 1,
        "annotation_id": 7,
        "created_at": "2021-03-09T22:16:08.728353Z",
        "updated_at": "2021-03-09T22:16:08.728378Z",
        "lead_time": 4.288,
    } | fields


def read(value: object, folder: Path) -> list[Answer]:
    (folder / "a.json").write_text(json.dumps(value))
    return list(read_answers(folder / "a.json").answers)


def labels(value: object, folder: Path, **options: Any) -> list[int]:
    read(value, folder)
    made = apply_answers(SPLIT, DATA, read_answers(folder / "a.json"), **options)
    return list(made.labels or [])


def test_every_annotation_is_an_answer(tmp_path: Path) -> None:
    ben = {"id": 2, "email": "ben@example.org", "first_name": "", "last_name": ""}
    (first, second, third) = read(
        [
            task(0, annotation("dog"), annotation("cat", who=ben, updated_at=None)),
            task(1),
            task(2, annotation(who=None)),
        ],
        tmp_path,
    )
    index = SPLIT.indices[0]
    assert (first.where, first.index, first.id) == ("task 50", index, DATA.ids[index])
    assert (first.choice, first.annotator, first.dataset) == ("dog", "1", "photos")
    assert first.time is not None and first.time.microsecond == 728378
    assert (second.choice, second.annotator) == ("cat", "ben@example.org")
    assert second.time is not None and second.time.microsecond == 728353
    assert (third.index, third.choice, third.annotator) == (SPLIT.indices[2], "", "")


def test_annotations_become_labels(tmp_path: Path) -> None:
    skipped = annotation("dog", was_cancelled=True)
    tasks = [
        task(0, annotation("dog"), annotation("dog", who=2), annotation("cat", who=3)),
        task(1, annotation("dog"), annotation("cat", who=2)),
        task(2, skipped),
        task(3, annotation("cat", updated_at="2022-01-01T00:00:00Z"), annotation("unsure")),
    ]
    assert labels(tasks, tmp_path) == [1, -1, -1, 0]
    assert labels(tasks, tmp_path, agreement="all") == [-1, -1, -1, 0]


def test_json_min_is_read_too(tmp_path: Path) -> None:
    items = [
        minimal(0, annotator="ann@example.org"),
        minimal(0, "cat", annotator={"email": "ben@example.org"}),
        minimal(1, "dog"),
        minimal(2, annotation_id=None, annotator={}),  # nobody's
        {key: value for key, value in minimal(3).items() if key != "class"},  # nothing chosen
    ]
    assert [a.annotator for a in read(items, tmp_path)][:2] == [
        "ann@example.org",
        "ben@example.org",
    ]
    assert labels(items, tmp_path) == [0, 1, -1, -1]


def test_choices_of_another_control_are_taken_where_there_are_no_others(tmp_path: Path) -> None:
    other = annotation("dog")
    other["result"][0]["from_name"] = "species"
    note = {"type": "textarea", "from_name": "note", "value": {"text": ["blurred"]}}
    both = annotation("cat")
    both["result"] += [other["result"][0], note]
    assert labels([task(0, other), task(1, both)], tmp_path) == [1, 0, -1, -1]


def test_indices_that_have_become_texts_are_read(tmp_path: Path) -> None:
    assert labels([task(0, annotation("dog"), index=str(SPLIT.indices[0]))], tmp_path)[0] == 1


@given(
    names=st.lists(st.text(min_size=1).filter(lambda t: t.strip() == t), min_size=2, unique=True),
    picked=st.lists(st.integers(-1, 1), min_size=4, max_size=4).filter(lambda each: max(each) >= 0),
    compact=st.booleans(),
)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_exported_tasks_that_were_labelled_come_back(
    names: list[str], picked: list[int], compact: bool, tmp_path: Path
) -> None:
    data = make_data(names=tuple(names))
    export_label_studio(SPLIT, data, tmp_path / "a.json", force=True)
    done = []
    for number, (each, label) in enumerate(zip(tasks_of(tmp_path / "a.json"), picked, strict=True)):
        chosen = [names[label]] if label >= 0 else []
        if not compact:
            done.append(each | {"id": number, "annotations": [annotation(*chosen)]})
        elif chosen:
            done.append(minimal(0, chosen[0]) | each["data"] | {"id": number})
    (tmp_path / "b.json").write_text(json.dumps(done))
    made = apply_answers(SPLIT, data, read_answers(tmp_path / "b.json"))
    assert made.labels == picked


def test_tasks_that_were_labelled_are_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    export_label_studio(SPLIT, DATA, path)
    assert count_labels(path.read_bytes()) == 0
    export_label_studio(SPLIT, DATA, path, force=True)
    done = [task(0, annotation("dog"), annotation("cat", who=2)), task(1), task(2, annotation())]
    for content in (json.dumps(done), json.dumps([minimal(0), minimal(1), minimal(2, [])])):
        path.write_text(content)
        with pytest.raises(OutputError, match=r"a\.json holds 2 labels .*, even with --force; ch"):
            export_label_studio(SPLIT, DATA, path, force=True)
        assert path.read_text() == content
    assert count_labels(b"\xff[") == 0


RECTANGLE = annotation("x") | {"result": [{"type": "rectanglelabels", "value": {"x": 1}}]}
BAD: list[tuple[object, str]] = [
    ({"images": [], "annotations": [], "categories": []}, "a.json is a file of COCO, not a list"),
    ({"shapes": [], "imagePath": "x"}, "is a file of LabelMe, not a list of tasks"),
    ({"_via_img_metadata": {}}, "is a project of VGG Image Annotator"),
    ([{"image": "x.png", "annotations": []}], "is a file of CreateML, not an export of Label"),
    ({"indices": [1], "schema_version": 1}, "is a split of fmsel"),
    ({"distribution": [1], "label": [1]}, "is an index list of FixMatch"),
    (task(0), "is one task of Label Studio, not a list"),
    ({"a": 1}, "is JSON of an unknown kind"),
    ([1, 2], "is JSON of an unknown kind, not a list of tasks"),
    ([{"a": 1}], "is JSON of an unknown kind, not an export"),
    ("text", "is JSON of an unknown kind"),
    ([{"id": 4, "data": {}}], "task 4: a task without data or annotations; export the project"),
    ([{"data": {}, "annotations": 3}], "task 1: a task without data or annotations"),
    ([{"data": [], "annotations": []}], "task 1: a task without data"),
    ([task(0, annotation("cat", "dog"))], r"task 50: \['cat', 'dog'\] chosen where one class"),
    ([task(0, annotation("cat") | {"result": [3]})], "task 50: an annotation whose result is not"),
    ([task(0) | {"annotations": [3]}], "task 50: annotation 3 is no object"),
    ([task(0, RECTANGLE)], "a.json holds rectanglelabels and no choices; use the labelling"),
    (
        [task(0, annotation("x") | {"result": [{"type": "choices", "value": 3}]})],
        "task 50: a result of type choices without a list of choices",
    ),
    ([task(0, annotation("cat"), index=1.5)], "task 50: index 1.5 is not an integer of 0 or more"),
    ([task(0, annotation("cat"), index=True)], "task 50: index True is not an integer"),
    ([task(0, annotation("cat"), index=-1)], "task 50: index -1 is not an integer"),
    (
        [task(0, annotation("cat")) | {"data": {"image": "x"}}],
        "task 50: no index in the task's data; label the tasks that `fmsel labels export` wrote",
    ),
    ([task(0, annotation("cat", updated_at="noon"))], "task 50: time 'noon' is not of ISO 8601"),
    ([minimal(0, [{"choices": ["cat", "dog"]}])], r"task 50: \[\{.* chosen where one class"),
    (
        [{"annotation_id": 1, "index": 1, "species": "cat"}],
        "a.json holds nothing under 'class'; use the labelling interface .* or export as JSON",
    ),
]


@pytest.mark.parametrize(("value", "sentence"), BAD)
def test_other_files_are_named(value: object, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=sentence):
        read(value, tmp_path)


@pytest.mark.parametrize(
    "text", ["{", "index,label\n1,cat\n", "[" * 100_000, '{"a": 1}\n{"a": 2}\n']
)
def test_what_is_not_json_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ArtefactError, match=r"a\.json is not JSON"):
        read_answers(tmp_path / "a.json")
