"""`embed_dataset`: images in, `Embeddings` out, by an encoder of this package."""

import pkgutil
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType

import fmsel.embeddings
from fmsel.datasets import ImageDataset
from fmsel.embeddings import ARGUMENTS
from fmsel.embeddings.vectors.artefact import Embeddings
from fmsel.embeddings.vectors.checks import check_vectors
from fmsel.embeddings.vectors.plan import Plan, Request
from fmsel.embeddings.vectors.reduce import Reduction
from fmsel.errors import OptionError
from fmsel.progress import progress_bar
from fmsel.training.engine.device import resolve_device


def encoder_names() -> tuple[str, ...]:
    """All encoders as they are typed, such as "patches" or "timm:NAME", without importing them."""
    modules = pkgutil.iter_modules(fmsel.embeddings.__path__)
    found = sorted(m.name.replace("_", "-") for m in modules if not m.ispkg)
    return tuple(f"{name}:{ARGUMENTS[name]}" if name in ARGUMENTS else name for name in found)


def embed_dataset(
    data: ImageDataset,
    encoder: str = "patches",
    reduction: Reduction | None = None,
    *,
    weights: Path | None = None,
    epochs: int | None = None,
    seed: int = 0,
    device: str = "auto",
    offline: bool = False,
    say: Callable[[str], None] | None = None,
) -> Embeddings:
    """Embed every image of `data`; no label is read.

    Args:
        data: images that are not all alike.
        encoder: one of `encoder_names()`.
        reduction: PCA and normalisation; None = neither.
        weights: pretrained weights of `timm:NAME`; None = those that timm downloads.
        epochs: of `simclr`; None = as many as its configuration says.
        seed: of the encoder and of PCA.
        device: as `resolve_device` takes it.
        offline: never download.
        say: called with one line before the work.
    Raises:
        OptionError: an unknown encoder, an option that it does not take, or more components than
            there are.
        DataError: images that the encoder cannot use, or that all look alike to it.
        Interrupted: a signal stopped the training of an encoder; the same call goes on.
    """
    module = _module(encoder, weights, epochs)
    reduction = reduction or Reduction()
    request = Request(
        device=resolve_device(device),
        argument=encoder.partition(":")[2],
        weights=weights,
        epochs=epochs,
        seed=seed,
        offline=offline,
    )
    plan = _plan(module, data, request)
    reduction.check(len(data), plan.width)
    if say:
        size = f"{len(data) * plan.width * 4 / 1e6:,.0f} MB"
        say(f"{encoder}: {plan.width:,} features of {len(data):,} images ({size}){plan.note}")
    with progress_bar(f"{encoder} features", plan.total) as advance:
        features = plan.run(advance)
    check_vectors(features, data.ids, f"{encoder} features of {data.name}")
    features, record = reduction.apply(features, seed)
    return Embeddings(
        dataset=data.describe(),
        features=features,
        encoder=encoder,
        parameters={"features": plan.width, **plan.parameters, **record},
        seed=seed,
        uses_labels=False,
    )


def _module(encoder: str, weights: Path | None, epochs: int | None) -> ModuleType:
    """The module of an encoder; OptionError for an unknown one or an option it does not take."""
    name, _, argument = encoder.partition(":")
    typed = f"{name}:{ARGUMENTS.get(name)}" if argument else encoder
    if typed not in encoder_names():
        raise OptionError(
            f"unknown encoder {encoder!r}; the encoders are {', '.join(encoder_names())}, "
            "and --from FILE takes vectors of any other"
        )
    for option, value, takes in (("--weights", weights, "timm"), ("--epochs", epochs, "simclr")):
        if value is not None and name != takes:
            raise OptionError(f"{option} is for the encoder {takes}, not for {encoder}")
    return import_module(f"fmsel.embeddings.{name.replace('-', '_')}")


def _plan(module: ModuleType, data: ImageDataset, request: Request) -> Plan:
    if hasattr(module, "plan"):
        made: Plan = module.plan(data, request)
        return made
    encode = partial(module.encode, seed=request.seed, device=request.device)
    return Plan(
        width=encode(data.images[:1]).shape[1],
        run=lambda advance: encode(data.images, advance=advance),
        total=len(data),
    )
