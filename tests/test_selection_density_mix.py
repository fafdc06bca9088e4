"""`density_mix` takes both ends of planted blobs, and evens out."""

import numpy as np
import pytest
from clouds import SEEDS, brute_typicality, cloud, planted, pool_of
from hypothesis import given, settings
from hypothesis import strategies as st

from fmsel.errors import BudgetError, OptionError
from fmsel.selection.coverage.kernels import directions
from fmsel.selection.density_mix import DensityMix
from fmsel.selection.pool.classes import even_turns
from fmsel.selection.pool.extremes import Band
from fmsel.selection.typiclust import Typiclust


def ends(picks: np.ndarray, features: np.ndarray, blob: np.ndarray) -> dict[int, list[int]]:
    """Of each blob, where the picks stand when it is ranked from its sparsest image."""
    places: dict[int, list[int]] = {}
    for pick in picks:
        own = np.flatnonzero(blob == blob[pick])
        order = own[np.argsort(brute_typicality(directions(features[own])), kind="stable")]
        places.setdefault(int(blob[pick]), []).append(int(np.flatnonzero(order == pick)[0]))
    return places


def test_density_mix_takes_both_ends_of_every_cluster() -> None:
    features, blob = planted((60, 50, 40))
    picks = DensityMix(clusters=3, ratio=0.5).query(pool_of(features), batch_size=12)
    for label, places in ends(picks, features, blob).items():
        last = (60, 50, 40)[label] - 1
        assert sorted(places) == [0, 1, last - 1, last]


def test_density_mix_says_which_are_prototypes_and_which_outliers() -> None:
    features, blob = planted((60, 50, 40))
    pool, strategy = pool_of(features), DensityMix(clusters=3, ratio=0.25)
    indices, prototypes = strategy.choose(pool, batch_size=12)
    assert indices.tolist() == strategy.query(pool, batch_size=12).tolist()
    assert prototypes is not None and prototypes.sum() == 3
    for which, far in ((prototypes, False), (~prototypes, True)):
        for label, places in ends(indices[which], features, blob).items():
            middle = (60, 50, 40)[label] / 2
            assert all((place < middle) == far for place in places)


def test_outliers_of_density_mix_lie_in_the_band() -> None:
    features, blob = planted((60, 60, 60))
    strategy = DensityMix(clusters=3, ratio=0, outlier_band=Band(10, 25))
    picks = strategy.query(pool_of(features), batch_size=9)
    assert all(places == [6, 7, 8] for places in ends(picks, features, blob).values())
    with pytest.raises(BudgetError, match=r"the outlier band 10-25 of cluster \d holds 9 of its"):
        strategy.query(pool_of(features), batch_size=30)


@given(seed=SEEDS, share=st.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_density_mix_evens_out_labels_and_keeps_its_share(seed: int, share: float) -> None:
    features, blob = planted((60, 50, 40), seed % 7)
    held = np.flatnonzero(blob == 0)[:2]
    strategy = DensityMix(clusters=3, ratio=share)
    picks = strategy.query(pool_of(features, labeled=held), batch_size=13, seed=seed)
    assert np.bincount(blob[np.append(held, picks)]).tolist() == [5, 5, 5]
    middle = {label: size / 2 for label, size in enumerate((60, 50, 40))}
    places = ends(picks, features, blob)
    prototypes = sum(place > middle[label] for label, own in places.items() for place in own)
    assert abs(prototypes - share * 13) <= 0.5 + 1e-9


def test_a_mix_of_prototypes_alone_is_the_choice_of_typiclust() -> None:
    features, _ = planted((60, 50, 40))
    mix = DensityMix(clusters=3, ratio=1).query(pool_of(features), batch_size=3)
    assert sorted(mix) == sorted(Typiclust().query(pool_of(features), batch_size=3))


def test_density_mix_has_as_many_clusters_as_there_are_classes() -> None:
    features, _ = planted((60, 50, 40))
    default = DensityMix().query(pool_of(features, class_names=("a", "b", "c")), batch_size=6)
    assert default.tolist() == DensityMix(3).query(pool_of(features), batch_size=6).tolist()
    with pytest.raises(OptionError, match="their number is not known here; give `clusters`"):
        DensityMix().query(pool_of(features), batch_size=6)


@given(
    seed=SEEDS,
    room=st.lists(st.integers(0, 9), min_size=1, max_size=6),
    total=st.integers(0, 40),
)
@settings(max_examples=50)
def test_turns_are_even_as_far_as_there_is_room(seed: int, room: list[int], total: int) -> None:
    rng = np.random.default_rng(seed)
    held = rng.integers(0, 4, len(room))
    turns = even_turns(held, total, rng, np.array(room))
    new = np.bincount(turns, minlength=len(room))
    assert len(turns) == min(total, sum(room))
    assert (new <= room).all()
    labels = held + new
    for each in np.flatnonzero(new):  # nobody with room left lags behind one that was served
        assert (labels[new < room] >= labels[each] - 1).all()


def test_a_share_outside_0_to_1_is_refused() -> None:
    with pytest.raises(OptionError, match=r"within 0\.\.1, got 1\.5"):
        DensityMix(3, ratio=1.5).query(pool_of(cloud(0, 20)), batch_size=2)
