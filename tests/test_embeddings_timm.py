"""Backbones of timm, with random weights in local files, against timm's own forward and Pillow."""

import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from fmsel.datasets import ImageDataset, Source, WeakAugment
from fmsel.embeddings.timm import plan, prepare
from fmsel.embeddings.vectors.make import embed_dataset, encoder_names
from fmsel.embeddings.vectors.plan import Request
from fmsel.errors import ArtefactError, DataError, FmselError, OptionError

SMALL = "test_resnet"  # 0.4 million weights, 160 pixels, bilinear
BICUBIC = "test_vit"
TOOLS: Any = timm.data  # typed in parts


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever tries to reach the network fails at once."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network in tests")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def blobs(count: int = 40, side: int = 32) -> ImageDataset:
    """Smooth colourful images, as photographs are, with noise on top."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    smooth = [np.asarray(Image.fromarray(c).resize((side, side))) for c in coarse]
    noisy = np.stack(smooth) + rng.normal(0, 8, (count, side, side, 3))
    return ImageDataset(
        name="blobs",
        source=Source(dataset="./blobs"),
        part="train",
        images=noisy.clip(0, 255).astype(np.uint8),
        labels=np.full(count, -1),
        ids=np.arange(count).astype(str),
        class_names=(),
        weak=WeakAugment(),
    )


def model_and_weights(name: str, path: Path) -> Any:
    """A model of random weights, classifier included, that lie in `path`."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = timm.create_model(name, pretrained=False)
    state = model.state_dict()
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state, "epoch": 3}, path)
    return model


def pillow_way(model: Any, images: np.ndarray) -> torch.Tensor:
    """timm's evaluation transform, of the whole image."""
    settings = TOOLS.resolve_model_data_config(model) | {"crop_pct": 1.0}
    transform = TOOLS.create_transform(**settings, is_training=False)
    return torch.stack([transform(Image.fromarray(image)) for image in images])


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("name", [SMALL, BICUBIC])
def test_features_are_timms(tmp_path: Path, name: str, suffix: str) -> None:
    data, path = blobs(), tmp_path / f"weights{suffix}"
    model = model_and_weights(name, path).eval()
    found = embed_dataset(data, f"timm:{name}", weights=path, device="cpu")
    pixels = pillow_way(model, data.images)
    with torch.inference_mode():
        features = model.forward_features(pixels)
        expected = model.forward_head(features, pre_logits=True).numpy()
    # A few pixels are a grey level apart.
    size = np.abs(expected).max()
    np.testing.assert_allclose(found.features, expected, atol=1e-3 * size)
    assert np.abs(expected - expected.mean(axis=0)).max() > 0.05 * size  # images do differ
    kept = found.parameters
    assert (kept["weights"], kept["input_size"][1:]) == (path.name, (160, 160))
    assert len(kept["weights_sha256"]) == 64 and not found.uses_labels


@pytest.mark.parametrize("name", [SMALL, BICUBIC])
@pytest.mark.parametrize("side", [8, 160, 200])
def test_pixels_are_pillows_but_for_halves(name: str, side: int) -> None:
    model = timm.create_model(name, pretrained=False, num_classes=0)
    settings = TOOLS.resolve_model_data_config(model)
    images = blobs(4, side).images
    ours = prepare(torch.from_numpy(images.copy()).permute(0, 3, 1, 2), settings)
    theirs = pillow_way(model, images)
    level = 1 / (255 * min(settings["std"]))
    assert ours.shape == theirs.shape == (4, 3, 160, 160)
    apart = (ours - theirs).abs()
    assert float(apart.max()) < 2.01 * level and float((apart > 1e-5).float().mean()) < 0.06


def test_images_do_not_depend_on_their_batch(tmp_path: Path) -> None:
    path, data = tmp_path / "w.safetensors", blobs()
    model_and_weights(SMALL, path)
    request = Request(device=torch.device("cpu"), argument=SMALL, weights=path)
    told: list[float] = []
    made = plan(data, request)
    features = made.run(told.append)
    assert (features.shape, sum(told)) == ((40, made.width), made.total)
    few = plan(
        replace(data, images=data.images[35:], labels=data.labels[35:], ids=data.ids[35:]), request
    )
    np.testing.assert_allclose(few.run(lambda count: None), features[35:], atol=1e-5)


def refused(encoder: str, kind: type[FmselError], sentence: str, **more: Any) -> None:
    with pytest.raises(kind, match=sentence):
        embed_dataset(blobs(4), encoder, device="cpu", **more)


def test_unknown_names() -> None:
    assert "timm:NAME" in encoder_names()
    refused("timm:resnet5O", OptionError, r"has no model 'resnet5O'; did you mean resnet50")
    refused("timm:hf-hub:x/y", OptionError, "has no model 'hf-hub:x/y'")
    refused("timm", OptionError, "unknown encoder 'timm'; the encoders are .*timm:NAME")
    refused("timm:", OptionError, "unknown encoder 'timm:'")
    refused("patches:resnet18", OptionError, "unknown encoder 'patches:resnet18'")


def test_options_of_other_encoders(tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    refused("simclr", OptionError, "--weights is for the encoder timm, not", weights=weights)
    refused(f"timm:{SMALL}", OptionError, "--epochs is for the encoder simclr, not", epochs=3)


def test_weights_of_another_model(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    sentence = rf"w\.safetensors does not hold the weights of {SMALL} "
    model_and_weights(BICUBIC, path)
    refused(f"timm:{SMALL}", ArtefactError, sentence, weights=path)
    model = model_and_weights(SMALL, path)
    state = {name: weight for name, weight in model.state_dict().items() if "layer3" not in name}
    save_file(state, path)
    refused(f"timm:{SMALL}", ArtefactError, sentence, weights=path)
    narrow = {
        name: weight[:1].clone() for name, weight in model.state_dict().items() if weight.ndim
    }
    save_file(narrow, path)
    refused(f"timm:{SMALL}", ArtefactError, sentence, weights=path)


def test_unreadable_weights(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    refused(f"timm:{SMALL}", ArtefactError, r"there is no file .*w\.pth", weights=path)
    path.write_text("no weights")
    refused(f"timm:{SMALL}", ArtefactError, r"w\.pth cannot be read as weights", weights=path)
    path.rename(tmp_path / "w.safetensors")
    path = tmp_path / "w.safetensors"
    refused(f"timm:{SMALL}", ArtefactError, "cannot be read as weights", weights=path)
    path = tmp_path / "list.pth"
    torch.save([1, 2], path)
    refused(f"timm:{SMALL}", ArtefactError, "cannot be read as weights", weights=path)
    torch.save({"w": 3}, path)
    refused(f"timm:{SMALL}", ArtefactError, "cannot be read as weights", weights=path)


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    path, proof = tmp_path / "evil.pth", tmp_path / "proof"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (proof,)

    torch.save({"state_dict": Evil()}, path)
    refused(f"timm:{SMALL}", ArtefactError, "cannot be read as weights", weights=path)
    assert not proof.exists()


def test_without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    refused(f"timm:{SMALL}", DataError, "--offline downloads no weights", offline=True)

    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("the hub is away\nand more")

    monkeypatch.setattr(timm, "create_model", fail)
    sentence = r"weights of test_resnet cannot be downloaded \(the hub is away\); give .* --weights"
    refused(f"timm:{SMALL}", DataError, sentence)


def test_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    refused(f"timm:{SMALL}", OptionError, r"pip install 'fmsel\[timm\]'")


@pytest.mark.gpu
def test_gpu_agrees_with_the_cpu_to_bf16(tmp_path: Path) -> None:
    path, data = tmp_path / "w.safetensors", blobs()
    model_and_weights(SMALL, path)
    made = [
        embed_dataset(data, f"timm:{SMALL}", weights=path, device=device).features
        for device in ("cpu", "cuda")
    ]
    np.testing.assert_allclose(made[1], made[0], atol=0.05 * np.abs(made[0]).max())
