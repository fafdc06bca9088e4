"""Counting on the device, against numpy, in both of its ways."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fmsel.training.engine.counts import smaller_than_each


@pytest.fixture(params=[False, True], ids=["scattered", "sorted"], scope="module")
def deterministic(request: pytest.FixtureRequest) -> Iterator[bool]:
    torch.use_deterministic_algorithms(request.param)
    yield request.param
    torch.use_deterministic_algorithms(False)


@given(
    values=arrays.arrays(
        np.int64, st.tuples(st.integers(0, 3), st.integers(0, 9)), elements=st.integers(0, 6)
    )
)
def test_counts_are_those_of_numpy(deterministic: bool, values: np.ndarray) -> None:
    assert torch.are_deterministic_algorithms_enabled() == deterministic
    found = smaller_than_each(torch.from_numpy(values), 7).numpy()
    assert found.shape == (len(values), 7)
    for row, counts in zip(values, found, strict=True):
        assert counts.tolist() == [(row < level).sum() for level in range(7)]


def test_a_single_row(deterministic: bool) -> None:
    assert smaller_than_each(torch.tensor([2, 0, 2, 1]), 4).tolist() == [0, 1, 2, 4]
