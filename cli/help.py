"""What each command's help says beside its options: what it does, and lines that can be typed."""

import inspect
from collections.abc import Callable
from typing import Any

EXAMPLES: dict[str, tuple[str, ...]] = {
    "": (
        "fmsel demo",
        "fmsel score digits",
        "fmsel split --protos 2 --outliers 2",
        "fmsel train --split splits/mixed.json",
        "fmsel watch runs/mixed-seed0",
    ),
    "bench": ("fmsel bench train --preset cpu",),
    "bench train": ("fmsel bench train --preset cpu --steps 20",),
    "compare": ("fmsel compare runs",),
    "demo": ("fmsel demo --out demo --force",),
    "doctor": ("fmsel doctor",),
    "embed": ("fmsel embed cifar10 --encoder simclr", "fmsel embed photos --from vectors.npy"),
    "export": ("fmsel export runs/mixed-seed0 --format onnx",),
    "gallery": ("fmsel gallery scores/cifar10.npz --all-metrics",),
    "label": ("fmsel label splits/typiclust.json --open",),
    "labels": (
        "fmsel labels export splits/a.json --to answers.csv",
        "fmsel labels import answers.csv --split splits/a.json --out splits/b.json",
    ),
    "labels export": ("fmsel labels export splits/a.json --to answers.csv",),
    "labels import": ("fmsel labels import answers.csv --split splits/a.json --out splits/b.json",),
    "loop": ("fmsel loop digits --strategy margin --strategy random --budgets 10,20,40",),
    "plot": ("fmsel plot schedules --steps 10000",),
    "plot schedules": ("fmsel plot schedules --steps 10000 --out plots/schedules.png",),
    "predict": ("fmsel predict runs/mixed-seed0 photos",),
    "report": ("fmsel report runs scores/cifar10.npz --out report.html",),
    "score": ("fmsel score cifar10", "fmsel score photos --metric knn-density --resize 32"),
    "scores": ("fmsel scores suspects scores/cifar10.npz --count 100",),
    "scores categories": ("fmsel scores categories scores/cifar10.npz",),
    "scores report": ("fmsel scores report scores/cifar10.npz",),
    "scores suspects": ("fmsel scores suspects scores/cifar10.npz --count 100",),
    "split": (
        "fmsel split --protos 12 --outliers 12",
        "fmsel split --random 240 --dataset cifar10",
        "fmsel split --strategy typiclust --budget 40",
    ),
    "split check": ("fmsel split check splits/mixed.json",),
    "split export": ("fmsel split export splits/mixed.json --to mixed.npy",),
    "split import": ("fmsel split import label.json --dataset cifar10",),
    "split show": ("fmsel split show splits/mixed.json",),
    "split strategies": ("fmsel split strategies",),
    "train": (
        "fmsel train --split splits/mixed.json --seeds 3",
        "fmsel train --split splits/mixed.json --preset cpu --rule freematch",
    ),
    "watch": ("fmsel watch runs/mixed-seed0", "fmsel watch loops/digits --once"),
}


def epilog(command: str) -> str:
    """The examples of a command, such as "labels import", as its help ends."""
    lines = EXAMPLES[command]
    return "\n".join(["Example:" if len(lines) == 1 else "Examples:", *(f"$ {x}" for x in lines)])


def help_text(function: Callable[..., Any]) -> str:
    """A function's docstring with each paragraph on one line, for the terminal to break."""
    paragraphs = (inspect.getdoc(function) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
