"""`fmsel labels`: the images of a split out to people, and their answers back."""

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
    folder FILE-images.
    """
    from fmsel.errors import OptionError
    from fmsel.labeling import export_csv, export_label_studio
    from fmsel.labeling.read import check_suffix
    from fmsel.selection.split import Split
    from fmsel.selection.split.inputs import load_split_data

    check_suffix(to)
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


@app.command("import")
def import_command(
    file: Annotated[
        Path, typer.Argument(help="A filled table, .csv, or Label Studio's export, .json.")
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
    data_root: DataRoot = None,
    force: Force = False,
) -> None:
    """Make a split with the labels that people gave; images without one wait.

    Labels are class names, exactly as in the data set; empty, "unsure" and "none of these" are
    none.
    """
    from fmsel.artefacts import check_output
    from fmsel.labeling import apply_answers, read_answers
    from fmsel.labeling.apply import last_record, parse_agreement
    from fmsel.selection.split import Split
    from fmsel.selection.split.inputs import load_split_data

    rule = parse_agreement(agreement)
    check_output(out, force)
    before = Split.load(split)
    answers = read_answers(file)
    data = load_split_data(before, data_root=data_root)
    before.check(data, str(split))
    made = apply_answers(before, data, answers, agreement=rule, relabel=relabel)
    made.save(out, force)
    given = len(made) - made.awaited
    print(f"wrote {out}: {given} of {len(made)} images of {made.dataset} have a label")
    print(_told(last_record(made)))


def _told(record: Mapping[str, Any]) -> str:
    who = ", ".join(f"{name} {count}" for name, count in record["annotators"].items())
    return (
        f"{record['file']}: {record['labelled']} labelled, {record['disagreements']} disagreed "
        f"upon, {record['skipped']} skipped or unsure, {record['replaced']} replaced; by {who}"
    )
