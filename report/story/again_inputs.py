"""The command lines that make scores and embeddings again, from what they record themselves."""

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from scipy.stats import rankdata

from fmsel.datasets import Source
from fmsel.embeddings.vectors import Embeddings
from fmsel.metrics.scores import Scores
from fmsel.metrics.scores.published import FOLDER
from fmsel.report.story.again import Again
from fmsel.selection.split.inputs import EMBEDDINGS_FOLDER


def scores_again(scores: Scores, out: str) -> Again:
    """How to make a scores file again; several lines where its metrics were not made at once."""
    source = Source.from_dict(scores.dataset["source"]).arguments()
    groups: dict[tuple[str, ...], list[str]] = {}
    needs: dict[str, None] = {}
    for name, record in scores.records.items():
        words, names = ["--seed", str(record.seed)], ["--metric", name]
        if _is_published(scores, name):
            words, names = ["--published"], []
        elif (vectors := record.parameters.get("embedding", {})) and "sha256" in vectors:
            path = _guessed(str(scores.dataset["dataset"]), str(vectors["encoder"]))
            words = ["--embeddings", path, *words]
            needs[
                f"{path} must hold the embeddings by {vectors['encoder']} that the scores were "
                f"made from (sha256 {str(vectors['sha256'])[:12]}…)."
            ] = None
        groups.setdefault(tuple(words), []).extend(names)
    lines = [
        f"fmsel score {source} " + shlex.join([*names, *words, "--out", out])
        for words, names in groups.items()
    ]
    return Again("\n".join(lines), tuple(needs))


def _is_published(scores: Scores, metric: str) -> bool:
    """Whether a metric is of the rankings that come with fmsel: an array of its own ranks."""
    array, dataset = scores.arrays[metric], scores.dataset["dataset"]
    there = array.any() and (FOLDER / f"{dataset}.npz").exists()
    return bool(there and np.array_equal(rankdata(array, method="min") - 1, array))


def _guessed(dataset: str, encoder: str) -> str:
    """Where `fmsel embed` writes embeddings whose file nobody recorded."""
    return str(EMBEDDINGS_FOLDER / f"{dataset}-{re.sub('[:/]', '-', encoder)}.npy")


def embeddings_again(embeddings: Embeddings, out: str) -> Again:
    """How to make embeddings again."""
    source = Source.from_dict(embeddings.dataset["source"]).arguments()
    encoder, parameters = embeddings.encoder, embeddings.parameters
    own = "matched_by_id" in parameters
    if own:
        words = ["--from", str(parameters.get("file", encoder))]
        words += ["--uses-labels"] * embeddings.uses_labels
    elif "run" in parameters:
        words = ["--encoder", f"run:runs/{parameters['run']}"]
    else:
        words = ["--encoder", encoder]
    if encoder == "simclr" and not own:
        words += ["--epochs", str(parameters["epochs"])]
    if "weights_sha256" in parameters:
        words += ["--weights", str(parameters["weights"])]
    if parameters.get("pca") is not None:
        words += ["--pca", str(parameters["pca"])]
    words += ["--normalise"] * bool(parameters.get("normalised"))
    words += ["--seed", str(embeddings.seed), "--out", out]
    needs = tuple(_needs(parameters, words[1], embeddings.sha256)) if own else ()
    return Again(f"fmsel embed {source} {shlex.join(words)}", needs)


def _needs(parameters: Mapping[str, Any], file: str, sha256: str) -> Iterator[str]:
    yield f"{file} holds vectors of your own; sha256 of what was made of them: {sha256}."
    if parameters["matched_by_id"] and file.endswith(".npy"):
        yield f"The ids of the rows of {file} are in a file of their own: name it as --ids."
