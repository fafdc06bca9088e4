"""`fmsel report`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

LOOPBACK = "127.0.0.1"


def report(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="Run folders, splits, scores files, loops, or folders of them, in any mixture."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The page.")] = Path("report.html"),
    figures: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for every figure as PNG and SVG. (default: beside the page, its name and "
            "-figures)",
        ),
    ] = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(
            help="To draw the map by. (default: the split's, or the only one in embeddings/)"
        ),
    ] = None,
    question: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What the page is to answer.")
    ] = None,
    title: Annotated[str | None, typer.Option(metavar="TEXT", help="Of the page.")] = None,
    data_root: Annotated[Path | None, typer.Option(help="Where the images lie now.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier report.")] = False,
    serve: Annotated[
        bool,
        typer.Option(
            "--serve",
            help="Write nothing; serve a gallery and a map of all images, up to 100,000, until "
            "Ctrl-C.",
        ),
    ] = False,
    host: Annotated[
        str,
        typer.Option(
            help="Address to serve at; other machines reach 0.0.0.0, and need the token that is "
            "printed with it."
        ),
    ] = LOOPBACK,
    port: Annotated[int, typer.Option(help="To serve at; 0 takes a free one.")] = 0,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the served page.")] = False,
) -> None:
    """Make one self-contained page of runs, splits, scores and loops.

    The table of splits with intervals, curves, confusion matrices, the labelled images, galleries,
    a map of the embedding, and the commands that make it all again. It opens without a network.
    """
    from fmsel.errors import OptionError
    from fmsel.report.story.find import find_artefacts
    from fmsel.report.story.material import load_material
    from fmsel.report.story.page import check_report, make_page, write_report

    err = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    if serve:
        _serve(paths, err, host, port, data_root, embeddings, open_browser)
        return
    if open_browser or port or host != LOOPBACK:
        raise OptionError("--host, --port and --open go with --serve; add it, or leave them out")
    folder = figures or out.with_name(f"{out.stem}-figures")
    check_report(out, folder, force)
    material = load_material(
        find_artefacts(paths), data_root=data_root, embeddings=embeddings, say=err.print
    )
    page = make_page(material, question=question, title=title)
    write_report(page, out, folder, force)
    size = out.stat().st_size / 1e6
    print(f"wrote {out} ({size:.1f} MB, {page.tiles:,} thumbnails)")
    print(f"wrote {len(page.plots)} figures as PNG and SVG into {folder}")


def _serve(
    paths: list[Path],
    err: Console,
    host: str,
    port: int,
    data_root: Path | None,
    embeddings: Path | None,
    open_browser: bool,
) -> None:
    from fmsel.report.served.run import collection_of, serve_images
    from fmsel.report.story.find import find_artefacts
    from fmsel.report.story.material import load_material
    from fmsel.serving import listen

    listener, access = listen(host, port)
    with listener:
        material = load_material(
            find_artefacts(paths), data_root=data_root, embeddings=embeddings, say=err.print
        )
        shown = collection_of(material)
        print(f"{len(shown):,} images of {shown.data.name}")
        print(f"open {access.url}; Ctrl-C ends it", flush=True)
        serve_images(shown, listener, access, open_page=open_browser)
