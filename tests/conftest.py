"""Shared fixtures; also says which copy of fmsel the run is about."""

import os
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import settings

import fmsel.selection

# On a busy machine two threads wait for each other at every small layer; one never waits.
torch.set_num_threads(1)
# cuBLAS reads it once, at its first call; tests of deterministic steps need it.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
settings.register_profile("fmsel", deadline=None)  # no test is timed
settings.load_profile("fmsel")


def pytest_report_header() -> str:
    home = Path(fmsel.selection.__file__).parent
    kind = "working tree" if home == Path(__file__).parents[1] / "selection" else "INSTALLED COPY"
    return f"fmsel under test: {home} ({kind})"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked gpu are skipped where there is none; files that take long come first.

    Those are files with tests marked slow, then those with many tests: whatever runs last runs
    beside nothing.
    """
    slow = {item.path for item in items if "slow" in item.keywords}
    count = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path not in slow, -count[item.path], item.path))
    if torch.cuda.is_available():
        return
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests taking `seed` hold for any seed; FMSEL_TEST_SEEDS=0-99 runs them all."""
    if "seed" in metafunc.fixturenames:
        first, _, last = os.environ.get("FMSEL_TEST_SEEDS", "0").partition("-")
        metafunc.parametrize("seed", range(int(first), int(last or first) + 1))


@pytest.fixture(autouse=True)
def private_cache(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No test reads or fills the user's cache."""
    monkeypatch.setenv("FMSEL_CACHE", str(tmp_path_factory.mktemp("cache")))
