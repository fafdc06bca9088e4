"""The command lines that make a split, a run or a loop again, from what it records itself."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from fmsel.datasets import Source
from fmsel.fixmatch.config import FixMatchConfig
from fmsel.fixmatch.idle import idle_settings
from fmsel.fixmatch.presets import PRESETS, preset
from fmsel.selection.pool import strategy_class, strategy_names
from fmsel.selection.pool.within import SUFFIX
from fmsel.selection.split import Split
from fmsel.selection.split.inputs import EMBEDDINGS_FOLDER, SCORES_FOLDER
from fmsel.selection.split.make import as_parameters

# Switches of `fmsel train` whose two names are not --NAME and --no-NAME.
SWITCHES = {"hard": ("--hard", "--soft"), "decay_all": ("--decay-all", "--decay-kernels")}
OWN_OPTIONS = ("metrics", "outlier_band", "clusters")  # of `fmsel split`, beside --set
SPLITS_FOLDER = Path("splits")  # where `fmsel split` writes


class Again(NamedTuple):
    """A command line, quoted for a shell, and what it needs beside the data set."""

    line: str
    needs: tuple[str, ...] = ()  # a sentence each


def split_again(split: Split, out: str) -> Again:
    """How to make a split again.

    Args:
        out: the path to write to.
    Returns:
        A line that makes the very same choice where its inputs are the same. Empty where no command
        can: a strategy of another program.
    """
    source = Source.from_dict(split.source)
    needs = tuple(_split_needs(split))
    if split.strategy == "imported":
        words = ["fmsel", "split", "import", str(split.provenance.get("file", "FILE"))]
        words += _dataset(source)
        if kind := split.provenance.get("format"):
            words += ["--format", str(kind)]
        return Again(shlex.join([*words, "--out", out]), needs)
    strategy = split.strategy.removesuffix(SUFFIX)
    if strategy not in strategy_names():
        return Again(
            "",
            (
                *needs,
                f"{split.strategy} is no strategy of this fmsel.",
            ),
        )
    words = ["fmsel", "split", *_what(split, strategy), "--seed", str(split.seed)]
    words += [*_evidence(split, strategy), *_dataset(source), "--out", out]
    return Again(shlex.join(words), needs)


def _what(split: Split, strategy: str) -> list[str]:
    """The strategy, its budget and its parameters."""
    held = split.provenance.get("labeled", {}).get("labels", 0)
    new, parameters = len(split) - held, dict(split.parameters)
    if strategy == "published":
        return ["--published", str(parameters.get("set")), "--budget", str(new)]
    words = ["--strategy", strategy, "--budget", str(new)]
    if split.strategy.endswith(SUFFIX):
        parameters = dict(parameters.get("inner", {}))
        words[2:] = ["--per-class", str(new // max(len(split.class_counts), 1))]
    defaults = as_parameters(strategy_class(strategy)())
    for name, value in parameters.items():
        if value != defaults.get(name):
            words += _parameter(name, value)
    return words


def _parameter(name: str, value: Any) -> list[str]:
    if name == "metrics":
        return [word for metric in value for word in ("--metric", str(metric))]
    text = f"{value['start']!r}-{value['stop']!r}" if isinstance(value, Mapping) else str(value)
    if isinstance(value, list):
        text = ",".join(map(str, value))
    if name in OWN_OPTIONS:
        return [f"--{name.replace('_', '-')}", text]
    return ["--set", f"{name}={text}"]


def _evidence(split: Split, strategy: str) -> list[str]:
    """The files that the choice read or heeded."""
    made_from, words = split.provenance, list[str]()
    if "scores" in made_from:
        words += ["--scores", str(SCORES_FOLDER / str(made_from["scores"]))]
    if file := made_from.get("embeddings", {}).get("file"):
        words += ["--embeddings", str(EMBEDDINGS_FOLDER / str(file))]
    if run := made_from.get("run", {}).get("run"):
        words += ["--run", f"runs/{run}"]
    return words + _heeded(made_from)


def _heeded(record: Mapping[str, Any]) -> list[str]:
    """Labels held, exclusions and groups: splits by where they are written, lists by their name."""
    words = []
    for option, file in record.get("files", {}).items():
        folder = SPLITS_FOLDER if str(file).endswith(".json") else Path()
        words += [f"--{option}", str(folder / str(file))]
    if alike := record.get("near_duplicates"):
        words += ["--near-duplicates", repr(alike["cosine"])]
    return words


def _split_needs(split: Split) -> Iterator[str]:
    made_from = split.provenance
    if split.labels is not None:
        yield (
            "People gave its labels: the command makes the choice, and the file of the split keeps "
            "the labels."
        )
    if run := made_from.get("run", {}):
        yield (
            f"The run {run.get('run')} must lie in runs/, at step {run.get('step')} (config.json "
            f"sha256 {str(run.get('config_sha256'))[:12]}…)."
        )
    if split.strategy == "imported":
        yield f"The file's sha256 is {made_from.get('sha256')}."
    yield from _heeded_needs(made_from)


def _heeded_needs(record: Mapping[str, Any]) -> Iterator[str]:
    if unnamed := {"labeled", "excluded", "groups"} & record.keys() - _named(record):
        yield f"It also heeded {', '.join(sorted(unnamed))}, whose files it does not name."


def _named(made_from: Mapping[str, Any]) -> set[str]:
    """Which of labels held, exclusions and groups an option of the command brings back."""
    options = {"labeled": "labeled", "exclude": "excluded", "groups": "groups"}
    named = {options.get(each, each) for each in made_from.get("files", {})}
    if "run" in made_from:
        named.add("labeled")
    return named | ({"groups"} if "near_duplicates" in made_from else set())


def _dataset(source: Source) -> list[str]:
    return ["--dataset", *shlex.split(source.arguments())]


def run_again(config: Mapping[str, Any], split: str, out: str) -> Again:
    """How to train a run again.

    Args:
        config: its config.json.
        split: path of the split that it learned from.
        out: the folder to write to.
    """
    device = "cpu" if str(config["device"]).startswith("cpu") else "cuda"
    words = ["fmsel", "train", "--split", split, "--seed", str(config["seed"])]
    words += [*_recipe(config), "--device", device, "--precision", str(config["precision"])]
    if mode := config.get("execution"):
        words += ["--mode", str(mode)]
    flags = {
        "--supervised-only": config["mode"] == "supervised",
        "--deterministic": config.get("deterministic"),
        "--keep-history": config.get("history") is not None,
    }
    words += [flag for flag, given in flags.items() if given]
    needs = [*_recipe_needs(config)]
    if start := config.get("init"):
        words += ["--init", f"runs/{start['run']}"]
        needs.append(f"The run {start['run']} must lie in runs/, at step {start['step']}.")
    if (processes := config.get("processes", 1)) > 1:
        words[:1] = ["torchrun", "--nproc-per-node", str(processes), "-m", "fmsel.cli"]
    return Again(shlex.join([*words, "--out", out]), tuple(needs))


def _recipe(config: Mapping[str, Any]) -> list[str]:
    """The nearest preset, and every setting that counts in which the run differs from it."""
    nearest = _nearest(config)
    words = ["--preset", nearest.preset]
    for name, value in nearest.counting.items():
        words += _setting(name, value)
    return words


def _recipe_needs(config: Mapping[str, Any]) -> Iterator[str]:
    if idle := _nearest(config).idle:
        told = ", ".join(f"{name}={value}" for name, value in idle.items())
        yield f"{told} did nothing in this run and is no longer accepted, so it is left out."


class Nearest(NamedTuple):
    """A preset, and the values of the settings in which a run differs from it."""

    preset: str
    counting: dict[str, Any]
    idle: dict[str, Any]  # nothing in such a run reads them, and `fmsel train` refuses them


def _nearest(config: Mapping[str, Any]) -> Nearest:
    """The preset that lacks the fewest idle settings of a run, and then the fewest others."""
    values, side = FixMatchConfig.from_dict(config["fixmatch"]), config["dataset"]["image_side"]
    unread = idle_settings(values, config["mode"] == "supervised")
    found = []
    for name in PRESETS:
        differing = {
            each.name: getattr(values, each.name)
            for each in fields(FixMatchConfig)
            if getattr(preset(name, side), each.name) != getattr(values, each.name)
        }
        counting = {field: value for field, value in differing.items() if field not in unread}
        idle = {field: value for field, value in differing.items() if field in unread}
        found.append(Nearest(name, counting, idle))
    return min(found, key=lambda each: (len(each.idle), len(each.counting)))


def _setting(name: str, value: Any) -> list[str]:
    option = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [SWITCHES.get(name, (option, f"--no-{option[2:]}"))[not value]]
    return [option, str(value)]


def loop_again(record: Mapping[str, Any], side: int, out: str) -> Again:
    """How to make a loop again.

    Args:
        record: its loop.json.
        side: of its images, in pixels.
        out: the folder to write to.
    """
    training, start, heeded = record["training"], record["start"], record.get("restrictions") or {}
    source = Source.from_dict(record["dataset"]["source"])
    words = ["fmsel", "loop", *shlex.split(source.arguments())]
    settings: list[str] = []
    for name, each in {**record["strategies"], **(start or {})}.items():
        if name in record["strategies"]:
            words += ["--strategy", name]
        defaults = as_parameters(strategy_class(name)())
        for key, value in each["parameters"].items():
            if value != defaults.get(key):
                text = _parameter(key, value)[-1].removeprefix(f"{key}=")
                settings += ["--set", f"{name}.{key}={text}"]
    words += settings
    if start:
        words += ["--start", *start]
    words += ["--budgets", ",".join(map(str, record["budgets"]))]
    words += ["--seeds", str(len(record["seeds"]))]
    words += _recipe({**training, "dataset": {"image_side": side}})
    if embeddings := {**heeded, **(record["embeddings"] or {})}.get("embeddings"):
        words += ["--embeddings", str(EMBEDDINGS_FOLDER / str(embeddings["file"]))]
    if scores := record["scores"]:
        words += ["--scores", str(SCORES_FOLDER / str(scores["file"]))]
    words += _heeded(heeded)
    needs = [*_heeded_needs(heeded)]
    if record["labels"] == "people":
        words += ["--labels", "ANSWERS"]
        needs.append("People answered: give their file or folder of answers in place of ANSWERS.")
    words += ["--warm-start"] * training["warm_start"]
    words += ["--supervised-only"] * (training["mode"] == "supervised")
    words += ["--precision", training["precision"], "--out", out]
    return Again(shlex.join(words), tuple(needs))
