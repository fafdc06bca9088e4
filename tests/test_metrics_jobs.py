"""Evidence is planned, announced, made once and in order, cached job by job."""

import dataclasses
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import get_ident
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from fmsel.artefacts import cache_dir
from fmsel.datasets import ImageDataset, load_dataset
from fmsel.errors import OptionError
from fmsel.metrics.evidence import Settings, gather
from fmsel.metrics.evidence.jobs import gather as machinery
from fmsel.metrics.evidence.jobs.plan import Job, Plan
from fmsel.metrics.evidence.jobs.run import Advance, Arrays, job_names, run_jobs
from fmsel.metrics.evidence.jobs.speed import image_steps_per_second
from fmsel.metrics.evidence.jobs.store import load_arrays, save_arrays
from fmsel.metrics.scores.catalogue import DEFAULT, NOT_CHEAP, check_metrics, metric_names


@pytest.fixture(scope="module")
def small() -> ImageDataset:
    digits = load_dataset("digits")
    return dataclasses.replace(
        digits, images=digits.images[:120], labels=digits.labels[:120], ids=digits.ids[:120]
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    made_after: tuple[str, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)


Log = list[str]


def kind(
    monkeypatch: pytest.MonkeyPatch,
    log: Log,
    name: str,
    work: float,
    *needs: str,
    names: Mapping[Job, str] | None = None,
) -> None:
    """A kind of evidence that only writes down when it was planned and made."""

    def plan(data: ImageDataset, settings: Settings) -> Plan:
        log.append(f"plan {name}")
        return Plan(what=f"{name} things", work={(): work}, needs=needs, names=names or {})

    def make(data: ImageDataset, plan: Plan, settings: Settings, made: Mapping[str, Any]) -> Part:
        log.append(f"make {name}")
        return Part(made_after=tuple(made))

    module = ModuleType(name)
    module.plan, module.make = plan, make  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, f"fmsel.metrics.evidence.{name}", module)


def test_everything_is_planned_first_and_made_once_after_what_it_needs(
    small: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: Log = []
    kind(monkeypatch, log, "base", 1)
    kind(monkeypatch, log, "left", 1, "base")
    kind(monkeypatch, log, "right", 1, "left", "base")
    evidence = gather(small, ["right", "left", "right"], Settings(device="cpu"))
    assert log[:3] == ["plan right", "plan left", "plan base"]
    assert log[3:] == ["make base", "make left", "make right"]
    assert evidence.parts["right"].made_after == ("base", "left")
    assert evidence.closure(["right"]) == ("base", "left", "right")
    assert evidence.closure(["base"]) == ("base",)


def test_long_work_is_announced_with_its_time_and_short_work_is_not(
    small: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machinery, "image_steps_per_second", lambda *_: 5_000.0)
    said: list[str] = []
    settings = Settings(device="cpu", say=said.append)
    kind(monkeypatch, [], "brief", 500)
    gather(small, ["brief"], settings)
    assert said == []
    kind(monkeypatch, [], "hour", 18_000_000)
    gather(small, ["brief", "hour"], settings)
    assert said == [
        "to do: brief: brief things; about 1 s",
        "to do: hour: hour things; about 60 min",
        "in all about 60 min on this machine",
    ]
    kind(monkeypatch, [], "hour", 18_000_000, names={(): "not in the cache"})
    gather(small, ["hour"], settings)
    assert said[-1] == (
        "in all about 60 min on this machine; finished jobs are kept, so the same command goes on "
        "after Ctrl-C"
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "done before"),
        (0.1, "about 1 s"),
        (40, "about 40 s"),
        (100, "about 2 min"),
        (7200, "about 2.0 h"),
    ],
)
def test_times_are_said_in_fitting_units(seconds: float, words: str) -> None:
    assert machinery._about(seconds) == words


def counting(small: ImageDataset, count: int) -> tuple[Plan, Callable[[Job, Advance], Arrays], Log]:
    settings = Settings(device="cpu")
    jobs: list[Job] = [(i,) for i in range(count)]
    plan = Plan(
        what="numbers",
        work=dict.fromkeys(jobs, 10.0),
        names=job_names(jobs, small, settings, kind="test"),
    )
    log: Log = []

    def work(job: Job, advance: Advance) -> Arrays:
        advance(10)
        log.append(str(job[0]))
        return {"value": np.array(job[0] ** 2)}

    return plan, work, log


def test_a_job_that_fails_loses_none_that_are_done(small: ImageDataset) -> None:
    plan, work, log = counting(small, 5)
    assert len(plan.missing(cache=True)) == 5

    def fails(job: Job, advance: Advance) -> Arrays:
        if job == (3,):
            raise RuntimeError("no")
        return work(job, advance)

    with pytest.raises(RuntimeError, match="no"):
        run_jobs("test", plan, fails, Settings(device="cpu"))
    assert {"0", "1", "2"} <= set(log)
    done = set(log)
    assert {job[0] for job in plan.missing(cache=True)} == {
        i for i in range(5) if str(i) not in done
    }
    log.clear()
    finished = run_jobs("test", plan, work, Settings(device="cpu"))
    assert set(log) == {str(i) for i in range(5)} - done
    assert finished.from_cache == len(done)
    assert [int(finished.arrays[i,]["value"]) for i in range(5)] == [0, 1, 4, 9, 16]
    assert plan.missing(cache=True) == [] and len(plan.missing(cache=False)) == 5


def test_a_broken_cache_file_is_made_again(small: ImageDataset) -> None:
    plan, work, log = counting(small, 1)
    save_arrays(plan.names[0,], {"value": np.array(7), "seconds": np.array(2.5)})
    finished = run_jobs("test", plan, work, Settings(device="cpu"))
    assert log == [] and finished.seconds == 2.5
    (cache_dir() / "evidence" / f"{plan.names[0,]}.npz").write_bytes(b"PK\x03\x04 broken")
    assert load_arrays(plan.names[0,]) is None
    assert int(run_jobs("test", plan, work, Settings(device="cpu")).arrays[0,]["value"]) == 0
    assert log == ["0"]


def test_without_cache_nothing_is_read_or_written(small: ImageDataset) -> None:
    plan, work, log = counting(small, 1)
    for _ in range(2):
        run_jobs("test", plan, work, Settings(device="cpu", cache=False))
    assert log == ["0", "0"] and load_arrays(plan.names[0,]) is None


def test_cache_names_differ_by_all_that_outputs_depend_on(small: ImageDataset) -> None:
    settings = Settings(device="cpu", precision="fp32")
    relabelled = dataclasses.replace(small, labels=(small.labels + 1) % 10)
    other_pixels = dataclasses.replace(small, images=small.images // 2)
    unflipped = dataclasses.replace(small, weak=dataclasses.replace(small.weak, shift=2))
    names = [
        job_names([(0,), (1,)], small, settings, kind="test"),
        job_names([(0,)], relabelled, settings, kind="test"),
        job_names([(0,)], other_pixels, settings, kind="test"),
        job_names([(0,)], unflipped, settings, kind="test"),
        job_names([(0,)], small, dataclasses.replace(settings, seed=1), kind="test"),
        job_names([(0,)], small, dataclasses.replace(settings, precision="bf16"), kind="test"),
        job_names([(0,)], small, settings, kind="other"),
        job_names([(0,)], small, settings, kind="test", epochs=3),
    ]
    assert len({name for each in names for name in each.values()}) == 9


def test_jobs_run_in_threads_of_their_own_and_torch_gets_its_threads_back(
    small: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    plan, _, _ = counting(small, 4)
    inside: list[tuple[int, int]] = []

    def look(job: Job, advance: Advance) -> Arrays:
        inside.append((get_ident(), torch.get_num_threads()))
        return {}

    run_jobs("test", plan, look, Settings(device="cpu", cache=False))
    after = torch.get_num_threads()
    torch.set_num_threads(before)
    assert after == 2
    assert get_ident() not in {ident for ident, _ in inside} and {n for _, n in inside} == {1}


def test_the_rate_is_that_of_training(small: ImageDataset) -> None:
    """More than a network could do in a second is no rate, and unlabelled images have one too."""
    unlabelled = dataclasses.replace(small, labels=np.full(len(small), -1))
    assert 10 < image_steps_per_second(unlabelled, Settings(device="cpu")) < 10_000_000


def test_groups_of_metrics() -> None:
    assert check_metrics(["default"]) == DEFAULT
    assert set(check_metrics(["all"])) == set(metric_names())
    assert set(check_metrics(["cheap"])) == set(metric_names()) - set(NOT_CHEAP)
    assert check_metrics(["conf", "default", "conf"]) == (
        "conf",
        *(m for m in DEFAULT if m != "conf"),
    )
    assert check_metrics(["all"])[:4] == DEFAULT
    with pytest.raises(OptionError, match=re.escape("and the groups default, cheap, all")):
        check_metrics(["everything"])
