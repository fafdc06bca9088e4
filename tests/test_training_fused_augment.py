"""The Triton kernel of RandAugment has the bits of torch's way, which test_training_randaugment
compares with Pillow. Without a GPU it runs in Triton's interpreter, in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from interpreted import interpreted
from pictures import CPU, keyed, some_images

from fmsel.training.augment import randaugment
from fmsel.training.augment.randaugment import (
    OPS,
    Draws,
    Policies,
    RandAugment,
    amount_table,
    signed_amounts,
)
from fmsel.training.augment.strong import google_code, make_strong, paper, torchvision, usb

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="no triton")
CUDA = torch.device("cuda")


def every_operation(
    augment: RandAugment, amount: Callable[[str, int, int], float], seed: int
) -> tuple[RandAugment, Policies]:
    """All 14 operations at all levels and signs, each amount once, alone."""
    grid = torch.cartesian_prod(torch.arange(len(OPS)), torch.arange(1, 10), torch.arange(2))
    ops, levels, signs = grid[:, :1], grid[:, 1:2], grid[:, 2:]
    amounts = signed_amounts(amount_table(amount, augment.side), ops, levels, signs)
    each = torch.from_numpy(np.unique(torch.cat([ops.double(), amounts], dim=1).numpy(), axis=0))
    boxes = augment.recipe.draw(len(each), augment.side, keyed(seed)).boxes
    return augment, Policies(each[:, :1].long(), each[:, 1:], boxes)


def several_operations(
    augment: RandAugment, count: int, slots: int, seed: int
) -> tuple[RandAugment, Policies]:
    """Operations drawn by the recipe, none left out, two or more of each image."""
    drawn = [augment.recipe.draw(64 * count, augment.side, keyed(seed + k)) for k in range(slots)]
    ops, amounts = (
        torch.stack([each[part][each.ops > 0][:count] for each in drawn], dim=1) for part in (0, 1)
    )
    return augment, Policies(ops, amounts, drawn[0].boxes[:count])


def whole_image_operations(augment: RandAugment) -> tuple[RandAugment, Policies]:
    """Those that look at all pixels, of four kinds of images and of black ones."""
    names = ("autocontrast", "equalize", "contrast")
    first = torch.tensor([0, OPS.index("brightness")])  # by 0: black
    ops = torch.cartesian_prod(torch.tensor([OPS.index(each) for each in names]), first)
    ops = ops.flip(1).repeat_interleave(4, dim=0)
    amounts = torch.tensor([0.0, 1.54], dtype=torch.float64).expand(len(ops), 2)
    boxes = augment.recipe.draw(len(ops), augment.side, keyed(0)).boxes
    return augment, Policies(ops, amounts, boxes)


def cases() -> Iterator[tuple[str, RandAugment, Policies]]:
    google, papers = google_code.make(32, CPU), paper.make(32, CPU)
    yield "google-code, alone", *every_operation(google, google_code.amount, 0)
    yield "paper, alone", *every_operation(papers, paper.amount, 1)
    yield "google-code, 2", *several_operations(google, 30, 2, 2)
    yield "paper, 2", *several_operations(papers, 30, 2, 3)
    yield "google-code, 4, side 8", *several_operations(google_code.make(8, CPU), 10, 4, 4)
    yield "usb, 3, side 16", *several_operations(usb.make(16, CPU), 10, 3, 5)
    yield "google-code, whole images", *whole_image_operations(google)
    yield "google-code, no image", *several_operations(google, 0, 2, 6)


def interpret() -> None:
    """Print, for every case, how many images there were and the operations of unequal ones."""
    from fmsel.training.augment import fused

    torch.set_num_threads(1)
    found = {}
    for seed, (name, augment, policies) in enumerate(cases()):
        images = torch.from_numpy(some_images(len(policies.ops), augment.side, seed))
        draws = augment.prepare(policies)
        ours = fused.distort(images, draws, augment.recipe.cutout)
        theirs = augment.distort(images, draws)
        unequal = (ours.view(torch.int32) != theirs.view(torch.int32)).flatten(1).any(1)
        wrong = [[OPS[op] for op in ops] for ops in policies.ops[unequal].tolist()]
        found[name] = (len(images), wrong)
    print(json.dumps(found))


def test_interpreted_it_has_the_bits_of_torchs_way() -> None:
    found = interpreted(__file__)
    assert {name: wrong for name, (_, wrong) in found.items() if wrong} == {}
    assert {name: count for name, (count, _) in found.items()} == {
        name: len(policies.ops) for name, _, policies in cases()
    }


def test_other_devices_and_ways_to_sample_go_torchs_way() -> None:
    assert google_code.make(32, CPU).fused is None
    assert torchvision.make(32, CPU).fused is None


def test_a_kernel_with_other_bits_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each operation is among the images that it must prove itself on."""
    plain = google_code.make(32, CPU)
    assert set(plain.draw(randaugment.PROOF, keyed(0)).ops.flatten().tolist()) == set(range(14))

    def off_by(change: float) -> Callable[[torch.Tensor, Draws], torch.Tensor]:
        def fused(images: torch.Tensor, draws: Draws) -> torch.Tensor:
            views = plain.distort(images, draws)
            views[-1, 2, 5, 5] += change
            return views

        return fused

    monkeypatch.setattr(randaugment, "_fused", lambda *_: off_by(0.0))
    assert google_code.make(32, CPU).fused is not None
    monkeypatch.setattr(randaugment, "_fused", lambda *_: off_by(2 / 255))
    with pytest.warns(UserWarning, match="kernel gives other bits than torch on this device"):
        assert google_code.make(32, CPU).fused is None


def test_importing_randaugment_needs_no_triton() -> None:
    code = "import sys; sys.modules['triton'] = None; import fmsel.training.augment.randaugment"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.gpu
def test_a_gpu_has_it_where_it_applies() -> None:
    if torch.version.cuda is None or torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("an old or another vendor's GPU")
    for name in ("google-code", "paper", "usb"):
        assert isinstance(augment := make_strong(name, 32, CUDA), RandAugment)
        assert augment.fused is not None
    for module, side in ((torchvision, 32), (paper, 33), (paper, 96)):
        assert module.make(side, CUDA).fused is None


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["google-code", "paper", "usb"])
@pytest.mark.parametrize("side", [8, 16, 32, 64])
def test_on_a_gpu_it_has_the_bits_of_the_cpu(name: str, side: int) -> None:
    on_cpu, on_gpu = (make_strong(name, side, device) for device in (CPU, CUDA))
    for seed in range(4):
        images = torch.from_numpy(some_images(448, side, seed))
        draws = on_cpu.draw(len(images), keyed(seed))
        ours = on_gpu.distort(images.to(CUDA), [each.to(CUDA) for each in draws])
        assert torch.equal(ours.cpu(), on_cpu.distort(images, draws))


@pytest.mark.gpu
def test_on_a_gpu_every_case_is_right_and_recorded_too() -> None:
    for name, augment, policies in cases():
        images = torch.from_numpy(some_images(len(policies.ops), augment.side, 0))
        draws = augment.prepare(policies)
        expected = augment.distort(images, draws)
        here = RandAugment(augment.side, CUDA, augment.recipe)
        pixels, moved = images.to(CUDA), Draws(*(each.to(CUDA) for each in draws))
        assert torch.equal(here.distort(pixels, moved).cpu(), expected), name
        if not len(images):
            continue  # a graph of nothing
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            views = here.distort(pixels, moved)
        for _ in range(3):
            views.fill_(9)
            graph.replay()
            assert torch.equal(views.cpu(), expected), name


if __name__ == "__main__":
    interpret()
