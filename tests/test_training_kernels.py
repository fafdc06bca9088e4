"""Every Triton kernel compiles for the GPUs it is made for, as the trainer would launch it.

Values are Triton's interpreter's to test (test_training_fused_*.py) or a GPU's; this needs neither.
"""

import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from fmsel.training.augment.strong import google_code
from fmsel.training.networks.build import build_network

triton = pytest.importorskip("triton", minversion="3.6")
POINTERS = {
    torch.float32: "*fp32",
    torch.float64: "*fp64",
    torch.bfloat16: "*bf16",
    torch.uint8: "*u8",
    torch.int32: "*i32",
    torch.int64: "*i64",
}
H100, A100 = 90, 80  # compute capabilities


Replace = Callable[[ModuleType, Sequence[str], int], dict[str, "Compiling"]]


class Compiling:
    """Stands for a kernel: compiles each kind of launch once, and runs nothing.

    Attributes:
        ptx: of every kind of launch.
    """

    def __init__(self, kernel: Any, capability: int) -> None:
        self.kernel, self.capability = kernel, capability
        self.ptx: dict[tuple[object, ...], str] = {}

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def launch(*values: Any, **named: Any) -> None:
            kernel = self.kernel
            given = dict(zip(kernel.arg_names, values, strict=False)) | named
            options = {name: given.pop(name) for name in [*given] if name not in kernel.arg_names}
            assert len(given) == len(kernel.arg_names) and 0 < grid[0] < 2**31
            fixed = {each.name for each in kernel.params if each.is_constexpr}
            kinds = {
                name: "constexpr" if name in fixed else _kind(value)
                for name, value in given.items()
            }
            key = tuple((name, given[name] if name in fixed else kinds[name]) for name in given)
            if key not in self.ptx:
                self.ptx[key] = self._compile(kinds, given, options)

        return launch

    def _compile(
        self, kinds: dict[str, str], given: dict[str, Any], options: dict[str, Any]
    ) -> str:
        from triton.backends.compiler import GPUTarget
        from triton.compiler import ASTSource

        places = {name: (place,) for place, name in enumerate(self.kernel.arg_names)}
        source = ASTSource(
            fn=self.kernel,
            signature={name: kinds[name] for name in self.kernel.arg_names},
            constexprs={places[n]: given[n] for n in kinds if kinds[n] == "constexpr"},
            attrs={places[n]: [["tt.divisibility", 16]] for n in kinds if kinds[n][0] == "*"},
        )
        target = GPUTarget("cuda", self.capability, 32)
        ptx: str = triton.compile(source, target=target, options=options).asm["ptx"]
        return ptx


def _kind(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return POINTERS[value.dtype]
    return {int: "i32", float: "fp32"}[type(value)]


@pytest.fixture
def compiling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Replace:
    """Puts `Compiling` in the place of some kernels of a module; returns those, by name."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))

    def replace(module: ModuleType, names: Sequence[str], capability: int) -> dict[str, Compiling]:
        kernels = {name: Compiling(getattr(module, name), capability) for name in names}
        for name, each in kernels.items():
            monkeypatch.setattr(module, name, each)
        return kernels

    return replace


def spilled(ptx: str, capability: int, folder: Path) -> list[str]:
    """What ptxas says of registers that did not suffice."""
    path = folder / "kernel.ptx"
    path.write_text(ptx)
    arch = f"sm_{capability}{'a' if f'sm_{capability}a' in ptx else ''}"
    done = subprocess.run(
        [triton.knobs.nvidia.ptxas.path, "-v", f"--gpu-name={arch}", path, "-o", folder / "cubin"],
        check=True,
        capture_output=True,
        text=True,
    )
    said = [line for line in done.stderr.splitlines() if "spill" in line]
    assert said
    return [line for line in said if "0 bytes spill stores, 0 bytes spill loads" not in line]


def check(kernels: dict[str, Compiling], folder: Path) -> None:
    """All were launched, and none needs more registers than there are."""
    for name, each in kernels.items():
        assert each.ptx, f"{name} was not launched"
        for key, ptx in each.ptx.items():
            assert spilled(ptx, each.capability, folder) == [], (name, key)


@pytest.mark.parametrize(("capability", "narrow"), [(A100, 0), (H100, 32)])
def test_those_of_the_network(
    capability: int, narrow: int, tmp_path: Path, compiling: Replace
) -> None:
    """Between the convolutions; on an H100 the convolutions too, whose tiles are made for it."""
    from fmsel.training.networks import fused, kernels

    public = [
        name
        for name, each in vars(kernels).items()
        if isinstance(each, triton.JITFunction) and not name.startswith("_")
    ]
    own = {"pair_weights", "convolve", "weight_gradient", "whole_weight_gradient"}
    found = compiling(kernels, [each for each in public if narrow or each not in own], capability)
    network = build_network("wrn-28-2", n_classes=10, image_side=8, bn_momentum=0.1, seed=0)
    network = network.to(memory_format=torch.channels_last).train()
    images = torch.zeros(4, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = fused.fused(network, narrow)(images)
    F.cross_entropy(logits, torch.arange(4)).backward()  # type: ignore[no-untyped-call]
    check(found, tmp_path)


@pytest.mark.parametrize("capability", [A100, H100])
@pytest.mark.parametrize("side", [8, 32, 64])
def test_that_of_randaugment(
    side: int, capability: int, tmp_path: Path, compiling: Replace
) -> None:
    """Each float operation rounds by itself, as torch's do: nothing is fused."""
    from fmsel.training.augment import fused

    found = compiling(fused, ["_distort"], capability)
    images = torch.zeros(2, 3, side, side, dtype=torch.uint8)
    augment = google_code.make(side, torch.device("cpu"))
    fused.distort(images, augment.draw(2, torch.Generator()), augment.recipe.cutout)
    check(found, tmp_path)
    [ptx] = found["_distort"].ptx.values()
    assert "div.rn.f64" in ptx and "div.full" not in ptx
    assert not re.search(r"\bfma\.", ptx)
