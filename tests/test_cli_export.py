"""`fmsel export` on a run that was really trained, and the files it writes, read by others."""

import json
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save, save_file
from torch import Tensor, nn

import fmsel.fixmatch
from fmsel.artefacts import sha256_file
from fmsel.cli.app import main
from fmsel.datasets import load_dataset
from fmsel.errors import ArtefactError
from fmsel.fixmatch.config import FixMatchConfig
from fmsel.fixmatch.run.folder import RunFolder
from fmsel.fixmatch.use import Classifier, Trained, as_onnx, as_safetensors, load_exported
from fmsel.selection.random_stratified import RandomStratified
from fmsel.selection.split import make_split
from fmsel.training.networks.build import build_network
from fmsel.training.networks.small_conv import SmallConv

RUN, WEIGHTS, GRAPH = "runs/digits", Path("exports/digits.safetensors"), Path("exports/digits.onnx")
IMAGES = np.random.default_rng(1).integers(0, 256, (33, 8, 8, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 steps of a network of 8 channels on 40 digits."""
    root = tmp_path_factory.mktemp("study")
    split = make_split(load_dataset("digits"), RandomStratified(), batch_size=40, seed=0)
    split.save(root / "split.json")
    words = ["--preset", "smoke", "--device", "cpu", "--precision", "fp32"]
    assert main(["train", "--split", str(root / "split.json"), *words, "--out", f"{root}/run"]) == 0
    return root / "run"


@pytest.fixture(autouse=True)
def home(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the run."""
    shutil.copytree(trained, tmp_path / RUN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def averaged() -> dict[str, Tensor]:
    """The run's live state, with each parameter's average in its place."""
    saved = RunFolder(Path(RUN)).restore(torch.device("cpu"))
    assert saved is not None
    learner = saved[0]["learner"]
    return {name: learner["ema"].get(name, live) for name, live in learner["model"].items()}


def expected(network: nn.Module, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Probabilities in float64."""
    with torch.no_grad():
        logits = network.double().eval()(torch.tensor(images.transpose(0, 3, 1, 2) / 127.5 - 1))
    powers = np.exp(logits.numpy())
    shares: npt.NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def digits_network() -> nn.Module:
    network = SmallConv(10, 8, 8)
    network.load_state_dict(averaged())
    return network


def check_metadata(found: dict[str, str]) -> None:
    assert json.loads(found["class_names"]) == [str(k) for k in range(10)]
    assert found["architecture"] == "small-conv-8"
    assert found["image_side"] == "8"
    assert found["normalisation"] == "x * 2 / 255 - 1"
    assert found["step"] == "20"
    assert found["run_config_sha256"] == sha256_file(Path(RUN) / "config.json")
    assert found["fmsel_version"] == version("fmsel")


def test_safetensors_holds_the_averaged_weights_bit_for_bit(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["export", RUN, "--format", "safetensors"]) == 0
    assert "wrote exports/digits.safetensors (probabilities within" in capsys.readouterr().out
    assert sorted(Path("exports").iterdir()) == [WEIGHTS]
    tensors, truth = load_file(WEIGHTS), averaged()
    assert tensors.keys() == truth.keys()
    assert all(torch.equal(tensors[name], truth[name]) for name in truth)
    with safe_open(WEIGHTS, framework="np") as file:
        check_metadata(file.metadata())


def test_the_network_comes_back() -> None:
    assert main(["export", RUN, "--format", "safetensors"]) == 0
    network, names = load_exported(WEIGHTS)
    assert names == tuple(str(k) for k in range(10))
    assert not network.training
    with torch.no_grad():
        shares = Classifier(network)(torch.tensor(IMAGES)).numpy()
    assert shares.dtype == np.float32
    error = np.abs(shares - expected(digits_network(), IMAGES)).max()
    print(f"largest difference from float64: {error:.2g}")
    assert error < 2e-6


def session(path: Path) -> Any:
    onnxruntime = pytest.importorskip("onnxruntime")
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def test_onnx_takes_bytes_and_gives_the_same_probabilities() -> None:
    pytest.importorskip("onnxscript")
    assert main(["export", RUN]) == 0
    assert sorted(Path("exports").iterdir()) == [GRAPH, WEIGHTS]
    graph = session(GRAPH)
    (given,), (result,) = graph.get_inputs(), graph.get_outputs()
    assert (given.name, given.type, given.shape) == ("images", "tensor(uint8)", ["N", 8, 8, 3])
    assert (result.name, result.type) == ("probabilities", "tensor(float)")
    truth = expected(digits_network(), IMAGES)
    for count in (1, 33):
        (shares,) = graph.run(None, {"images": IMAGES[:count]})
        error = np.abs(shares - truth[:count]).max()
        print(f"{count} images, largest difference from float64: {error:.2g}")
        assert error < 2e-6
    check_metadata(graph.get_modelmeta().custom_metadata_map)
    here = Path(fmsel.fixmatch.__file__).parents[1]
    assert str(here).encode() not in GRAPH.read_bytes()


def untrained(arch: str, side: int) -> Trained:
    """Random weights, and batch norm statistics that are not those of a new network."""
    network = build_network(arch, n_classes=3, image_side=side, bn_momentum=0.1, seed=0).eval()
    generator = torch.Generator().manual_seed(0)
    for name, values in network.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            values.copy_(torch.rand(values.shape, generator=generator) + 0.5)
    return Trained(
        run=Path(RUN),
        network=network,
        config=FixMatchConfig(arch=arch),
        step=1,
        class_names=("a", "b, c", 'd"'),
        image_side=side,
        config_sha256="",
    )


def test_the_papers_network_survives_both_formats() -> None:
    pytest.importorskip("onnxscript")
    arch, side = "wrn-28-1", 10  # 10 pixels: one convolution pads both sides alike, one does not
    given = untrained(arch, side)
    as_onnx.write_onnx(given, GRAPH)
    as_safetensors.write_safetensors(given, WEIGHTS)
    images = np.random.default_rng(2).integers(0, 256, (5, side, side, 3), dtype=np.uint8)
    (shares,) = session(GRAPH).run(None, {"images": images})
    network, names = load_exported(WEIGHTS)
    assert names == given.class_names
    with torch.no_grad():
        again = Classifier(network)(torch.tensor(images)).numpy()
    truth = expected(given.network, images)
    errors = np.abs(shares - truth).max(), np.abs(again - truth).max()
    print(f"{arch}: onnx {errors[0]:.2g}, safetensors {errors[1]:.2g} from float64")
    assert max(errors) < 1e-5


def test_without_the_extra_onnx_is_refused_and_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(as_onnx, "PACKAGES", ("no_such_package",))
    assert main(["export", RUN, "--format", "safetensors", "--format", "onnx"]) == 2
    said = capsys.readouterr().err
    assert said == "error: format onnx needs more packages; pip install 'fmsel[onnx]'\n"
    assert not Path("exports").exists()
    assert main(["export", RUN]) == 0
    assert "no ONNX file, which needs more packages; pip install" in capsys.readouterr().out
    assert sorted(Path("exports").iterdir()) == [WEIGHTS]


def wrong_tensors(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    def changed(tensors: dict[str, Tensor], about: dict[str, str]) -> bytes:
        bias = tensors["head.bias"].clone()
        bias[0] += value
        return save({**tensors, "head.bias": bias}, about)

    monkeypatch.setattr(as_safetensors, "save", changed)


def wrong_graph(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    onnx = pytest.importorskip("onnx")
    image = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, ["N", 8, 8, 3])
    share = onnx.helper.make_tensor_value_info("probabilities", onnx.TensorProto.FLOAT, [8, 10])
    numbers = onnx.numpy_helper.from_array(np.full((8, 10), value, np.float32))
    node = onnx.helper.make_node("Constant", [], ["probabilities"], value=numbers)
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "constant", [image], [share]),
        opset_imports=[onnx.helper.make_opsetid("", 18)],
        ir_version=10,
    )
    monkeypatch.setattr(as_onnx, "_graph", lambda _: model.SerializeToString())


@pytest.mark.parametrize(
    ("form", "harm", "value"),
    [
        ("safetensors", wrong_tensors, 0.01),
        ("safetensors", wrong_tensors, np.nan),
        ("onnx", wrong_graph, 0.1),
    ],
)
def test_a_file_that_disagrees_with_the_run_is_not_put_in_place(
    form: str,
    harm: Callable[[pytest.MonkeyPatch, float], None],
    value: float,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    harm(monkeypatch, value)
    assert main(["export", RUN, "--format", form]) == 2
    said = capsys.readouterr().err
    assert f"exports/digits.{form} was not written, for its probabilities" in said
    assert said.count("\n") == 1
    assert list(Path("exports").iterdir()) == []


def test_existing_files_are_refused_before_any_is_written(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("exports").mkdir()
    WEIGHTS.write_text("mine")
    words = ["export", RUN, "--format", "safetensors"]
    assert main(words) == 2
    assert "exports/digits.safetensors already exists; pass --force" in capsys.readouterr().err
    assert WEIGHTS.read_text() == "mine"
    assert main([*words, "--force"]) == 0
    assert len(load_exported(WEIGHTS)[1]) == 10


def test_a_run_without_its_data_set_can_be_exported() -> None:
    path = Path(RUN) / "config.json"
    values = json.loads(path.read_text())
    values["dataset"] |= {
        "class_names": list("abcdefghij"),
        "image_side": 8,
        "source": {"dataset": "/no/such/folder"},
    }
    path.write_text(json.dumps(values))
    assert main(["export", RUN, "--format", "safetensors", "--out", "there"]) == 0
    assert load_exported(Path("there/digits.safetensors"))[1] == tuple("abcdefghij")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([RUN, "--format", "pickle"], "format 'pickle' must be one of safetensors, onnx"),
        (["missing"], "missing is not a run folder: it holds no config.json"),
        ([RUN, "--out", f"{RUN}/config.json"], "cannot write to runs/digits/config.json"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", *words]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert not Path("exports").exists()


@pytest.mark.parametrize("form", ["missing", "text", "foreign", "other network"])
def test_a_file_that_export_did_not_write_is_refused(form: str) -> None:
    path = Path("odd.safetensors")
    if form == "text":
        path.write_text("no tensors")
    elif form == "foreign":
        save_file({"weight": torch.zeros(3)}, path)
    elif form == "other network":
        assert main(["export", RUN, "--format", "safetensors"]) == 0
        with safe_open(WEIGHTS, framework="pt") as file:
            save_file({"weight": torch.zeros(3)}, path, file.metadata())
    sentence = "there is no exported network" if form == "missing" else "is no network that"
    with pytest.raises(ArtefactError, match=sentence):
        load_exported(path)
