"""What only a GPU can show of whole runs: equal bits after stops, side by side, and when frozen."""

import dataclasses
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from made_session import made_session
from torch import Tensor

from fmsel.datasets import ImageDataset
from fmsel.errors import FmselError, Interrupted
from fmsel.fixmatch.config import FixMatchConfig
from fmsel.fixmatch.presets import SMOKE
from fmsel.fixmatch.run.folder import RunFolder
from fmsel.fixmatch.run.job import Job, Options
from fmsel.fixmatch.run.loop import train_jobs
from fmsel.fixmatch.run.session import Session
from fmsel.selection.split import Split
from fmsel.training.augment.strong import strong_names
from fmsel.training.engine.capture import WARM_UP
from fmsel.training.engine.device import Execution, Precision, configure_backends

pytest_plugins = ["trained_run"]
pytestmark = pytest.mark.gpu
STEPS, STOP = 16, 9  # after the recording of the first sitting, before that of the second
TINY = dataclasses.replace(SMOKE, steps=STEPS, eval_every=8, rule="freematch")
OPTIONS = Options(device="cuda", precision="bf16", deterministic=True, progress=False)
WIDE = FixMatchConfig(arch="wrn-28-1", steps=12, batch=8, mu=2, threshold=0.3, bn_momentum=0.1)


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    yield
    configure_backends(torch.device("cuda"), deterministic=False)


def bits(out: Path) -> dict[str, bytes]:
    """Every tensor of the last checkpoint."""
    saved = RunFolder(out).restore(torch.device("cpu"))
    assert saved is not None and saved[1]["step"] == STEPS
    return {name: raw(value) for name, value in tensors_in(saved[0], "")}


def tensors_in(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from tensors_in(each, f"{name}/{key}")


def raw(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize("execution", ["eager", "graph", "fused"])
@pytest.mark.parametrize("changes", [{}, {"augment": "ctaugment"}, {"arch": "wrn-28-1"}], ids=str)
def test_a_deterministic_run_goes_on_bit_for_bit(
    data: ImageDataset,
    split: Split,
    execution: str,
    changes: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second sitting runs its first steps as they are where the first replayed them."""
    config = dataclasses.replace(TINY, **changes)
    options = dataclasses.replace(OPTIONS, execution=execution)

    if execution == "fused" and config.arch != "wrn-28-1":
        pytest.skip("fused is graph for this network")

    def run(name: str, resume: bool = False) -> None:
        job = Job(split=split, out=tmp_path / name, seed=0, resume=resume)
        [(_, summary)] = train_jobs([job], data, None, config, options)
        assert summary["steps"] == STEPS

    run("whole")
    advance = Session.advance

    def stopping(self: Session) -> None:
        advance(self)
        if self.step == STOP:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "advance", stopping)
        with pytest.raises(Interrupted, match=f"saved at step {STOP} of {STEPS}"):
            run("cut")
    run("cut", resume=True)
    whole, cut = bits(tmp_path / "whole"), bits(tmp_path / "cut")
    assert whole.keys() == cut.keys()
    assert [name for name, value in whole.items() if cut[name] != value] == []


def test_runs_side_by_side_end_as_they_would_alone(
    data: ImageDataset, split: Split, tmp_path: Path
) -> None:
    """Three recordings in one process, replayed in turn on streams of their own."""
    for together in (1, 3):
        jobs = [
            Job(split=split, out=tmp_path / f"{together}-{seed}", seed=seed) for seed in range(3)
        ]
        assert len(list(train_jobs(jobs, data, None, TINY, OPTIONS, together))) == 3
    for seed in range(3):
        assert bits(tmp_path / f"1-{seed}") == bits(tmp_path / f"3-{seed}")


def session(execution: Execution, config: FixMatchConfig, precision: Precision = "bf16") -> Session:
    return made_session("cuda", execution, config, precision=precision, side=16)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("execution", ["graph", "compile"])
def test_a_replayed_step_freezes_at_a_bad_loss(execution: Execution, optimizer: str) -> None:
    """The fused optimisers obey the guard in a replay; averages and statistics stay too."""
    config = dataclasses.replace(WIDE, arch="small-conv-4", optimizer=optimizer, lr=0.001)
    made = session(execution, config)
    for _ in range(WARM_UP + 2):
        made.advance()
    assert made.captured is not None and made.captured.graph is not None
    head = [p for p in made.learner.model.parameters() if p.ndim == 1][-1]
    with torch.no_grad():  # both finite, which their difference, a loss, is not
        head[0], head[1] = 3e38, -3e38
    before = {name: raw(value) for name, value in tensors_in(made.learner.state_dict(), "")}
    for _ in range(3):
        made.advance()
    after = {name: raw(value) for name, value in tensors_in(made.learner.state_dict(), "")}
    assert int(made.learner.guard.first_bad) == WARM_UP + 3
    assert [name for name, value in before.items() if after[name] != value] == []
    with pytest.raises(FmselError, match=f"nan or infinite at step {WARM_UP + 3} of 12"):
        made.check_finite()


def distance(first: Session, second: Session) -> float:
    """Of all weights together, relative to their norm."""
    one, other = (
        torch.cat([each.detach().double().flatten() for each in made.learner.model.parameters()])
        for made in (first, second)
    )
    return float((one - other).norm() / one.norm())


@pytest.mark.parametrize("execution", ["graph", "compile", "fused"])
def test_in_bf16_too_replayed_steps_are_the_eager_ones(execution: Execution) -> None:
    """The paper's kind of network: as near to fp32's weights as eager bf16 steps are."""
    fp32, eager, other = (
        session("eager", WIDE, "fp32"),
        *(session(way, WIDE) for way in ("eager", execution)),
    )
    for _ in range(8):
        for each in (fp32, eager, other):
            each.advance()
    assert 0 < distance(fp32, other) < 1.5 * distance(fp32, eager) < 0.05


@pytest.mark.parametrize("name", strong_names())
def test_batches_made_ahead_are_those_of_their_steps(name: str) -> None:
    """Whatever the augmentation, step k learns from batch k: equal bits without bf16's noise."""
    configure_backends(torch.device("cuda"), deterministic=True)
    config = dataclasses.replace(WIDE, arch="small-conv-4", augment=name)
    eager, graph = session("eager", config, "fp32"), session("graph", config, "fp32")
    for _ in range(WARM_UP + 4):
        eager.advance()
        graph.advance()
    assert graph.ahead is not None
    torch.testing.assert_close(graph.meters.sums, eager.meters.sums, rtol=1e-5, atol=1e-5)
