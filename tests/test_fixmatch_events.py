"""TensorBoard events are the lines of metrics.jsonl, by the format's own definition."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorboardX.proto.event_pb2 import Event

from fmsel.cli.app import main
from fmsel.datasets import load_dataset
from fmsel.fixmatch.run import events
from fmsel.selection.random_stratified import RandomStratified
from fmsel.selection.split import make_split

WORDS = [
    *("train", "--split", "s.json", "--preset", "smoke", "--device", "cpu"),
    *("--tensorboard", "--eval-every", "2"),
]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_split(load_dataset("digits"), RandomStratified(), batch_size=40).save(Path("s.json"))


def records(path: Path) -> Iterator[Any]:
    """TFRecord: length (uint64), its checksum (uint32), the bytes, their checksum (uint32)."""
    data = path.read_bytes()
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        yield Event.FromString(data[12 : 12 + length])
        data = data[12 + length + 4 :]


def scalars(folder: Path) -> dict[tuple[str, int], float]:
    """What TensorBoard shows: a session start discards what came before, from its step on."""
    shown: dict[tuple[str, int], float] = {}
    for path in sorted(folder.iterdir(), key=lambda each: each.stat().st_mtime_ns):
        for event in records(path):
            if event.HasField("session_log") and event.session_log.status == 1:
                shown = {key: value for key, value in shown.items() if key[1] < event.step}
            for value in event.summary.value:
                shown[value.tag, event.step] = value.simple_value
    return shown


def expected(run: Path) -> dict[tuple[str, int], float]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {
        (name, row["step"]): value
        for row in rows
        for name, value in row.items()
        if name != "step" and value is not None
    }


def test_events_are_the_metrics_and_a_resumed_run_has_no_others() -> None:
    run = Path("runs/s-seed0")
    assert main([*WORDS, "--steps", "6"]) == 0
    assert {step for _, step in expected(run)} == {2, 4, 6}
    assert scalars(run / "tensorboard") == pytest.approx(expected(run), rel=1e-6)
    # As if it had been killed after step 4: what came after it must not be shown twice.
    (run / "summary.json").unlink()
    (run / "checkpoints" / "step-00000006.safetensors").unlink()
    assert main([*WORDS, "--steps", "6", "--resume"]) == 0
    assert scalars(run / "tensorboard") == pytest.approx(expected(run), rel=1e-6)
    assert main([*WORDS, "--steps", "2", "--force"]) == 0
    assert {step for _, step in scalars(run / "tensorboard")} == {2}


def test_without_the_extra_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(events, "find_spec", lambda name: None)
    assert main(WORDS) == 2
    assert "pip install fmsel[tensorboard]" in capsys.readouterr().err
    assert not Path("runs").exists()
