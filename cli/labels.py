"""`fmsel labels`: the images of a split out to people, and their answers back."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="People's labels: images out, answers back.")

DataRoot = Annotated[Path | None, typer.Option(help="Where the data set's images lie now.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]


@app.callback()
def labels() -> None:
    """People's labels: images out, answers back."""


@app.command()
def export(
    split: Annotated[Path, typer.Argument(help="A split, such as splits/random.json.")],
    to: Annotated[
        Path, typer.Option(help="A table, FILE.csv, or tasks of Label Studio, FILE.json.")
    ],
    everything: Annotated[
        bool, typer.Option("--all", help="Also images that have a label already.")
    ] = False,
    image_root: Annotated[
        str | None,
        typer.Option(
            help="URL that comes before the images' paths in the tasks. (default: Label Studio "
            "serves local files, from /)",
        ),
    ] = None,
    data_root: DataRoot = None,
    force: Force = False,
) -> None:
    """Write the images of a split that have no label yet, for people to label.

    A table has the columns index, id, image, label and annotator; fill in the last two. Tasks
    come with the labelling interface, FILE.xml. Images of built-in data sets are written into the
    folder FILE-images, enlarged. A file that holds labels is never replaced.
    """
    from fmsel.errors import OptionError
    from fmsel.labeling import export_csv, export_label_studio
    from fmsel.labeling.answers import listed
    from fmsel.labeling.pictures import awaiting
    from fmsel.labeling.read import EXPORTED, check_suffix
    from fmsel.selection.split import Split
    from fmsel.selection.split.inputs import load_split_data

    check_suffix(to, EXPORTED)
    if to.suffix == ".csv" and image_root is not None:
        raise OptionError("--image-root goes with tasks of Label Studio, --to FILE.json")
    found = Split.load(split)
    data = load_split_data(found, data_root=data_root)
    found.check(data, str(split))
    if to.suffix == ".csv":
        paths = export_csv(found, data, to, everything=everything, force=force)
    else:
        paths = export_label_studio(
            found, data, to, image_root=image_root, everything=everything, force=force
        )
    for path in paths:
        print(f"wrote {path}")
    count = len(awaiting(found, data, everything))
    print(f"{count} images of {data.name} to label; the classes are {listed(data.class_names)}")
    print(_next(to, split, data_root))


@app.command("import")
def import_command(
    file: Annotated[
        Path,
        typer.Argument(
            help="A filled table, .csv, Label Studio's export, .json, or the answers of "
            "`fmsel label`, .jsonl."
        ),
    ],
    split: Annotated[Path, typer.Option(help="The split that was exported.")],
    out: Annotated[Path, typer.Option(help="The split with labels to write.")],
    agreement: Annotated[
        str,
        typer.Option(
            help="Where annotators differ: majority takes the class that most chose, all takes "
            "none; images without a winner wait."
        ),
    ] = "majority",
    relabel: Annotated[
        bool, typer.Option("--relabel", help="Let the answers replace labels of the split.")
    ] = False,
    drop: Annotated[
        bool,
        typer.Option(
            "--drop-unlabelled", help="Leave out images that still have no label, so as to train."
        ),
    ] = False,
    data_root: DataRoot = None,
    force: Force = False,
) -> None:
    """Make a split with the labels that people gave; images without one wait.

    Labels are names of classes. An empty one is not answered yet; "skip", "unsure" and "none of
    these" are answers without a class.
    """
    from fmsel.artefacts import check_output
    from fmsel.labeling import apply_answers, read_answers
    from fmsel.labeling.apply import drop_unlabelled, last_record, parse_agreement
    from fmsel.selection.split import Split
    from fmsel.selection.split.inputs import load_split_data

    rule = parse_agreement(agreement)
    check_output(out, force)
    before = Split.load(split)
    answers = read_answers(file)
    data = load_split_data(before, data_root=data_root)
    before.check(data, str(split))
    made = apply_answers(before, data, answers, agreement=rule, relabel=relabel)
    total, given = len(made), len(made) - made.awaited
    if drop:
        made = drop_unlabelled(made)
    made.save(out, force)
    print(f"wrote {out}: {given} of {total} images of {made.dataset} have a label")
    print(told(last_record(made)))
    if made.awaited:
        print(
            f"next: `fmsel labels export {shlex.quote(str(out))}` for the other {made.awaited}, or "
            "the same command with --drop-unlabelled --force to leave them out"
        )
    else:
        print(f"next: fmsel train --split {shlex.quote(str(out))}")


def told(record: Mapping[str, Any]) -> str:
    """What a source of answers brought, and who gave them, in a line."""
    counts = {
        "labelled": record["labelled"],
        "still empty": record["unanswered"],
        "skipped": record["skipped"],
        "disagreed upon": record["disagreements"],
        "replaced": record["replaced"],
        "left out": len(record.get("dropped", ())),
    }
    shown = [f"{count} {what}" for what, count in counts.items() if count or what == "labelled"]
    who = ", ".join(f"{name} {count}" for name, count in record["annotators"].items())
    return f"{record['file']}: {', '.join(shown)}; by {who}"


def _next(to: Path, split: Path, data_root: Path | None) -> str:
    """What to do with the file that was written."""
    answers, task = to, f"fill in the labels in {to}"
    if to.suffix != ".csv":
        answers = to.with_name(f"{to.stem}-answers.json")
        task = f"label the tasks, export them as {answers}"
    words = ["fmsel", "labels", "import", str(answers), "--split", str(split)]
    words += ["--out", str(split.with_name(f"{split.stem}-labelled.json"))]
    words += ["--data-root", str(data_root)] if data_root is not None else []
    return f"next: {task}, then {shlex.join(words)}"
