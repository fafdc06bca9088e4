"""Checkpoints come back bit for bit, or are refused."""

import copy
import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, nn

from fmsel.errors import ArtefactError, OutputError
from fmsel.training.engine.checkpoint import load_checkpoint, save_checkpoint

DTYPES = [
    torch.float32, torch.float64, torch.bfloat16, torch.float16,
    torch.int64, torch.int32, torch.uint8, torch.bool,
]  # fmt: skip
SHAPES: list[tuple[int, ...]] = [(), (0,), (0, 3), (1,), (2, 3, 4, 5)]


def assert_same(first: Any, second: Any) -> None:
    """Also the order of keys, the types of scalars, and how tensors lie in memory."""
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert list(first) == list(second)
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, list):
        for a, b in zip(first, second, strict=True):
            assert_same(a, b)
    elif isinstance(first, Tensor):
        assert (first.dtype, first.shape, first.stride()) == (
            second.dtype,
            second.shape,
            second.stride(),
        )
        assert torch.equal(first, second)
    else:
        assert first == second


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_kind_of_tensor_comes_back(
    shape: tuple[int, ...], dtype: torch.dtype, tmp_path: Path
) -> None:
    generator = torch.Generator().manual_seed(0)
    tensor = (1000 * torch.randn(shape, generator=generator, dtype=torch.float64)).abs().to(dtype)
    tensors = {"a": {0: tensor, 1: [tensor, None, 0.1, "x", True, 2**60]}, "none": {}}
    save_checkpoint(tmp_path / "c.safetensors", tensors, {"step": 3, "rows": [{"a": 0.1}]})
    loaded, state = load_checkpoint(tmp_path / "c.safetensors")
    assert_same(loaded, tensors)
    assert state == {"step": 3, "rows": [{"a": 0.1}]}
    assert [path.name for path in tmp_path.iterdir()] == ["c.safetensors"]


def test_memory_format_and_special_values_come_back(tmp_path: Path) -> None:
    """Kernels may sum in another order where tensors lie otherwise in memory."""
    image = torch.arange(120.0).view(2, 3, 4, 5)
    special = torch.tensor([float("nan"), float("inf"), -0.0, 1e-45])
    tensors = {
        "last": image.contiguous(memory_format=torch.channels_last),
        "turned": image[0, 0].T,
        "view": image[:, ::2, 1:],
        "special": special.view(torch.int32),
    }
    save_checkpoint(tmp_path / "c", tensors, {})
    loaded, _ = load_checkpoint(tmp_path / "c")
    assert_same(loaded, {**tensors, "view": tensors["view"].clone()})


def test_any_safetensors_reader_finds_the_tensors_by_their_names(tmp_path: Path) -> None:
    tensors = {
        "learner": {"model": {"stem.weight": torch.ones(2)}, "optimizer": {0: [torch.ones(1)]}}
    }
    save_checkpoint(tmp_path / "c", tensors, {})
    assert set(load_file(tmp_path / "c")) == {"learner/model/stem.weight", "learner/optimizer/0/0"}


def made(name: str) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 2))
    model = model.to(memory_format=torch.channels_last)
    if name == "adam":
        return model, torch.optim.Adam(model.parameters(), lr=0.01, fused=True)
    return model, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True)


def learn(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        optimizer.zero_grad()
        model(torch.randn(8, 3, 6, 6, generator=generator)).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_training_goes_on_as_if_never_stopped(name: str, tmp_path: Path) -> None:
    model, optimizer = made(name)
    learn(model, optimizer, range(3))
    tensors = {"model": dict(model.state_dict()), "optimizer": optimizer.state_dict()}
    expected = copy.deepcopy(tensors["optimizer"]["state"])
    save_checkpoint(tmp_path / "c", tensors, {})
    learn(model, optimizer, range(3, 6))

    again, restored = made(name)
    loaded, _ = load_checkpoint(tmp_path / "c")
    assert_same(loaded["optimizer"]["state"], expected)
    again.load_state_dict(loaded["model"])
    restored.load_state_dict(loaded["optimizer"])
    learn(again, restored, range(3, 6))
    assert_same(dict(again.state_dict()), dict(model.state_dict()))
    assert_same(restored.state_dict()["state"], optimizer.state_dict()["state"])


def test_failed_save_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "c"
    save_checkpoint(path, {}, {"step": 1})
    with pytest.raises(TypeError):
        save_checkpoint(path, {}, {"step": object()})
    assert load_checkpoint(path)[1] == {"step": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["c"]


def test_a_full_disk_is_one_sentence_and_others_may_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c"
    save_checkpoint(path, {"a": torch.ones(3)}, {"step": 1})
    plain = tmp_path / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode
    plain.unlink()

    def full(self: Path, data: bytes) -> int:
        self.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"cannot write .*c \(No space left on device\)"):
        save_checkpoint(path, {"a": torch.zeros(3)}, {"step": 2})
    assert load_checkpoint(path)[1] == {"step": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["c"]


def test_missing_checkpoints_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=f"there is no checkpoint {tmp_path / 'c'}"):
        load_checkpoint(tmp_path / "c")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "c"
    save_checkpoint(path, {"w": torch.arange(20.0), "n": {0: torch.tensor(3)}}, {"step": 7})
    return path


@given(data=st.data())
@settings(max_examples=200)
def test_a_changed_or_cut_file_is_refused(data: st.DataObject, whole: Path) -> None:
    content = bytearray(whole.read_bytes())
    where = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[where] ^= data.draw(st.integers(1, 255))
    else:
        content = content[:where]
    path = whole.with_name("changed")
    path.write_bytes(content)
    header = whole.read_bytes()[: 8 + int.from_bytes(whole.read_bytes()[:8], "little")]
    padding = len(header.rstrip(b" ")) <= where < min(len(header), len(content))
    if padding and content[where] in b"\t\n\r":
        assert load_checkpoint(path)[1] == {"step": 7}  # spaces of another kind mean the same
        return
    with pytest.raises(ArtefactError, match=f"the checkpoint {path} is broken"):
        load_checkpoint(path)
