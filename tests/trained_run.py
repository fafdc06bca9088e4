"""A short run on digits that tests look at, each in a copy of its own where they harm it.

A test module that uses it begins with `pytest_plugins = ["trained_run"]`. It imports this
module before pytest does, hence PYTEST_DONT_REWRITE.
"""

import json
import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from fmsel.datasets import ImageDataset, load_dataset
from fmsel.fixmatch.presets import SMOKE
from fmsel.fixmatch.run import train
from fmsel.fixmatch.run.folder import RunFolder
from fmsel.fixmatch.run.session import Session
from fmsel.selection.random_stratified import RandomStratified
from fmsel.selection.split import Split, make_split
from fmsel.training.networks.build import build_network

OPTIONS: dict[str, Any] = {"seed": 3, "device": "cpu", "precision": "fp32", "progress": False}
CONFIG = "config.json"
CLOCKS = ("seconds", "it_per_s", "images_per_s")


@pytest.fixture(scope="session")
def data() -> ImageDataset:
    return load_dataset("digits")


@pytest.fixture(scope="session")
def split(data: ImageDataset) -> Split:
    return make_split(data, RandomStratified(), batch_size=40)


@pytest.fixture(scope="session")
def held_out(data: ImageDataset) -> ImageDataset:
    return load_dataset("digits", "test")


@pytest.fixture(scope="session")
def trained(
    data: ImageDataset,
    split: Split,
    held_out: ImageDataset,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Evaluated at steps 5, 10, 15 and 20, with a history."""
    out = tmp_path_factory.mktemp("study") / "first"
    train(split, data, held_out, SMOKE, out, **OPTIONS, keep_history=True)
    return out


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run without kept outputs, to be harmed."""
    return shutil.copytree(
        trained, tmp_path / "first", ignore=shutil.ignore_patterns("outputs.npz")
    )


def checkpoint_of(run: Path) -> dict[str, Any]:
    saved = RunFolder(run).restore(torch.device("cpu"))
    assert saved is not None
    return saved[0]


def averaged(learner: Mapping[str, Any]) -> nn.Module:
    """The averaged network of a checkpoint, each parameter put in its place by hand."""
    network: nn.Module = build_network(
        "small-conv-8", n_classes=10, image_side=8, bn_momentum=0.05, seed=9
    )
    network.load_state_dict(learner["model"])
    for name, parameter in network.named_parameters():
        parameter.data.copy_(learner["ema"][name])
    return network.eval()


def plain_logits(network: nn.Module, data: ImageDataset) -> npt.NDArray[np.float32]:
    """(N, C), in one batch."""
    pixels = torch.tensor(data.images.transpose(0, 3, 1, 2) / 127.5 - 1, dtype=torch.float32)
    with torch.no_grad():
        logits: npt.NDArray[np.float32] = network(pixels).numpy()
    return logits


def rows_of(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in CLOCKS} for row in rows]


def assert_equal_weights(first: Mapping[str, Any], second: Mapping[str, Any]) -> None:
    """Bit for bit: weights, average and momentum."""
    for part in ("model", "ema"):
        assert first[part].keys() == second[part].keys()
        for name, value in first[part].items():
            assert torch.equal(value, second[part][name]), name
    for key, state in first["optimizer"].items():
        buffers = state["momentum_buffer"], second["optimizer"][key]["momentum_buffer"]
        assert torch.equal(*buffers)


class Killed(BaseException):
    """Nothing is saved once this is raised."""


def stop_after(steps: int, monkeypatch: pytest.MonkeyPatch, how: str = "signal") -> None:
    """Send this process a signal during step number `steps`, or end the run there unsaved."""
    advance = Session.advance

    def advance_and_signal(self: Session) -> None:
        advance(self)
        if self.step == steps and how == "killed":
            raise Killed
        if self.step == steps:
            os.kill(os.getpid(), signal.SIGUSR1)

    monkeypatch.setattr(Session, "advance", advance_and_signal)
