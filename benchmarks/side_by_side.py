"""Steps a second of fmsel and of kekmodel/FixMatch-pytorch: same machine, same run, same recipe.

    git clone https://github.com/kekmodel/FixMatch-pytorch
    git -C FixMatch-pytorch checkout 040be3b
    python benchmarks/side_by_side.py --kekmodel FixMatch-pytorch [--steps N] [--out FILE]

WRN-28-2, B = 64, mu = 7, random images of CIFAR-10's size. Theirs: its network, its augmentation
in its data loader (4 workers, its default), its averaging, and the operations of its training
loop; the loop itself is written here, since it calls a loader method that torch no longer has. It
has no half precision without apex, so fp32 (on a GPU with TF32, torch's default). Ours: `fmsel
train` as it runs by default on the device, and in fp32. The two take turns, so that both see the
same disturbances.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, RandomSampler

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

B, MU, WORKERS = PAPER.batch, PAPER.mu, 4


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


def loader(data: Pictures, batch: int) -> Iterator[Any]:
    sampler = RandomSampler(data)
    return iter(DataLoader(data, batch, sampler=sampler, num_workers=WORKERS, drop_last=True))


class Theirs:
    """One step of kekmodel's training, from the modules of its checkout."""

    def __init__(self, checkout: Path, device: torch.device) -> None:
        sys.path.insert(0, str(checkout))
        from dataset import cifar  # type: ignore[import-not-found]
        from models.ema import ModelEMA  # type: ignore[import-not-found]
        from models.wideresnet import build_wideresnet  # type: ignore[import-not-found]

        sys.path.pop(0)
        both = cifar.TransformFixMatch(mean=cifar.cifar10_mean, std=cifar.cifar10_std)
        self.labelled = loader(Pictures(lambda x: both.normalize(both.weak(x))), B)
        self.unlabelled = loader(Pictures(both), B * MU)
        self.device = device
        self.model = build_wideresnet(depth=28, widen_factor=2, dropout=0, num_classes=CLASSES)
        self.model.to(device).train()
        self.ema = ModelEMA(SimpleNamespace(device=device), self.model, PAPER.ema_decay)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=PAPER.lr, momentum=0.9, nesterov=True, weight_decay=5e-4
        )

    def step(self) -> None:
        torch.backends.cudnn.allow_tf32 = True  # torch's default, which it trains with
        x, labels = next(self.labelled)
        (weak, strong), _ = next(self.unlabelled)
        logits = self.model(torch.cat([x, weak, strong]).to(self.device))
        first, second, third = logits.split([B, B * MU, B * MU])
        confidence, guess = second.detach().softmax(dim=1).max(dim=1)
        mask = (confidence >= PAPER.threshold).float()
        loss = F.cross_entropy(first, labels.to(self.device))
        loss = loss + (F.cross_entropy(third, guess, reduction="none") * mask).mean()
        loss.backward()
        loss.item()  # its loop reads the losses and the mask at every step
        self.optimizer.step()
        self.ema.update(self.model)
        self.model.zero_grad()
        torch.backends.cudnn.allow_tf32 = False


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kekmodel", type=Path, required=True, help="its checkout")
    parser.add_argument("--steps", type=int, default=4, help="measured steps a turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--mode", default="auto", help="of fmsel: auto, eager, graph, compile")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    if args.out:
        check_output(args.out)
    device = resolve_device(args.device)
    configure_backends(device, deterministic=False)
    arms: dict[str, Callable[[], None]] = {
        "kekmodel, fp32": Theirs(args.kekmodel, device).step,
    }
    execution = resolve_execution(args.mode, device)
    for precision in dict.fromkeys((resolve_precision("auto", device), "fp32")):
        session = make_session(PAPER, device, precision, execution)
        arms[f"fmsel, {precision}, {execution}"] = session.advance
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(-1, args.turns):
        for name, step in arms.items():
            spent = timed(step, args.steps if turn >= 0 else 2, device)
            if turn >= 0:  # the turn before them all is the warm-up
                seconds[name].append(spent)
                print(f"turn {turn + 1}: {name}: {spent:.3f} s a step", flush=True)
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
    theirs = statistics.median(next(iter(seconds.values())))
    figures = {
        name: {
            "it_per_s": 1 / statistics.median(turns),
            "seconds_a_step": turns,
            "times_kekmodel": theirs / statistics.median(turns),
        }
        for name, turns in seconds.items()
    }
    print(f"{device_name(device)}; WRN-28-2, B = {B}, mu = {MU}; median of {args.turns} turns")
    for name, row in figures.items():
        print(f"{name}: {row['it_per_s']:.3f} it/s, {row['times_kekmodel']:.2f} times kekmodel")
    if args.out:
        head = subprocess.run(
            ["git", "-C", str(args.kekmodel), "rev-parse", "HEAD"], capture_output=True, text=True
        ).stdout.strip()
        facts = {"device": device_name(device), "kekmodel_commit": head, "steps": args.steps}
        write_json(args.out, {**facts, "figures": figures, "versions": versions("torch")})


if __name__ == "__main__":
    main()
