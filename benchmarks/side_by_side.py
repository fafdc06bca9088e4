"""Steps a second of fmsel, kekmodel/FixMatch-pytorch and USB: same machine, same run, same recipe.

    git clone https://github.com/kekmodel/FixMatch-pytorch
    git -C FixMatch-pytorch checkout 040be3b
    git clone https://github.com/microsoft/Semi-supervised-learning
    git -C Semi-supervised-learning checkout 1ef4cbe
    python benchmarks/side_by_side.py --kekmodel FixMatch-pytorch --usb Semi-supervised-learning
        [--steps N] [--turns N] [--out FILE]

WRN-28-2, B = 64, mu = 7, random images of CIFAR-10's size. Theirs: network, augmentation in data
loaders with as many workers as they take by default (4 and 4; 1 and 2), averaging, optimiser
groups, and the operations of their training loops. The loops themselves are written here:
kekmodel's calls a loader method that torch no longer has, USB's refuses to train without a GPU.
Left out, which favours them: schedulers, logs, kekmodel's interleaving, the SyncBatchNorm and DDP
that USB's configurations ask for on one GPU too, and its new workers every 1,024 steps. Both train
in fp32 by default (on a GPU with TF32, torch's default). Ours: `fmsel train` as it runs by default
on the device, and in fp32. Each is a process of its own; they take turns, so that all see the same
disturbances; before each turn every one makes some steps that do not count, to use up what was
loaded during the others' turns.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from multiprocessing import get_context, set_start_method
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, patch

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms

from fmsel.artefacts import check_output, versions, write_json
from fmsel.experiments.bench import CLASSES, IMAGES, SIDE, make_session
from fmsel.fixmatch.presets import PAPER
from fmsel.training.engine.device import (
    configure_backends,
    device_name,
    resolve_device,
    resolve_execution,
    resolve_precision,
)

B, MU = PAPER.batch, PAPER.mu


class Pictures(Dataset[Any]):
    """Random images through a transform, as Pillow images; as many as a long epoch asks for."""

    def __init__(self, transform: Callable[[Image.Image], Any]) -> None:
        rng = np.random.default_rng(0)
        self.images = rng.integers(0, 256, (IMAGES, SIDE, SIDE, 3), dtype=np.uint8)
        self.transform = transform

    def __len__(self) -> int:
        return 50 * IMAGES

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(Image.fromarray(self.images[index % IMAGES])), index % CLASSES


def loader(data: Pictures, batch: int, workers: int) -> Iterator[Any]:
    sampler = RandomSampler(data)
    return iter(DataLoader(data, batch, sampler=sampler, num_workers=workers, drop_last=True))


class Kekmodel:
    """One step of kekmodel's training, from the modules of its checkout."""

    def __init__(self, checkout: Path, device: torch.device) -> None:
        with patch.object(sys, "path", [str(checkout), *sys.path]):
            from dataset import cifar  # type: ignore[import-not-found]
            from models.ema import ModelEMA  # type: ignore[import-not-found]
            from models.wideresnet import build_wideresnet  # type: ignore[import-not-found]

        both = cifar.TransformFixMatch(mean=cifar.cifar10_mean, std=cifar.cifar10_std)
        self.labelled = loader(Pictures(lambda x: both.normalize(both.weak(x))), B, workers=4)
        self.unlabelled = loader(Pictures(both), B * MU, workers=4)
        self.device = device
        self.model = build_wideresnet(depth=28, widen_factor=2, dropout=0, num_classes=CLASSES)
        self.model.to(device).train()
        self.ema = ModelEMA(SimpleNamespace(device=device), self.model, PAPER.ema_decay)
        named = list(self.model.named_parameters())
        undecayed = [p for name, p in named if "bias" in name or "bn" in name]
        decayed = [p for name, p in named if "bias" not in name and "bn" not in name]
        groups: Any = [{"params": decayed, "weight_decay": 5e-4}, {"params": undecayed}]
        self.optimizer = torch.optim.SGD(groups, lr=PAPER.lr, momentum=0.9, nesterov=True)

    def step(self) -> None:
        x, labels = next(self.labelled)
        (weak, strong), _ = next(self.unlabelled)
        logits = self.model(torch.cat([x, weak, strong]).to(self.device))
        first, mask, unlabelled = their_losses(logits, labels.to(self.device))
        loss = first + unlabelled
        loss.backward()
        _ = loss.item(), first.item(), unlabelled.item()  # its loop reads them at every step
        self.optimizer.step()
        self.ema.update(self.model)
        self.model.zero_grad()
        _ = mask.mean().item()


class Usb:
    """One step of USB's FixMatch (microsoft/Semi-supervised-learning), likewise.

    What its hooks do at every step is done here: `ParamUpdateHook`, which waits for a GPU before
    and after, and `EMAHook`, which loads the average into a second network.
    """

    def __init__(self, checkout: Path, device: torch.device) -> None:
        wrn, misc, nets, augmentation = modules_of_usb(checkout)
        weak = [
            transforms.Resize(SIDE),
            transforms.RandomCrop(SIDE, padding=SIDE // 8, padding_mode="reflect"),
            transforms.RandomHorizontalFlip(),
        ]
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # its cifar.py, for cifar10
        tensor = [transforms.ToTensor(), transforms.Normalize(mean, std)]
        once = transforms.Compose([*weak, *tensor])
        twice = transforms.Compose([*weak, augmentation.RandAugment(3, 5), *tensor])
        self.labelled = loader(Pictures(once), B, workers=1)
        self.unlabelled = loader(Pictures(lambda x: (once(x), twice(x))), B * MU, workers=2)
        self.device = device
        self.model: nn.Module = wrn.wrn_28_2(num_classes=CLASSES).to(device).train()
        self.averaged: nn.Module = wrn.wrn_28_2(num_classes=CLASSES).to(device)
        self.ema = misc.EMA(self.model, PAPER.ema_decay)
        self.ema.register()
        groups = nets.param_groups_weight_decay(
            self.model, 5e-4, no_weight_decay_list=wrn.WideResNet.no_weight_decay(self.model)
        )
        self.optimizer = torch.optim.SGD(groups, lr=PAPER.lr, momentum=0.9, nesterov=True)

    def step(self) -> None:
        x, labels = (each.to(self.device) for each in next(self.labelled))
        views, _ = next(self.unlabelled)
        weak, strong = (each.to(self.device) for each in views)
        self.wait()
        logits = self.model(torch.cat([x, weak, strong]))["logits"]
        first, mask, unlabelled = their_losses(logits, labels)
        loss = first + unlabelled
        _ = first.item(), unlabelled.item(), loss.item(), mask.mean().item()
        loss.backward()
        self.optimizer.step()
        self.model.zero_grad()
        self.wait()
        self.ema.update()
        self.averaged.load_state_dict(self.model.state_dict())
        self.averaged.load_state_dict(self.ema.shadow, strict=False)

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def modules_of_usb(checkout: Path) -> list[Any]:
    """Four of its modules, without its `__init__` files, which import all of its dependencies."""
    folders = ["semilearn", *(f"semilearn.{each}" for each in ("core", "core.utils", "nets"))]
    folders += ["semilearn.nets.wrn", "semilearn.datasets"]
    packages = {name: ModuleType(name) for name in folders}
    for name, package in packages.items():
        package.__path__ = [str(checkout / name.replace(".", "/"))]
    # Its misc.py imports a YAML reader and TensorBoard beside the average that is wanted.
    unneeded = {"ruamel": MagicMock(), "ruamel.yaml": MagicMock()}
    unneeded["torch.utils.tensorboard"] = MagicMock()
    names = ("nets.wrn.wrn", "core.utils.misc", "nets.utils", "datasets.augmentation")
    with patch.dict(sys.modules, {**packages, **unneeded}):
        return [import_module(f"semilearn.{name}") for name in names]


def their_losses(logits: Any, labels: Tensor) -> tuple[Any, Any, Any]:
    """Labelled loss, mask and unlabelled loss of a step, as both compute them."""
    first, second, third = logits.split([B, B * MU, B * MU])
    confidence, guess = second.detach().softmax(dim=1).max(dim=1)
    mask = (confidence >= PAPER.threshold).float()
    unlabelled = (F.cross_entropy(third, guess, reduction="none") * mask).mean()
    return F.cross_entropy(first, labels), mask, unlabelled


class Arm:
    """One of those that are compared, in a process of its own: with torch's settings and the
    memory as whoever uses it has them."""

    def __init__(self, name: str, args: argparse.Namespace) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(name, args, theirs))
        self.process.start()
        theirs.close()

    def turn(self) -> float:
        """Mean seconds of a step, after some that do not count."""
        self.pipe.send(True)
        seconds: float = self.pipe.recv()
        return seconds

    def end(self) -> None:
        self.pipe.close()
        self.process.join()


def work(name: str, args: argparse.Namespace, pipe: Any) -> None:
    """The process of an arm, until its pipe is closed."""
    set_start_method("fork", force=True)  # of loaders' workers, as it is where nobody asks
    step, device = make_step(name, args), torch.device(args.device)
    try:
        while pipe.recv():
            timed(step, args.before, device)
            pipe.send(timed(step, args.steps, device))
    except EOFError:
        pass


def make_step(name: str, args: argparse.Namespace) -> Callable[[], None]:
    whose, precision, *mode = name.split(", ")
    if whose == "fmsel":
        device = resolve_device(args.device)
        configure_backends(device, deterministic=False)
        return make_session(PAPER, device, precision, mode[0]).advance  # type: ignore[arg-type]
    device = torch.device(args.device)
    torch.backends.cudnn.benchmark = True  # as fmsel has it
    if whose == "kekmodel":
        return Kekmodel(args.kekmodel, device).step
    return Usb(args.usb, device).step


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kekmodel", type=Path, help="its checkout")
    parser.add_argument("--usb", type=Path, help="its checkout")
    parser.add_argument("--steps", type=int, default=4, help="measured steps a turn")
    parser.add_argument("--before", type=int, default=8, help="steps before, on a CPU 2 will do")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--mode", default="auto", help="of fmsel, as for train")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    if args.out:
        check_output(args.out)
    if args.device == "auto":
        args.device = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(args.device)
    names = [f"{name}, fp32" for name in ("kekmodel", "USB") if getattr(args, name.lower())]
    if not names:
        parser.error("give a checkout to compare with: --kekmodel or --usb, or both")
    execution = resolve_execution(args.mode, device)
    for precision in dict.fromkeys((resolve_precision("auto", device), "fp32")):
        names.append(f"fmsel, {precision}, {execution}")
    arms = {name: Arm(name, args) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    try:
        for turn in range(args.turns):
            for name, arm in arms.items():
                spent = arm.turn()
                seconds[name].append(spent)
                print(f"turn {turn + 1}: {name}: {spent:.3f} s a step", flush=True)
    finally:
        for arm in arms.values():
            arm.end()
    report(seconds, device, args)


def timed(step: Callable[[], None], count: int, device: torch.device) -> float:
    """Mean seconds a step."""
    start = time.perf_counter()
    for _ in range(count):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - start) / count


def report(seconds: dict[str, list[float]], device: torch.device, args: argparse.Namespace) -> None:
    rates = {name: 1 / statistics.median(turns) for name, turns in seconds.items()}
    others = {"kekmodel": args.kekmodel, "USB": args.usb}
    figures: dict[str, dict[str, Any]] = {
        name: {
            "it_per_s": rates[name],
            "seconds_a_step": turns,
            "times": {
                other: rates[name] / rates[f"{other}, fp32"]
                for other, checkout in others.items()
                if checkout
            },
        }
        for name, turns in seconds.items()
    }
    print(f"{device_name(device)}; WRN-28-2, B = {B}, mu = {MU}; median of {args.turns} turns")
    for name, rate in rates.items():
        times = ", ".join(f"{x:.2f} times {other}" for other, x in figures[name]["times"].items())
        print(f"{name}: {rate:.3f} it/s, {times}")
    if args.out:
        commits = {other: commit_of(path) for other, path in others.items() if path}
        facts = {"device": device_name(device), "commits": commits, "steps": args.steps}
        write_json(args.out, {**facts, "figures": figures, "versions": versions("torch")})


def commit_of(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
