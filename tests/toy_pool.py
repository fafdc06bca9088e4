"""A small pool with the true labels beside it."""

from typing import Any

import numpy as np

from fmsel.selection.pool import Pool, Strategy


class Toy:
    """A pool that holds no labels, or those called `held`, beside the true ones of its images."""

    def __init__(self, *, labels: np.ndarray, class_names: tuple[str, ...], **known: Any) -> None:
        self.labels = labels
        self.scores = known.get("scores", {})
        self.class_names = class_names
        held = known.pop("held", None)
        self.pool = Pool(n=len(labels), class_names=class_names, labels=held, **known)

    def __len__(self) -> int:
        return len(self.labels)


def query(strategy: Strategy, toy: Toy, *, batch_size: int, seed: int = 0) -> np.ndarray:
    return strategy.query(toy.pool, batch_size=batch_size, seed=seed, truth=toy.labels)


def global_generator() -> tuple[list[int], int]:
    state = np.random.get_state(legacy=False)["state"]  # noqa: NPY002 - to see it unchanged
    return state["key"].tolist(), state["pos"]
