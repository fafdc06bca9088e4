"""`embed_dataset`: images in, `Embeddings` out, by an encoder of this package."""

import pkgutil
from collections.abc import Callable
from importlib import import_module

import fmsel.embeddings
from fmsel.datasets import ImageDataset
from fmsel.embeddings.vectors.artefact import Embeddings
from fmsel.embeddings.vectors.checks import check_vectors
from fmsel.embeddings.vectors.reduce import Reduction
from fmsel.errors import OptionError
from fmsel.progress import progress_bar
from fmsel.training.engine.device import resolve_device


def encoder_names() -> tuple[str, ...]:
    """Names of all encoders, without importing them."""
    found = pkgutil.iter_modules(fmsel.embeddings.__path__)
    return tuple(sorted(m.name.replace("_", "-") for m in found if not m.ispkg))


def embed_dataset(
    data: ImageDataset,
    encoder: str = "patches",
    reduction: Reduction | None = None,
    *,
    seed: int = 0,
    device: str = "auto",
    say: Callable[[str], None] | None = None,
) -> Embeddings:
    """Embed every image of `data`; no label is read.

    Args:
        data: images that are not all alike.
        encoder: one of `encoder_names()`.
        reduction: PCA and normalisation; None = neither.
        seed: of the encoder and of PCA.
        device: as `resolve_device` takes it.
        say: called with one line before the work.
    Raises:
        OptionError: an unknown encoder, or more components than there are.
        DataError: images that the encoder cannot use, or that all look alike to it.
    """
    if encoder not in encoder_names():
        raise OptionError(
            f"unknown encoder {encoder!r}; the encoders are {', '.join(encoder_names())}, "
            "and --from FILE takes vectors of any other"
        )
    module = import_module(f"fmsel.embeddings.{encoder.replace('-', '_')}")
    reduction = reduction or Reduction()
    where = resolve_device(device)
    width = module.encode(data.images[:1], seed=seed, device=where).shape[1]
    reduction.check(len(data), width)
    if say:
        size = f"{len(data) * width * 4 / 1e6:,.0f} MB"
        say(f"{encoder}: {width:,} features of {len(data):,} images ({size})")
    with progress_bar(f"{encoder} features", len(data)) as advance:
        features = module.encode(data.images, seed=seed, device=where, advance=advance)
    check_vectors(features, data.ids, f"{encoder} features of {data.name}")
    features, record = reduction.apply(features, seed)
    return Embeddings(
        dataset=data.describe(),
        features=features,
        encoder=encoder,
        parameters={"features": width, **record},
        seed=seed,
        uses_labels=False,
    )
