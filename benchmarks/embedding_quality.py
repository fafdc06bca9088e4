"""How well neighbours and a linear classifier name images by each encoder's vectors.

    python benchmarks/embedding_quality.py digits --out FILE
    python benchmarks/embedding_quality.py cifar10 --images 10000 --data-root DIR --out FILE

A fifth of the images is held out by the seed; 20 neighbours (cosine) and scikit-learn's logistic
regression (features of variance 1) learn the labels of the others. `untrained` is the network that
`simclr` trains, as it was before.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from fmsel.artefacts import versions
from fmsel.datasets import ImageDataset, load_dataset
from fmsel.embeddings.contrastive.config import CPU
from fmsel.embeddings.vectors.make import embed_dataset
from fmsel.seeds import generator
from fmsel.training.augment.weak import to_float
from fmsel.training.networks.build import build_network

NEIGHBOURS = 20


def pixels(data: ImageDataset, seed: int) -> np.ndarray:
    return data.images.reshape(len(data), -1).astype(np.float32)


@torch.no_grad()
def untrained(data: ImageDataset, seed: int) -> np.ndarray:
    side = data.images.shape[1]
    network = build_network(CPU.arch, n_classes=2, image_side=side, bn_momentum=0.1, seed=seed)
    images = torch.tensor(data.images).permute(0, 3, 1, 2)
    network.train()  # normalise by the batch: there are no other statistics yet
    parts = [network.penultimate(to_float(part)) for part in images.split(500)]
    return torch.cat(parts).numpy()


def encoder(name: str) -> Callable[[ImageDataset, int], np.ndarray]:
    def encode(data: ImageDataset, seed: int) -> np.ndarray:
        return np.asarray(embed_dataset(data, name, seed=seed, device="cpu").features)

    return encode


FEATURES = {
    "pixels": pixels,
    "patches": encoder("patches"),
    "untrained": untrained,
    "simclr": encoder("simclr"),
}


def accuracies(features: np.ndarray, labels: np.ndarray, held_out: np.ndarray) -> dict[str, float]:
    scaled = StandardScaler().fit_transform(features)
    near = KNeighborsClassifier(NEIGHBOURS, metric="cosine", algorithm="brute")
    near.fit(features[~held_out], labels[~held_out])
    linear = LogisticRegression(max_iter=2_000).fit(scaled[~held_out], labels[~held_out])
    return {
        "neighbours": float(near.score(features[held_out], labels[held_out])),
        "linear": float(linear.score(scaled[held_out], labels[held_out])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("--images", type=int, help="a sample of so many (default: all)")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    data = load_dataset(options.dataset, data_root=options.data_root, offline=True)
    rng = generator(options.seed, "embedding quality")
    order = rng.permutation(len(data))[: options.images]
    data = replace(data, images=data.images[order], labels=data.labels[order], ids=data.ids[order])
    held_out = np.arange(len(data)) < len(data) // 5
    rows = {}
    for name, make in FEATURES.items():
        began = time.perf_counter()
        features = make(data, options.seed)
        seconds = round(time.perf_counter() - began, 1)
        rows[name] = accuracies(features, data.labels, held_out) | {"seconds": seconds}
        print(name, rows[name], flush=True)
    record = {
        "dataset": data.name,
        "images": len(data),
        "seed": options.seed,
        "cores": len(os.sched_getaffinity(0)),
        "versions": versions("torch", "scikit-learn"),
        "accuracy": rows,
    }
    options.out.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
