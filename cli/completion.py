"""What the shell offers for a value when the tab key is pressed; loads none of the libraries.

A completion must be there before the finger is off the key, so names are read off the files of the
packages, which are named by them, and nothing is imported.
"""

import os
import pkgutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

Completer = Callable[[str], list[str]]  # what was typed so far -> what may stand there

DEPTH = 4  # folders below the one that is typed, as a loop's runs lie below the loop's folder
FOLDERS = 500  # that are looked into, since nobody waits for the tree of all images
MOST = 200  # files that are offered
RUN = "config.json"  # what makes a folder a run's


def completer(command: str, parameter: str) -> Completer | None:
    """What completes a parameter; None where the shell's own completion of paths is right.

    Args:
        command: such as "score" or "labels import".
        parameter: its name in the function, such as "data_root".
    """
    return VALUES.get(f"{command} {parameter}", VALUES.get(parameter))


def words(*values: str) -> Completer:
    """One of some words."""
    return lambda incomplete: [value for value in values if value.startswith(incomplete)]


def modules(package: str, dash: bool = False, without: str = "", more: str = "") -> Completer:
    """The plain modules of a package, which are named by what they hold.

    Args:
        package: such as "fmsel.metrics"; it is not imported, its parent is.
        dash: a name is written with dashes where its file has underscores.
        without: modules that are something else, separated by spaces.
        more: further words, likewise.
    """

    def complete(incomplete: str) -> list[str]:
        spec = find_spec(package)
        found = pkgutil.iter_modules(spec.submodule_search_locations if spec else None)
        names = [each.name for each in found if not each.ispkg and each.name not in without.split()]
        names = [name.replace("_", "-") if dash else name for name in names] + more.split()
        return [name for name in sorted(names) if name.startswith(incomplete)]

    return complete


def files(*suffixes: str, home: str = "") -> Completer:
    """Files of these suffixes; where nothing is typed and `home` is a folder, those in it."""
    return _below(home, lambda folder, names: [n for n in names if n.endswith(suffixes)])


def runs(incomplete: str) -> list[str]:
    """Run folders."""
    return _runs(incomplete)


def either(*completers: Completer) -> Completer:
    """What any of them offers."""
    return lambda incomplete: [each for one in completers for each in one(incomplete)]


def _below(home: str, pick: Callable[[str, list[str]], list[str]]) -> Completer:
    """Paths that `pick` finds in folders: (folder, names of its files) -> names."""

    def complete(incomplete: str) -> list[str]:
        if incomplete.startswith("~"):
            return []  # for the shell, which knows where that is
        typed = incomplete or (f"{home}/" if home and Path(home).is_dir() else "")
        start, _, begun = typed.rpartition("/")
        start += "/" * ("/" in typed)
        found = []
        for folder, names in _walk(start or ".", begun):
            prefix = "" if folder == "." else folder.removeprefix("./").rstrip("/") + "/"
            found += [prefix + name for name in sorted(pick(folder, names))]
            if len(found) >= MOST:
                break
        # The scripts of the shells would tear a name with a space into words.
        offered = [path.rstrip("/") for path in found if not any(c.isspace() for c in path)]
        return [path for path in offered if path.startswith(incomplete)][:MOST]

    return complete


def _walk(start: str, begun: str) -> Iterator[tuple[str, list[str]]]:
    """(folder, names of its files), the folders of `start` that begin so and those below them."""
    for folder, below, names in islice(os.walk(start), FOLDERS):
        first = folder == start
        level = 0 if first else len(Path(folder).relative_to(start).parts)
        below[:] = sorted(name for name in below if not name.startswith((".", "__")))
        if first:
            below[:] = [name for name in below if name.startswith(begun)]
        if level >= DEPTH or RUN in names:
            below.clear()
        yield folder, [name for name in names if not first or name.startswith(begun)]


_runs = _below("runs", lambda folder, names: [""] if RUN in names else [])

SPLITS = files(".json", home="splits")
SCORES = files(".npz", home="scores")
EMBEDDINGS = files(".npy", home="embeddings")
TABLES = files(".csv", ".json", ".jsonl")
METRICS = modules("fmsel.metrics", dash=True)
STRATEGIES = modules("fmsel.selection")

# Parameter, or command and parameter -> what completes it; tests compare the names.
VALUES: dict[str, Completer] = {
    "agreement": words("majority", "all"),
    "augment": modules("fmsel.training.augment.strong", dash=True),
    "dataset": modules("fmsel.datasets", without="folder"),
    "device": words("auto", "cpu", "cuda"),
    "embeddings": EMBEDDINGS,
    "encoder": modules("fmsel.embeddings", without="timm", more="timm: run:"),
    "exclude": files(".json", ".npy", ".txt", ".csv"),
    "export formats": words("safetensors", "onnx"),
    "format": words("npy", "txt", "fixmatch", "usb"),
    "gallery scores": SCORES,
    "groups": files(".csv"),
    "init": runs,
    "journal": files(".jsonl"),
    "labeled": SPLITS,
    "labels import file": TABLES,
    "loop labels": either(words("dataset"), files(".csv", ".json", ".jsonl")),
    "metric": METRICS,
    "mode": words("auto", "eager", "graph", "compile", "fused"),
    "optimizer": words("sgd", "adam"),
    "precision": words("auto", "fp32", "bf16"),
    "preset": words("paper", "fast", "cpu", "smoke"),
    "published": words(*(f"fixmatch-{number}" for number in range(8))),
    "reference": files(".npz", ".csv"),
    "report paths": either(runs, SCORES, SPLITS),
    "rule": modules("fmsel.fixmatch.rules"),
    "run": runs,
    "runs": runs,
    "schedule": words("fixmatch", "sgdr", "plateau", "constant"),
    "score metric": modules("fmsel.metrics", dash=True, more="default cheap all"),
    "score published": words(),
    "scores": SCORES,
    "scores categories path": SCORES,
    "scores report path": SCORES,
    "scores suspects path": SCORES,
    "source": files(".npy", ".npz", ".parquet"),
    "split": SPLITS,
    "split check file": SPLITS,
    "split export file": SPLITS,
    "split import file": files(".npy", ".txt", ".json"),
    "split show file": SPLITS,
    "start": STRATEGIES,
    "strategy": STRATEGIES,
}
