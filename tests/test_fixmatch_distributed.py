"""Two processes train as one does: their steps in float64, and whole runs from the shell."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import two_processes
from safetensors.torch import load_file
from torch import Tensor, nn
from two_processes import (
    CASES,
    TORCHRUN,
    WORDS,
    command,
    course,
    gpu_course,
    need_too_much,
    norm_course,
    run_both,
    session_of,
    split_of_digits,
    stop_me,
)

from fmsel.errors import DeviceError
from fmsel.training.engine.distributed import (
    ALONE,
    GlobalBatchNorm2d,
    joined,
    with_global_batch_norm,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where one process has trained, then two; the working folder meanwhile."""
    home = tmp_path_factory.mktemp("distributed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("FMSEL_CACHE", str(home / "cache"))
        patch.setenv("OMP_NUM_THREADS", "1")
        split_of_digits().save(home / "four.json")
        assert command("alone") == 0
        assert command("alone-then-pair", at=4, happens=stop_me) == 130
        run_both(home)
        yield home


@pytest.fixture(scope="module")
def pair(folder: Path) -> list[dict[str, Any]]:
    """What the two processes found."""
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("case", CASES)
def test_steps_of_two_processes_equal_those_of_one(case: str, pair: list[dict[str, Any]]) -> None:
    """Weights, momentum, average, states, meters and evaluation, to a relative 1e-9."""
    expected = course(case, ALONE)
    first, second = (each["cases"][case] for each in pair)
    assert first.keys() == second.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, Tensor):
            assert torch.equal(first[name], second[name]), name
            torch.testing.assert_close(first[name], value, rtol=1e-9, atol=1e-12, msg=name)
        else:
            assert first[name] == second[name], name
            assert first[name] == (value if value is None else pytest.approx(value, rel=1e-9))
    if case == "fixed":
        assert 0 < expected["mask_rate"] < 1
    if case == "wide-resnet":  # the others give one class only
        assert expected["/history"].shape == (1, 43) and len(expected["/history"].unique()) > 1


def test_batch_norm_of_two_processes_is_that_of_one(pair: list[dict[str, Any]]) -> None:
    expected = norm_course(nn.BatchNorm2d(5, momentum=0.3), ALONE)
    for each in pair:
        assert len(each["norm"]) == len(expected) == 2 + 2 + 5
        for got, value in zip(each["norm"], expected, strict=True):
            torch.testing.assert_close(got, value, rtol=1e-12, atol=1e-12)


def test_a_nan_in_one_process_freezes_all_at_the_same_step(pair: list[dict[str, Any]]) -> None:
    assert [each["frozen"] for each in pair] == [(3, False), (3, False)]


def test_an_error_in_one_process_is_raised_in_all(pair: list[dict[str, Any]]) -> None:
    assert [each["error"] for each in pair] == ["process 1 does not like it"] * 2


def weights(out: Path) -> dict[str, Tensor]:
    return load_file(sorted((out / "checkpoints").iterdir())[-1])


@pytest.mark.usefixtures("pair")
@pytest.mark.parametrize("out", ["pair", "alone-then-pair", "pair-then-alone"])
def test_runs_of_two_processes_equal_that_of_one(folder: Path, out: str) -> None:
    """In float32, whole or stopped and resumed with another number: to 1e-4 after ten steps."""
    if out == "pair-then-alone":
        assert command(out, "--resume") == 0
    expected, got = weights(folder / "alone"), weights(folder / out)
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=1e-4, atol=1e-4, msg=name)
    rows = [
        [json.loads(line) for line in (folder / each / "metrics.jsonl").read_text().splitlines()]
        for each in ("alone", out)
    ]
    assert [row["step"] for row in rows[1]] == [5, 10]
    for one, two in zip(*rows, strict=True):
        for key in ("loss", "mask_rate", "ema_accuracy"):
            assert two[key] == pytest.approx(one[key], abs=1e-3), key
    config = json.loads((folder / out / "config.json").read_text())
    assert config["processes"] == (1 if out == "alone-then-pair" else 2)


@pytest.mark.usefixtures("pair")
def test_the_first_process_speaks_and_each_for_its_own_device(folder: Path) -> None:
    first, second = ((folder / f"{rank}.txt").read_text() for rank in (0, 1))
    codes = [0, 2, 2, 0, 130, 2]
    for each in (first, second):
        assert json.loads(each.splitlines()[-1]) == codes
    assert first.count("wrote pair\n") == 1
    assert "error: pair already exists" in first
    assert "error: batch=15 cannot be shared evenly by 2 processes; use a multiple of 2" in first
    assert "stopped: the run is saved at step 4 of 10" in first
    assert "error: another process of this run ended; its message says why" in first
    assert "more were needed; lower --batch (16) or --mu (2)" in second
    assert len(second.splitlines()) == 2


def test_sigterm_to_torchrun_saves_and_stops(folder: Path) -> None:
    """Torchrun passes the signal on to both processes."""
    words = [*WORDS, "--out", "endless", "--steps", "1000000", "--eval-every", "2"]
    process = subprocess.Popen(
        [*TORCHRUN, "-m", "fmsel.cli", *words], stderr=subprocess.PIPE, text=True
    )
    checkpoints = folder / "endless" / "checkpoints"
    while process.poll() is None and not list(checkpoints.glob("*.safetensors")):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert said.count("stopped: the run is saved at step") == 1
    step = int(sorted(checkpoints.iterdir())[-1].stem[5:])
    assert f"is saved at step {step:,} of 1,000,000 in endless" in said


def test_out_of_memory_keeps_the_last_checkpoint(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("full", at=7, happens=need_too_much) == 2
    assert "1,125,899,906,842,624 bytes more were needed" in capsys.readouterr().err
    assert [path.stem for path in (folder / "full" / "checkpoints").iterdir()] == ["step-00000005"]


@pytest.mark.parametrize("several", [False, True])
def test_a_process_of_several_ends_without_pythons_own_end(several: bool) -> None:
    """In which threads of torch's abort it now and then, after all is written."""
    code = (
        "import atexit, sys, torch\n"
        "from fmsel.cli.app import command\n"
        "atexit.register(print, 'its own end')\n"
        "sys.argv = ['fmsel', 'split', 'show', 'nothing.json']\n"
        "command()"
    )
    started = {"TORCHELASTIC_RUN_ID": "one", "RANK": "0", "WORLD_SIZE": "2"} if several else {}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **started},
    )
    assert done.returncode == 2 and done.stderr.startswith("error: ")
    assert done.stdout == ("" if several else "its own end\n")


def test_every_process_needs_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "3", "LOCAL_RANK": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(DeviceError, match=r"use --nproc-per-node 2$"), joined("auto"):
        pass
    with pytest.raises(DeviceError, match=r"cpu or cuda, not on 'cuda:1'$"), joined("cuda:1"):
        pass


def test_batch_norms_are_replaced_with_their_state() -> None:
    """Everywhere in a network, in its dtype; evaluation needs no other process."""
    model = session_of("wide-resnet", ALONE).learner.model.double()
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    model(images)
    state, expected = {k: v.clone() for k, v in model.state_dict().items()}, model.eval()(images)
    changed = with_global_batch_norm(model)
    norms = [m for m in changed.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 25 and all(isinstance(m, GlobalBatchNorm2d) for m in norms)
    assert changed.state_dict().keys() == state.keys()
    assert torch.equal(changed.eval()(images), expected)


@pytest.mark.gpu
def test_steps_of_two_gpus_equal_those_of_one(tmp_path: Path) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    done = subprocess.run(
        [*TORCHRUN, two_processes.__file__, str(tmp_path), "cuda"], check=False, timeout=300
    )
    assert done.returncode == 0
    expected, got = gpu_course(ALONE), torch.load(tmp_path / "0.pt")
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(got[name].cpu(), value.cpu(), rtol=2e-3, atol=2e-3, msg=name)
