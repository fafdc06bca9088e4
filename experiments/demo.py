"""The main job, end to end, on the built-in digits: score, split, train, compare."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from fmsel.datasets import ImageDataset, load_dataset
from fmsel.experiments.compare import Comparison, compare_runs
from fmsel.experiments.replicates import plan_replicates, train_replicates
from fmsel.fixmatch.presets import CPU_TINY
from fmsel.fixmatch.run.job import Options
from fmsel.metrics.evidence import Settings
from fmsel.metrics.scores import Scores
from fmsel.metrics.scores.score import score_dataset
from fmsel.selection.mixed import Mixed
from fmsel.selection.random_stratified import RandomStratified
from fmsel.selection.split import Split, make_split

SEED = 100  # of the first replicate; no choice was made by looking at these seeds
LABELS_PER_CLASS = 4
REPLICATES = 4  # three are the fewest that give an interval, and a wide one
# Sixteen runs in a few minutes: a quarter of the preset's arithmetic a step.
RECIPE = replace(CPU_TINY, arch="small-conv-16", batch=16, steps=500, eval_every=50)


@dataclass(frozen=True, kw_only=True, eq=False)
class Demo:
    """What `run_demo` made: the train part, its scores, and the comparison of all runs."""

    data: ImageDataset
    scores: Scores
    comparison: Comparison


def run_demo(
    out: Path,
    *,
    device: str = "auto",
    say: Callable[[str], None] = lambda line: None,
) -> Demo:
    """Score digits; train FixMatch and supervised-only on random and on mixed splits; compare.

    Both kinds of split have four labels a class, so that only the choice within a class differs:
    mixed has two prototypes and two outliers, random a draw of its own for each replicate. Both
    are oracles; n = `REPLICATES` runs of each, with and without the unlabelled images. Files go
    into `out`, by the names that the commands use, over those of an earlier demo.

    Args:
        say: told a line about each finished step.
    Raises:
        DeviceError, OutputError: unusable `device` or `out`.
        Interrupted: Ctrl-C, SIGTERM, SIGUSR1 or SIGHUP.
    """
    data, test = load_dataset("digits"), load_dataset("digits", "test")
    scores = score_dataset(data, settings=Settings(device=device, say=say))
    scores.save(out / "scores" / "digits.npz", force=True)
    runs = []
    for name, split in _splits(data, scores).items():
        split.save(out / "splits" / f"{name}.json", force=True)
        for supervised_only in (False, True):
            called = f"{name}-supervised" if supervised_only else name
            planned = plan_replicates(
                split,
                data,
                name=called,
                seed=SEED,
                count=REPLICATES,
                root=out / "runs",
                split_name=name,
            )
            options = Options(supervised_only=supervised_only, device=device, force=True)
            for run, summary in train_replicates(planned, data, test, RECIPE, options):
                say(f"{run.out.name}: {summary['accuracy']:.1%} in {summary['seconds']:.0f} s")
                runs.append(run.out)
    return Demo(data=data, scores=scores, comparison=compare_runs(runs))


def _splits(data: ImageDataset, scores: Scores) -> dict[str, Split]:
    budget = LABELS_PER_CLASS * data.n_classes
    return {
        "random": make_split(data, RandomStratified(), batch_size=budget),
        "mixed": make_split(data, Mixed(), batch_size=budget, scores=scores),
    }
