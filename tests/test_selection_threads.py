"""Equal images, and threads: every strategy on features chooses the same with one thread or two."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from fmsel.selection.facility_location import FacilityLocation
from fmsel.selection.maxherding import Maxherding
from fmsel.selection.pool import Pool, Strategy, strategy_class, strategy_names
from fmsel.selection.probcover import Probcover
from fmsel.selection.uherding import Uherding
from fmsel.selection.usl import Usl

BY_FEATURES = [name for name in strategy_names() if "features" in strategy_class(name).NEEDS]
# Prints the choices of every strategy from two pools: of shuffled copies, and of few values.
CHOOSE = """
import json, sys
import numpy as np
from fmsel.selection.pool import Pool, strategy_class

rng = np.random.default_rng(0)
centres = 3 * rng.normal(size=(9, 37))[rng.integers(9, size=450)]
copies = np.tile(rng.normal(size=(450, 37)) + centres, (3, 1))
binary = rng.integers(0, 2, size=(900, 7))
found = {}
for kind, rows in {"copies": rng.permutation(copies), "binary": binary}.items():
    features = rows.astype(np.float32)
    weights = rng.normal(size=(features.shape[1], 5))
    chances = np.exp(sum(np.outer(column, weight) for column, weight in zip(rows.T, weights)) / 4)
    pool = Pool(
        n=len(features),
        class_names=tuple("abcde"),
        labeled=rng.permutation(len(features))[:7],
        features=features,
        probabilities=chances / chances.sum(axis=1, keepdims=True),
    )
    for name in sys.argv[1:]:
        picks = strategy_class(name)().query(pool, batch_size=60, seed=1)
        found[f"{name}, {kind}"] = picks.tolist()
print(json.dumps(found))
"""


def chosen_with(threads: int) -> dict[str, list[int]]:
    """What a process whose libraries all use so many threads chooses."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    quiet = {"OMP_WAIT_POLICY": "passive", "PYTHONWARNINGS": "ignore"}
    said = subprocess.run(
        [sys.executable, "-c", CHOOSE, *BY_FEATURES],
        env=os.environ | quiet | dict.fromkeys(names, str(threads)),
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return dict(json.loads(said))


def test_one_thread_and_two_choose_the_same_also_among_equal_images() -> None:
    one, two = chosen_with(1), chosen_with(2)
    assert len(one) == 2 * len(BY_FEATURES)
    assert [name for name in one if one[name] != two[name]] == []


@pytest.mark.parametrize(
    "strategy",
    [Probcover(0.9), Maxherding(0.7), FacilityLocation(), Uherding(0.5), Usl(neighbours=9)],
    ids=lambda each: each.name,
)
def test_of_equal_images_the_lowest_index_is_chosen(strategy: Strategy, seed: int) -> None:
    """Copies lie in other places of the matrix, where products round otherwise."""
    rng = np.random.default_rng(seed)
    count, copies = 161, 4
    rows = rng.normal(size=(count, 37)) + 2 * rng.normal(size=(5, 37))[rng.integers(5, size=count)]
    of = np.concatenate([rng.permutation(count) for _ in range(copies)])  # whose copy each is
    pool = Pool(
        n=count * copies,
        features=rows[of].astype(np.float32),
        probabilities=rng.dirichlet(np.ones(4), count)[of],
    )
    first: dict[int, list[int]] = {}
    for pick in strategy.query(pool, batch_size=80).tolist():
        first.setdefault(int(of[pick]), []).append(pick)
    for original, picks in first.items():
        assert picks == np.flatnonzero(of == original)[: len(picks)].tolist()
