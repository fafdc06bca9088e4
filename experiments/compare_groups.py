"""Runs in, groups of replicates out; runs that cannot be compared are refused by name."""

import json
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from fmsel.artefacts import read_json
from fmsel.errors import ArtefactError, OptionError
from fmsel.fixmatch.run.record import CONFIG, SPLIT, SUMMARY, RunRecord
from fmsel.selection.pool import strategy_class
from fmsel.selection.pool.within import SUFFIX
from fmsel.selection.split import Split
from fmsel.selection.split.make import as_parameters, is_redrawn

STRATIFIED = "random per class"  # what readers see for the strategy random_stratified


@dataclass(frozen=True, kw_only=True, eq=False)
class FinishedRun:
    """A finished run that was evaluated, the split it was trained on, and its test part."""

    record: RunRecord
    split: Split
    test: Mapping[str, Any]  # n, images_sha256, labels_sha256
    accuracy: float  # reported, 0..1


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """Replicates of one experiment: same kind of split, same training, other seeds.

    Attributes:
        name: the strategy, with what tells it from other groups of the same strategy.
        mode: "fixmatch" or "supervised".
        runs: at least one, ordered by training seed.
    """

    name: str
    mode: str
    runs: tuple[FinishedRun, ...]

    def __len__(self) -> int:
        return len(self.runs)

    @property
    def split(self) -> Split:
        """The split of the first replicate; of a random strategy, one draw of several."""
        return self.runs[0].split

    @property
    def accuracies(self) -> list[float]:
        """(n,) reported accuracies, in 0..1."""
        return [run.accuracy for run in self.runs]


def find_runs(paths: Iterable[str | Path]) -> list[FinishedRun]:
    """Load runs: each path is a run folder, a folder of run folders, or a pattern such as `a*`.

    Those that are not finished or have no accuracy are left out; a warning names them.

    Raises:
        ArtefactError: a path leads to no run, a run is broken, or none is left.
    """
    folders = {folder.resolve(): folder for path in paths for folder in _folders(Path(path))}
    found, left_out = list[FinishedRun](), list[Unmeasured]()
    for folder in folders.values():
        try:
            found.append(load_run(folder))
        except Unmeasured as error:
            left_out.append(error)
    if left_out and not found:
        several = f"none of the {len(left_out)} runs can be compared; the first: "
        raise ArtefactError(f"{several if len(left_out) > 1 else ''}{left_out[0]}")
    for kind in (Unfinished, Unmeasured):
        if names := [str(each.run) for each in left_out if type(each) is kind]:
            warnings.warn(f"left out {', '.join(names)}: {kind.REASON}", stacklevel=2)
    return found


def group_runs(runs: Sequence[FinishedRun]) -> tuple[Group, ...]:
    """Sort runs into groups of replicates.

    Raises:
        OptionError: two runs differ in images, test part, training or number of labels, or two
            replicates are not independent (same training seed, or one draw of a random split used
            twice).
    """
    for other in runs[1:]:
        _check_comparable(runs[0], other)
    groups: dict[tuple[str, tuple[str, ...]], list[FinishedRun]] = defaultdict(list)
    for each in sorted(runs, key=_seed):
        groups[_experiment(each)].append(each)
    for members in groups.values():
        for a, b in combinations(members, 2):
            _check_independent(a, b)
    names = _names(runs)
    return tuple(
        Group(name=names[choice], mode=mode, runs=tuple(members))
        for (mode, choice), members in groups.items()
    )


class Unmeasured(ArtefactError):
    """A run that has no accuracy to compare."""

    REASON = "no accuracy, as the test part has no labels"

    def __init__(self, run: Path, sentence: str) -> None:
        super().__init__(sentence)
        self.run = run


class Unfinished(Unmeasured):
    """A run that was stopped, or is still at work."""

    REASON = "not finished; to go on: `fmsel train --resume`"


class Part(NamedTuple):
    """Runs that can be compared with one another, and why not with those before."""

    runs: list[FinishedRun]
    reason: str  # the sentence that refuses its first run beside the first part's; "" of the first


def comparable_parts(runs: Iterable[FinishedRun]) -> list[Part]:
    """Sort runs into as few parts as the order they come in allows; no run is refused."""
    parts: list[Part] = []
    for each in runs:
        reasons = []
        for part in parts:
            try:
                _check_joins(part.runs, each)
            except OptionError as error:
                reasons.append(str(error))
                continue
            part.runs.append(each)
            break
        else:
            parts.append(Part([each], reasons[0] if reasons else ""))
    return parts


def load_run(folder: Path) -> FinishedRun:
    """One run folder.

    Raises:
        Unmeasured: it is not finished, or has no accuracy.
        ArtefactError: it is no run, or broken.
    """
    if (folder / CONFIG).exists() and not (folder / SUMMARY).exists():
        raise Unfinished(
            folder, f"the run {folder} is not finished; go on with `fmsel train --resume`"
        )
    record = RunRecord.load(folder)
    if record.accuracy is None:
        raise Unmeasured(
            folder,
            f"{folder} has no accuracy, as its data set has no labelled test part; "
            "compare runs that were evaluated",
        )
    return FinishedRun(
        record=record,
        split=Split.load(folder / SPLIT),
        test=_test_part(folder / CONFIG),
        accuracy=record.accuracy,
    )


def _test_part(config: Path) -> Mapping[str, Any]:
    """What a run was evaluated on, without which its accuracy says nothing beside another's."""
    test = read_json(config, "run configuration").get("test")
    if not isinstance(test, Mapping) or not {"n", "images_sha256", "labels_sha256"} <= set(test):
        raise ArtefactError(
            f"{config} does not tell the test part that the run was evaluated on; "
            "train it again with this fmsel"
        )
    return test


def _folders(path: Path) -> Iterator[Path]:
    """The run folders that `path` stands for."""
    if path.is_dir():
        matches = [path]
    else:
        anchor = Path(path.anchor)
        matches = sorted(anchor.glob(str(path.relative_to(anchor)))) if path.name else []
    found = [run for match in matches for run in _runs_in(match)]
    if not found:
        raise ArtefactError(
            f"{path} is no run and holds none (a run is a folder with a config.json); "
            "make one with `fmsel train`"
        )
    yield from found


def _runs_in(folder: Path) -> list[Path]:
    if (folder / "config.json").exists():
        return [folder]
    return sorted(config.parent for config in folder.glob("*/config.json"))


def _check_comparable(first: FinishedRun, other: FinishedRun) -> None:
    a, b = first.split, other.split
    both = f"{first.record.path} and {other.record.path}"
    if a.images_sha256 != b.images_sha256:
        raise OptionError(
            f"{both} were trained on different images ({a.n} of {a.dataset}, {b.n} of {b.dataset}; "
            "their sha256 differ); compare runs on one data set"
        )
    if len(a) != len(b):
        raise OptionError(
            f"{both} have unequal budgets, {len(a)} and {len(b)} labels; "
            "compare runs with equally many labels"
        )
    if first.test != other.test:
        raise OptionError(
            f"{both} were evaluated on different test parts ({first.test['n']} and "
            f"{other.test['n']} images; their sha256 differ); compare runs with one test part"
        )
    if (first.record.init is None) != (other.record.init is None):
        raise OptionError(
            f"one of {both} started from another run's weights and one afresh; compare runs that "
            "started alike"
        )
    recipes = first.record.config.as_dict(), other.record.config.as_dict()
    for name in recipes[0]:
        was, now = (recipe[name] for recipe in recipes)
        if was != now:
            raise OptionError(
                f"{both} were trained differently, with {name} = {was} and {name} = {now}; "
                "compare runs of one recipe"
            )


def _check_joins(runs: Sequence[FinishedRun], new: FinishedRun) -> None:
    """Refuse a run beside others, as `group_runs` would, which takes these."""
    _check_comparable(runs[0], new)
    for other in runs:
        if _experiment(other) == _experiment(new):
            _check_independent(*sorted((other, new), key=_seed))


def _check_independent(a: FinishedRun, b: FinishedRun) -> None:
    """Replicates need seeds of their own, or their spread says too little."""
    both = f"{a.record.path} and {b.record.path}"
    same_split = a.split.sha256 == b.split.sha256
    if a.record.seed == b.record.seed:
        of = "the same" if same_split else "another draw of the"
        again = "train it again with another --seed"
        if is_redrawn(a.split):
            again = "take others that `fmsel train --seeds` makes"
        raise OptionError(
            f"{both} are no independent replicates: both are {a.record.mode} runs "
            f"with training seed {a.record.seed}, on {of} {a.split.strategy} split; "
            f"leave one out, or {again}"
        )
    if same_split and is_redrawn(a.split):
        raise OptionError(
            f"{both} share one draw of the {a.split.strategy} split, so their spread leaves "
            "out the luck of the draw; train each on a draw of its own "
            "(`fmsel train --seeds` makes them, a larger number adds more)"
        )


def _seed(run: FinishedRun) -> int:
    return run.record.seed


def _experiment(run: FinishedRun) -> tuple[str, tuple[str, ...]]:
    """What replicates have in common: how they were trained, and how their images were chosen."""
    return run.record.mode, _choice(run.split)


def _choice(split: Split) -> tuple[str, ...]:
    """What replicates have in common: how the images were chosen and from what, whatever the seed.

    Where nothing tells how, as of an imported list, it is the very split.
    """
    made_from = json.dumps([split.parameters, split.provenance], sort_keys=True, default=dict)
    known = split.strategy != "imported" and split.labels is None
    return (split.strategy, made_from, "" if known else split.sha256)


def _names(runs: Sequence[FinishedRun]) -> dict[tuple[str, ...], str]:
    """A short name for each choice: its strategy, and what tells it from others of the same one."""
    splits = {_choice(each.split): each for each in runs}
    names = {choice: _told_apart(each, runs) for choice, each in splits.items()}
    shared = Counter(names.values())
    return {
        choice: name if shared[name] == 1 else f"{name} #{splits[choice].split.sha256[:6]}"
        for choice, name in names.items()
    }


def _told_apart(run: FinishedRun, others: Iterable[FinishedRun]) -> str:
    split = run.split
    if split.strategy == "imported":
        return str(run.record.split.get("name", split.strategy))
    rivals = [each.split.parameters for each in others if each.split.strategy == split.strategy]
    strategy = split.strategy.removesuffix(SUFFIX)
    defaults = as_parameters(strategy_class(strategy)())
    told = [
        _in_words(name, value)
        for name, value in _own(split.parameters).items()
        if value != defaults.get(name) and any(_own(rival).get(name) != value for rival in rivals)
    ]
    name = STRATIFIED if split.strategy == "random_stratified" else split.strategy
    return f"{name} ({', '.join(told)})" if told else name


def _own(parameters: Mapping[str, object]) -> Mapping[str, object]:
    """The parameters of a strategy, also where it ran within classes."""
    inner = parameters.get("inner")
    return inner if isinstance(inner, Mapping) else parameters


def _in_words(name: str, value: object) -> str:
    """A parameter for readers: `ratio 0.75`, `band 10-60`, `conf + agr`."""
    if name == "metrics" and isinstance(value, list):
        return " + ".join(map(str, value))
    if name == "outlier_band" and isinstance(value, Mapping):
        return f"band {'-'.join(map(_number, value.values()))}"
    return f"{name} {_number(value)}"


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
