"""`fmsel label`."""

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer


def label(
    split: Annotated[Path, typer.Argument(help="A split, such as splits/typiclust.json.")],
    port: Annotated[
        int,
        typer.Option(help="0 takes the same one for a split each time, or a free one."),
    ] = 0,
    host: Annotated[
        str,
        typer.Option(
            help="Address to serve at; other machines reach 0.0.0.0, and need the token that is "
            "printed with it."
        ),
    ] = "127.0.0.1",
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page.")] = False,
    classes: Annotated[
        str | None,
        typer.Option(help="cat,dog,…: of images that no folders sort; more can be added."),
    ] = None,
    votes: Annotated[int, typer.Option(help="People who answer about each image.")] = 1,
    everything: Annotated[
        bool, typer.Option("--all", help="Also images that have a label already.")
    ] = False,
    embeddings: Annotated[
        Path | None,
        typer.Option(help="To show similar images by. (default: those in embeddings/)"),
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(help="To show on demand. (default: those in scores/)")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The split with labels. (default: SPLIT-labelled.json)"),
    ] = None,
    journal: Annotated[
        Path | None,
        typer.Option(help="Where every answer is saved. (default: SPLIT-answers.jsonl)"),
    ] = None,
    agreement: Annotated[
        str, typer.Option(help="Where annotators differ: as for `fmsel labels import`.")
    ] = "majority",
    relabel: Annotated[
        bool, typer.Option("--relabel", help="Let the answers replace labels of the split.")
    ] = False,
    data_root: Annotated[
        Path | None, typer.Option(help="Where the data set's images lie now.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what lies at --out.")] = False,
) -> None:
    """Serve a page on which people label the images of a split.

    Every answer is saved at once; the same command goes on after a stop. Several people may label
    at the same time, each under a name. Ctrl-C ends it, and the split with labels is written.
    """
    from fmsel.labeling.apply import parse_agreement
    from fmsel.labeling.page.run import Options, own_port, prepare, serve_task
    from fmsel.serving import listen

    options = Options(
        classes=[name.strip() for name in classes.split(",")] if classes is not None else (),
        votes=votes,
        everything=everything,
        embeddings=embeddings,
        scores=scores,
        out=out,
        journal=journal,
        agreement=parse_agreement(agreement),
        relabel=relabel,
        data_root=data_root,
        force=force,
    )
    listener, access = listen(host, port, own_port(split, journal))
    with listener:
        task = prepare(split, options)
        total, done = len(task.indices), task.ledger.done
        so_far = f", {done} of them done" if done else ""
        print(f"{total} images of {task.data.name} to label{so_far}")
        if task.classes.may_add:
            print(f"classes that people add are kept in {task.classes.path}")
        print(f"answers are saved in {task.outcome.journal.path}; Ctrl-C ends it", flush=True)
        print(f"open {access.url}", flush=True)
        written = serve_task(task, listener, access, open_browser=open_browser)
    if written is None:
        print("nobody answered, so nothing was written")
        return
    _tell(written, task, split, data_root)


def _tell(written: dict[str, Any], task: Any, split: Path, data_root: Path | None) -> None:
    """What was written, and what to do with it."""
    from fmsel.cli.labels import told
    from fmsel.labeling.apply import last_record
    from fmsel.labeling.page.run import is_of_a_loop

    out, made = written["wrote"], task.outcome.made
    print(
        f"wrote {out}: {written['labelled']} of {len(made)} images of {made.dataset} have a label"
    )
    print(told(last_record(made)))
    if is_of_a_loop(split):
        print("next: give the command of the loop again; it reads these answers where they lie")
    elif made.awaited:
        words = ["fmsel", "labels", "import", str(task.outcome.journal.path), "--split", str(split)]
        words += ["--out", str(split.with_name(f"{split.stem}-part.json")), "--drop-unlabelled"]
        words += ["--data-root", str(data_root)] if data_root is not None else []
        print(
            f"next: the same command for the other {made.awaited}, or leave them out: "
            f"{shlex.join(words)}"
        )
    else:
        print(f"next: fmsel train --split {shlex.quote(out)}")
