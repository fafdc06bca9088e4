"""Images to label as tasks of Label Studio, and its JSON and JSON-MIN exports as answers.

Sources: Label Studio's documentation, "Label Studio JSON format of annotated tasks", "Tasks with
local storage file references" and the tag Choices; its converter, for JSON-MIN.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from fmsel.artefacts import atomic_path
from fmsel.datasets import ImageDataset
from fmsel.errors import ArtefactError
from fmsel.labeling.answers import NO_CLASS, Answer, parse_index, parse_time
from fmsel.labeling.pictures import (
    Pictures,
    check_pictures,
    check_target,
    pictures,
    write_pictures,
)
from fmsel.selection.split import Split

LOCAL_FILES = "/data/local-files/?d="  # before a path relative to Label Studio's document root
CONTROL = "class"  # name of the Choices
ID = "image_id"  # not "id": in JSON-MIN, the task's own id takes that name


def export_label_studio(
    split: Split,
    data: ImageDataset,
    to: Path,
    *,
    image_root: str | None = None,
    everything: bool = False,
    force: bool = False,
) -> list[Path]:
    """Write a task for every image that waits, and the labelling interface beside it (.xml).

    Images that are no files of the data set are written into the folder `<to>-images` too.

    Args:
        image_root: what comes before the images' paths, which are relative to the data set's
            folder, or to that of `to` where the images are copies; None = Label Studio serves
            local files, with / as its document root.
        everything: also images that have a label, which the tasks do not tell.
        force: replace existing files.
    Returns:
        What was written: tasks, interface, and the folder of copies where there is one.
    Raises:
        ArtefactError, DataError, OptionError: as `pictures`.
        OutputError: an output exists and `force` is false, or cannot be written; whatever `force`
            is, `to` holds labels.
    """
    found = pictures(split, data, to, everything)
    interface = to.with_suffix(".xml")
    check_target(to, force, count_labels)
    check_target(interface, force)
    check_pictures(found, force)
    urls = _urls(found, image_root)
    tasks = [
        json.dumps({"data": {"image": url, "index": index, ID: name, "dataset": split.dataset}})
        for url, index, name in zip(urls, found.indices.tolist(), found.ids, strict=True)
    ]
    with atomic_path(to, force) as temporary, atomic_path(interface, force) as beside:
        temporary.write_text("[\n" + ",\n".join(tasks) + "\n]\n", encoding="utf-8")
        beside.write_text(labelling_interface(data.class_names), encoding="utf-8")
        write_pictures(found, data)
    written = [to, interface]
    return written if found.folder is None else [*written, to.with_name(found.folder.name)]


def labelling_interface(class_names: Sequence[str]) -> str:
    """Label Studio's XML: one image, one choice among the classes and `NO_CLASS`."""
    names = [*class_names, *(each for each in NO_CLASS if each not in class_names)]
    choices = "\n".join(f"    <Choice value={quoteattr(name)}/>" for name in names)
    return (
        "<View>\n"
        '  <Image name="image" value="$image"/>\n'
        f'  <Choices name="{CONTROL}" toName="image" choice="single" required="true">\n'
        f"{choices}\n"
        "  </Choices>\n"
        "</View>\n"
    )


def _urls(found: Pictures, image_root: str | None) -> list[str]:
    if image_root is None:
        paths = [file.absolute().as_posix().lstrip("/") for file in found.files]
        return [LOCAL_FILES + quote(path) for path in paths]
    root = image_root if image_root.endswith(("/", "=")) else f"{image_root}/"
    return [root + quote(name) for name in found.names]


def count_labels(content: bytes) -> int:
    """How many labels an export holds; 0 where it is none, as the tasks that were written."""
    try:
        answers = read_label_studio(content.decode("utf-8-sig", errors="replace"), "")
    except ArtefactError:
        return 0
    return sum(bool(answer.choice) for answer in answers)


def read_label_studio(text: str, file: str) -> list[Answer]:
    """The annotations of an export.

    Args:
        text: of the file.
        file: its name, for errors.
    Raises:
        ArtefactError: not JSON, another format, or a task that `export_label_studio` did not write.
    """
    try:
        tasks = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArtefactError(f"{file} is not JSON ({error})") from None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise ArtefactError(f"{file} is {_format_of(tasks)}, not a list of tasks of Label Studio")
    full = any("data" in task for task in tasks)
    if not full and not all("annotation_id" in task for task in tasks):
        raise ArtefactError(f"{file} is {_format_of(tasks)}, not an export of Label Studio")
    if full:
        return _read_full(tasks, file)
    return _read_min(tasks, file)


def _read_full(tasks: Sequence[Mapping[str, Any]], file: str) -> list[Answer]:
    """Answers of format JSON; skipped images are in it."""
    answers, kinds = [], set[str]()
    for number, task in enumerate(tasks, 1):
        where = f"task {task.get('id', number)}"
        annotations = task.get("annotations")
        if not isinstance(task.get("data"), dict) or not isinstance(annotations, list):
            raise ArtefactError(
                f"{file}, {where}: a task without data or annotations; export the project from "
                "Label Studio as JSON"
            )
        for annotation in annotations:
            if not isinstance(annotation, dict):
                raise ArtefactError(f"{file}, {where}: annotation {annotation!r} is no object")
            results = _objects(annotation.get("result"), f"{file}, {where}")
            kinds |= {str(result.get("type")) for result in results}
            skipped = annotation.get("was_cancelled")
            choice = "" if skipped else _choice(results, f"{file}, {where}")
            answers.append(_answer(task["data"], annotation, choice, where, file))
    if kinds and "choices" not in kinds:
        raise ArtefactError(
            f"{file} holds {', '.join(sorted(kinds))} and no choices; use the labelling interface "
            "that `fmsel labels export` wrote"
        )
    return answers


def _choice(results: Sequence[Mapping[str, Any]], where: str) -> str:
    """The one name chosen in an annotation, or "" where there is none."""
    choices = [result for result in results if result.get("type") == "choices"]
    own = [result for result in choices if result.get("from_name") == CONTROL] or choices
    names: list[object] = []
    for result in own:
        value = result.get("value")
        chosen = value.get("choices") if isinstance(value, dict) else None
        if not isinstance(chosen, list):
            raise ArtefactError(f"{where}: a result of type choices without a list of choices")
        names += chosen
    return _only(names, where)


def _read_min(tasks: Sequence[Mapping[str, Any]], file: str) -> list[Answer]:
    """Answers of format JSON-MIN, one an item; Label Studio leaves skipped images out."""
    done = [(n, task) for n, task in enumerate(tasks, 1) if task["annotation_id"] is not None]
    if done and not any(CONTROL in task for _, task in done):
        raise ArtefactError(
            f"{file} holds nothing under {CONTROL!r}; use the labelling interface that "
            "`fmsel labels export` wrote, or export as JSON"
        )
    answers = []
    for number, task in done:
        where = f"task {task.get('id', number)}"
        value = task.get(CONTROL, [])
        names = value if isinstance(value, list) else [value]
        answers.append(_answer(task, task, _only(names, f"{file}, {where}"), where, file))
    return answers


def _only(names: Sequence[object], where: str) -> str:
    """The one name, or "" for none."""
    if len(names) > 1 or not all(isinstance(name, str) for name in names):
        raise ArtefactError(f"{where}: {names} chosen where one class is asked for")
    return str(names[0]) if names else ""


def _answer(
    data: Mapping[str, Any], annotation: Mapping[str, Any], choice: str, where: str, file: str
) -> Answer:
    if "index" not in data:
        raise ArtefactError(
            f"{file}, {where}: no index in the task's data; label the tasks that `fmsel labels "
            "export` wrote"
        )
    name, dataset = data.get(ID), data.get("dataset")
    time = annotation.get("updated_at") or annotation.get("created_at")
    return Answer(
        where=where,
        index=parse_index(data["index"], f"{file}, {where}"),
        id=None if name is None else str(name),
        choice=choice,
        annotator=_annotator(annotation.get("completed_by", annotation.get("annotator"))),
        time=parse_time(str(time), f"{file}, {where}") if time else None,
        dataset=None if dataset is None else str(dataset),
    )


def _annotator(who: object) -> str:
    """An e-mail address where there is one, or the number of the user, or ""."""
    if isinstance(who, dict):
        who = who.get("email") or who.get("id")
    return "" if who is None else str(who)


def _objects(value: object, where: str) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise ArtefactError(f"{where}: an annotation whose result is not a list of objects")
    return value


def _format_of(value: object) -> str:
    """What a JSON file of no tasks is, by the keys that other programs write."""
    first = value[0] if isinstance(value, list) and value else value
    keys = set(first) if isinstance(first, dict) else set[str]()
    known = {
        "a file of COCO": {"images", "annotations", "categories"},
        "a file of LabelMe": {"shapes", "imagePath"},
        "a project of VGG Image Annotator": {"_via_img_metadata"},
        "a file of CreateML": {"image", "annotations"},
        "a split of fmsel": {"indices", "schema_version"},
        "one task of Label Studio": {"data", "annotations"},
        "an index list of FixMatch": {"distribution", "label"},
    }
    found = (name for name, needed in known.items() if needed <= keys)
    return next(found, "JSON of an unknown kind")
