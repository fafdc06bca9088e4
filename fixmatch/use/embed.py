"""`run_embeddings`: the penultimate features of a run's network as `Embeddings`."""

from pathlib import Path

from fmsel.datasets import ImageDataset
from fmsel.embeddings.vectors import Embeddings
from fmsel.embeddings.vectors.checks import check_vectors
from fmsel.embeddings.vectors.reduce import Reduction
from fmsel.fixmatch.use.outputs import run_outputs


def run_embeddings(
    run: Path,
    data: ImageDataset,
    reduction: Reduction | None = None,
    *,
    seed: int = 0,
    device: str = "auto",
) -> Embeddings:
    """The features of `run_outputs`; the network learned from the labels of the run's split.

    Args:
        run, data, device: as for `run_outputs`.
        reduction: PCA and normalisation; None = neither.
        seed: of PCA.
    Raises:
        DataError: features that are all alike, or a vector of zeros to normalise.
        OptionError: more components than there are.
        FmselError: as `run_outputs`.
    """
    outputs = run_outputs(run, data, device=device)
    name, width = outputs.provenance["run"], outputs.features.shape[1]
    check_vectors(outputs.features, data.ids, f"features of {data.name} by the run {name}")
    features, record = (reduction or Reduction()).apply(outputs.features, seed)
    return Embeddings(
        dataset=data.describe(),
        features=features,
        encoder=f"run:{name}",
        parameters={"features": width, **outputs.provenance, **record},
        seed=seed,
        uses_labels=True,
    )
