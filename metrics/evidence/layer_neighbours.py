"""Nearest-neighbour probes of every layer: do the neighbours of an image have its label?

After each layer of the long runs' finished networks, every image is compared with all the other
training images (never with itself). The layers are, after Baldock et al. 2021 (arXiv 2106.09647,
section 2), the input, what each convolution and the head reads, and the softmax. Feature maps are
averaged over a coarse grid, so that a layer has at most `WIDTH` features (or one a channel).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmsel.datasets import ImageDataset
from fmsel.metrics.evidence import long_run
from fmsel.metrics.evidence.jobs.plan import Job, Plan
from fmsel.metrics.evidence.jobs.run import Advance, Arrays, job_names, run_jobs
from fmsel.metrics.evidence.jobs.settings import Settings
from fmsel.metrics.evidence.long_run import LongRun
from fmsel.metrics.evidence.network.predict import COST, EVAL_BATCH
from fmsel.metrics.evidence.network.train import forward, new_network
from fmsel.metrics.evidence.network.weights import load_weights
from fmsel.training.augment.weak import to_float
from fmsel.training.engine.device import Precision

NEIGHBOURS = 30  # of the paper; fewer where the classes are smaller than that
WIDTH = 512
GRIDS = (8, 4, 2, 1)  # positions a side; the finest that keeps to WIDTH
PAIR, PAIR_WIDTH = 6e-6, 3.5e-8  # image steps of comparing two images, and more for each feature
QUERIES = 2_000  # images searched for at a time; with a few hundred faiss is five times slower
VERSION = 1  # raise it when the layers, their features or the probes change


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerNeighbours:
    """What the probes of L layers of R runs say.

    Attributes:
        share: (R, L, N) float32 in [0, 1], the share of the neighbours with the image's own label.
        right: (R, L, N) bool, no other label has as many neighbours.
        parameters: JSON-able.
    """

    share: npt.NDArray[np.float32]
    right: npt.NDArray[np.bool_]
    parameters: Mapping[str, Any]


def plan(data: ImageDataset, settings: Settings) -> Plan:
    """A search a run and layer.

    Raises:
        DataError: as the long run's plan.
    """
    key = long_run.run_key(data, settings)
    widths = layer_widths(data, settings)
    jobs: list[Job] = [(run, layer) for run in range(long_run.RUNS) for layer in range(len(widths))]
    return Plan(
        what=f"the {neighbour_count(data)} nearest of {len(data):,} images after {len(widths)} "
        f"layers of {long_run.RUNS} networks",
        work={job: _work(data, widths[job[1]]) for job in jobs},
        names=job_names(
            jobs,
            data,
            settings,
            kind="layer_neighbours",
            version=VERSION,
            neighbours=NEIGHBOURS,
            width=WIDTH,
            run=key,
        ),
        needs=("long_run",),
    )


def make(
    data: ImageDataset, plan: Plan, settings: Settings, made: Mapping[str, Any]
) -> LayerNeighbours:
    """Search the neighbours of every image, layer by layer."""
    runs: LongRun = made["long_run"]
    device, precision = settings.place()
    k = neighbour_count(data)

    def search(job: Job, advance: Advance) -> Arrays:
        run, layer = job
        model = new_network(data, runs.recipe, 0, device)
        load_weights(model, [c.weights for c in runs.checkpoints if c.run == run][-1])
        features = layer_features(model, layer, data, precision, advance)
        found = neighbours(features, k, advance)
        share, right = probe(data.labels[found], data.labels, data.n_classes)
        return {"share": share, "right": right}

    finished = run_jobs("layer neighbours", plan, search, settings)
    share, right = (
        np.stack([each[name] for each in finished.arrays.values()]).reshape(
            len(runs.margins), -1, len(data)
        )
        for name in ("share", "right")
    )
    return LayerNeighbours(
        share=share,
        right=right,
        parameters={
            "neighbours": k,
            "layer_accuracy": right.mean(axis=(0, 2)).round(4).tolist(),
            "jobs_from_cache": finished.from_cache,
            "compute_seconds": finished.seconds,
        },
    )


def neighbour_count(data: ImageDataset) -> int:
    """`NEIGHBOURS`, or where the average class has no more images, all but one of its."""
    return max(1, min(NEIGHBOURS, len(data) // data.n_classes - 1))


def layer_widths(data: ImageDataset, settings: Settings) -> list[int]:
    """The number of features of each layer, by passing one image through a fresh network."""
    device, precision = settings.place()
    model = new_network(data, long_run.long_recipe(data, device), 0, torch.device("cpu")).eval()
    views = to_float(torch.tensor(data.images[:1]).permute(0, 3, 1, 2))
    with torch.inference_mode():
        return [each.shape[1] for each in layer_activations(model, views, precision)]


@torch.inference_mode()
def layer_features(
    model: nn.Module, layer: int, data: ImageDataset, precision: Precision, advance: Advance
) -> npt.NDArray[np.float32]:
    """(N, D) float32, one layer's features of every image; the model is put in evaluation mode."""
    model.eval()
    device = next(model.parameters()).device
    rows = []
    for start in range(0, len(data), EVAL_BATCH):
        pixels = torch.tensor(data.images[start : start + EVAL_BATCH], device=device)
        views = to_float(pixels.permute(0, 3, 1, 2))
        rows.append(layer_activations(model, views, precision)[layer].cpu().numpy())
        advance(COST * len(pixels))
    return np.concatenate(rows)


def layer_activations(model: nn.Module, views: Tensor, precision: Precision) -> list[Tensor]:
    """What each convolution and linear layer reads, in order, and the softmax.

    Args:
        model: any whose layers each are called once.
        views: (B, 3, H, W) float32 in [-1, 1].
    Returns:
        (B, D) float32 each.
    """
    seen: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Tensor]) -> None:
        seen.append(_pooled(inputs[0].float()))

    hooks = [
        module.register_forward_pre_hook(keep)
        for module in model.modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    logits = forward(model, views, precision)
    for hook in hooks:
        hook.remove()
    return [*seen, logits.softmax(dim=1)]


def neighbours(
    features: npt.NDArray[np.float32], k: int, advance: Advance
) -> npt.NDArray[np.int64]:
    """The k nearest of the other rows by Euclidean distance, exactly; (N, k), nearest first.

    Args:
        features: (N, D), N > k.
        advance: told the image steps done.
    """
    faiss.omp_set_num_threads(torch.get_num_threads())  # of this thread alone
    centred = features - features.mean(axis=0)  # loses fewer digits in |x|^2 + |y|^2 - 2 x.y
    index = faiss.IndexFlatL2(features.shape[1])
    index.add(centred)
    out = np.empty((len(features), k), np.int64)
    for start in range(0, len(features), QUERIES):
        rows = np.arange(start, min(start + QUERIES, len(features)))
        found = index.search(centred[rows], k + 1)[1]
        out[rows] = _without_self(found, rows)
        advance(len(rows) * _pairs_work(*features.shape))
    return out


def probe(
    found: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], n_classes: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """What neighbours say of each image's label.

    Args:
        found: (N, k) labels of the neighbours.
        labels: (N,).
        n_classes: C >= 2.
    Returns:
        (N,) share of the neighbours with the own label, and (N,) whether all others have fewer.
    """
    rows = np.arange(len(labels))
    cells = (rows[:, None] * n_classes + found).ravel()
    votes = np.bincount(cells, minlength=len(labels) * n_classes).reshape(-1, n_classes)
    own = votes[rows, labels]
    votes[rows, labels] = -1
    return (own / found.shape[1]).astype(np.float32), own > votes.max(axis=1)


def _without_self(
    found: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """(n, k + 1) -> (n, k): the row itself dropped, or the last where duplicates displaced it."""
    drop = found == rows[:, None]
    drop[~drop.any(axis=1), -1] = True
    return np.asarray(found[~drop].reshape(len(rows), -1))


def _pooled(maps: Tensor) -> Tensor:
    if maps.ndim == 2:
        return maps
    finest = next(g for g in GRIDS if maps.shape[1] * g * g <= WIDTH or g == 1)
    return F.adaptive_avg_pool2d(maps, min(finest, maps.shape[2])).flatten(1)


def _work(data: ImageDataset, width: int) -> float:
    return len(data) * (COST + _pairs_work(len(data), width))


def _pairs_work(count: int, width: int) -> float:
    return count * (PAIR + PAIR_WIDTH * width)
