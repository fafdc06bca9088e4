"""Prototypes, exceptions, submodes and suspects: planted ones are found; cleanlab agrees."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st
from made_scores import record_of

from fmsel.errors import OptionError, OutputError
from fmsel.experiments.planted import planted_digits
from fmsel.metrics.evidence import Settings
from fmsel.metrics.scores import Scores
from fmsel.metrics.scores.categories import (
    EXCEPTION,
    PROTOTYPE,
    SUBMODE,
    categorise,
    missing_roles,
    submodes,
)
from fmsel.metrics.scores.export import write_rows
from fmsel.metrics.scores.score import score_dataset
from fmsel.metrics.scores.suspects import find_suspects, label_quality


def scores(**arrays: np.ndarray) -> Scores:
    named = {k.replace("_", "-"): np.asarray(v, np.float32) for k, v in arrays.items()}
    records = {name: record_of(array) for name, array in named.items()}
    n = len(next(iter(named.values())))
    return Scores(dataset={"dataset": "toy", "n": n}, arrays=named, records=records)


def planted(seed: int) -> tuple[Scores, np.ndarray, np.ndarray]:
    """Two classes of 200: 0-14 a submode, 15-24 rare but scattered, 25-29 with another's label.

    Images 195-199 are the best by every metric.
    """
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], 200)
    place = np.tile(np.arange(200), 2)
    features = rng.normal(size=(400, 40))
    features[place < 15] = 8 + 0.3 * rng.normal(size=(30, 40))
    scattered = (place >= 15) & (place < 25)
    features[scattered] = 30 * rng.normal(size=(20, 40))
    best = place >= 195

    def column(**raised: np.ndarray) -> np.ndarray:
        base = rng.uniform(0.4, 0.7, size=400)
        base[best] = 0.9
        base[raised.get("low", np.zeros(400, bool))] -= 0.35
        base[raised.get("high", np.zeros(400, bool))] += 0.2
        return base

    rare, heart = place < 25, (place >= 25) & (place < 30)
    made = scores(
        epoch_confidence=column(low=heart),
        self_confidence=column(high=rare, low=heart),
        conf=column(high=rare | heart),
        noise_tolerance=column(low=rare),
    )
    return made, labels, features


def test_planted_kinds_are_found(seed: int) -> None:
    made, labels, features = planted(seed)
    found = categorise(made, labels, features)
    place = np.arange(400) % 200
    assert (found.category[place >= 195] == PROTOTYPE).all()
    assert (found.category[(place >= 25) & (place < 30)] == EXCEPTION).all()
    assert (found.category[place < 15] == SUBMODE).mean() > 0.9
    assert not (found.category[(place >= 15) & (place < 25)] == SUBMODE).any()
    common = (place >= 30) & (place < 195)
    assert (found.category[common] == SUBMODE).sum() == 0
    assert ((found.cluster >= 0) == (found.category == SUBMODE)).all()


def test_canonical_prototypes_are_the_top_quarter_by_every_metric() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.permutation(40), rng.permutation(40)
    found = categorise(scores(conf=one, density=other), np.zeros(40, np.int64), None)
    np.testing.assert_array_equal(found.category == PROTOTYPE, (one >= 30) & (other >= 30))


def test_three_of_the_five_speak_for_all() -> None:
    rng = np.random.default_rng(2)
    conf, agr, ret, vog = (rng.permutation(200) for _ in range(4))
    found = categorise(scores(conf=conf, agr=agr, ret=ret, vog=vog), np.zeros(200, np.int64), None)
    expected = np.min([conf, agr, ret], axis=0) >= 150
    assert expected.any()
    np.testing.assert_array_equal(found.category == PROTOTYPE, expected)


def test_missing_roles_are_said_and_nothing_is_guessed() -> None:
    made, labels, features = planted(0)
    only = scores(self_confidence=made.array("self-confidence"), conf=made.array("conf"))
    assert missing_roles(only) == {SUBMODE: ("rare",)}
    assert missing_roles(scores(aum=made.array("conf"))) == {
        EXCEPTION: ("sure", "unseen"),
        SUBMODE: ("believed", "rare"),
    }
    assert missing_roles(made) == {}
    found = categorise(only, labels, features)
    assert SUBMODE not in found.category


def test_ranks_tell_no_belief() -> None:
    made, labels, features = planted(0)
    records = {name: replace(each, published="elsewhere") for name, each in made.records.items()}
    ranks = replace(made, records=records)
    assert missing_roles(ranks) == {SUBMODE: ("believed",)}
    found = categorise(ranks, labels, features)
    assert SUBMODE not in found.category and EXCEPTION in found.category


@pytest.mark.slow
def test_exceptions_have_labels_that_sure_networks_do_not_give() -> None:
    """Of digits with 5 % flipped labels; an image is among them by chance with 1 in 20."""
    data, truth = planted_digits(0)
    some = np.arange(0, len(data), 3)
    data = replace(data, images=data.images[some], labels=data.labels[some], ids=data.ids[some])
    flipped = np.isin(some, truth.groups["flipped"])
    made = score_dataset(data, ["self-confidence", "conf", "agr"], settings=Settings(device="cpu"))
    found = categorise(made, data.labels, None).category == EXCEPTION
    assert found.sum() >= 3
    assert flipped[found].mean() > 0.8


def two_clouds() -> tuple[np.ndarray, np.ndarray]:
    """100 common images of one class and two small clouds, of 8 and 12; and what is common."""
    rng = np.random.default_rng(0)
    centres = np.repeat([[0.0, 0], [30, 0], [0, 30]], [100, 8, 12], axis=0)
    return centres + rng.normal(size=(120, 2)), (np.arange(120) < 100).astype(float)


def test_two_submodes_of_a_class_are_told_apart_and_numbered_by_size() -> None:
    features, common = two_clouds()
    found = submodes(features, np.zeros(120, np.int64), common, np.full(120, 0.8))
    assert set(found[:100]) == {-1}
    assert set(found[108:]) == {0} and set(found[100:108]) == {1}


def test_a_cluster_must_be_rare_and_believed() -> None:
    features, common = two_clouds()
    doubted = np.where(np.arange(120) < 108, 0.2, 0.8)
    found = submodes(features, np.zeros(120, np.int64), common, doubted)
    assert set(found[:108]) == {-1} and set(found[108:]) == {0}
    assert set(submodes(features, np.zeros(120, np.int64), np.ones(120), common + 1)) == {-1}


def test_tiny_classes_and_equal_features_have_no_submodes() -> None:
    features, _ = two_clouds()
    for few in (features[:4], np.zeros((60, 3))):
        zeros = np.zeros(len(few))
        assert (submodes(few, zeros.astype(np.int64), zeros, zeros + 1) == -1).all()


@st.composite
def noisy(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Held-out probabilities, and labels of which some are wrong; every class has an image."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    classes, count = draw(st.integers(2, 5)), draw(st.integers(10, 60))
    truth = np.concatenate([np.arange(classes), rng.integers(0, classes, count)])
    probabilities = rng.dirichlet(np.full(classes, 0.7), len(truth))
    probabilities = 0.5 * probabilities + 0.5 * np.eye(classes)[truth]
    labels = np.where(rng.random(len(truth)) < 0.25, rng.integers(0, classes, len(truth)), truth)
    labels[:classes] = np.arange(classes)
    return probabilities, labels


@effort(max_examples=40)
@given(noisy())
def test_suspects_are_cleanlabs_in_cleanlabs_order(case: tuple[np.ndarray, np.ndarray]) -> None:
    probabilities, labels = case
    theirs = find_label_issues(
        labels,
        probabilities,
        filter_by="confident_learning",
        return_indices_ranked_by="normalized_margin",
        n_jobs=1,
    )
    found = find_suspects(probabilities, labels)
    np.testing.assert_array_equal(found.indices, theirs)
    expected = get_label_quality_scores(labels, probabilities, method="normalized_margin")
    np.testing.assert_allclose(label_quality(probabilities, labels), expected, atol=1e-12)
    np.testing.assert_allclose(found.score, expected[theirs], atol=1e-12)
    assert (found.proposed != labels[found.indices]).all()
    np.testing.assert_array_equal(found.probability, probabilities[found.indices, found.proposed])


def test_flipped_labels_are_found_with_the_label_they_had(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = np.arange(300) % 3
    labels = truth.copy()
    labels[:15] = (truth[:15] + 1) % 3
    probabilities = 0.3 * rng.dirichlet(np.ones(3), 300) + 0.7 * np.eye(3)[truth]
    found = find_suspects(probabilities, labels)
    # A class is only proposed above its own mean, which about half of the images reach.
    assert set(found.indices) <= set(range(15)) and len(found.indices) >= 5
    np.testing.assert_array_equal(found.proposed, truth[found.indices])


def test_a_class_without_images_is_never_proposed() -> None:
    probabilities = np.tile([0.1, 0.2, 0.7], (6, 1))
    found = find_suspects(probabilities, np.array([0, 0, 0, 1, 1, 1]))
    assert found.indices.tolist() == [0, 1, 2] and found.proposed.tolist() == [1, 1, 1]


def test_rows_round_trip(tmp_path: Path) -> None:
    headings, rows = ("index", "id", "score"), [(0, 'a,"b".png', 0.5), (7, "ü", -1.0)]
    write_rows(tmp_path / "t.csv", headings, rows)
    write_rows(tmp_path / "t.json", headings, rows)
    text = (tmp_path / "t.csv").read_text()
    assert text == 'index,id,score\n0,"a,""b"".png",0.5\n7,ü,-1.0\n'
    back = json.loads((tmp_path / "t.json").read_text())
    assert back == [dict(zip(headings, row, strict=True)) for row in rows]
    write_rows(tmp_path / "none.json", headings, [])
    assert json.loads((tmp_path / "none.json").read_text()) == []
    with pytest.raises(OutputError, match=r"t.csv already exists; pass --force"):
        write_rows(tmp_path / "t.csv", headings, rows)
    with pytest.raises(OptionError, match=r"t.txt will be a table; give it a name that ends in"):
        write_rows(tmp_path / "t.txt", headings, rows)
