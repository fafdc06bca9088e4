"""`Known`: what a choice may read besides the images and scores, and what it must heed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fmsel.datasets import ImageDataset
from fmsel.embeddings.vectors import Embeddings
from fmsel.embeddings.vectors.shards import Rows, as_shards
from fmsel.errors import OptionError
from fmsel.selection.geometry.backend import Backend, Local
from fmsel.selection.pool import IntArray, LabelUse, Pool
from fmsel.selection.pool.pool import NONE, FloatArray
from fmsel.selection.split.artefact import Split


@dataclass(frozen=True, kw_only=True, eq=False)
class Known:
    """Evidence about the N images of a data set, and which of them are spoken for.

    Attributes:
        features: (N, D) float32, in shards too.
        probabilities: (N, C) of a trained run.
        history: (E, N) int64 classes at a run's last E evaluations.
        held: labels that are there already; the new split begins with them.
        excluded: (X,) images never to choose.
        groups: (N,) int64; at most one image of each group is chosen.
        label_use: how far features and predictions read labels that nobody has yet.
        groups_label_use: how far what the groups were made from did.
        provenance: what all this came from, JSON-able.
        backend: where passes over all images run; the choice is the same by every one.
    """

    features: Rows | None = None
    probabilities: FloatArray | None = None
    history: IntArray | None = None
    held: Split | None = None
    excluded: IntArray = field(default_factory=NONE.copy)
    groups: IntArray | None = None
    label_use: LabelUse = "none"
    groups_label_use: LabelUse = "none"
    provenance: Mapping[str, Any] = field(default_factory=dict)
    backend: Backend = field(default_factory=Local)

    def heeding(self, heeds: "Known") -> "Known":
        """The same evidence, with the groups of `heeds` and its exclusions beside those here."""
        return replace(
            self,
            excluded=np.union1d(self.excluded, heeds.excluded),
            groups=heeds.groups,
            groups_label_use=heeds.groups_label_use,
            provenance={**self.provenance, **heeds.provenance},
        )

    def pool(self, data: ImageDataset, scores: Mapping[str, FloatArray]) -> Pool:
        """All of it as what a strategy reads.

        Raises:
            ArtefactError: the held split belongs to other images.
            OptionError: an image is held and excluded.
        """
        labels, labeled = None, NONE
        if self.held is not None:
            self.held.check(data, "the split of the labels held")
            given = self.held.given_labels(data)
            labels = np.full(len(data), -1, dtype=np.int64)
            labels[self.held.index_array] = given
            labeled = self.held.index_array[given < 0]
            if len(both := np.intersect1d(self.held.index_array, self.excluded)):
                raise OptionError(
                    f"image {both[0]} is labelled already and excluded too, as are {len(both)} in "
                    "all; take them out of one of the two lists"
                )
        features = self.features
        if features is not None and not isinstance(self.backend, Local):
            features = as_shards(features)
        candidates = None
        if len(self.excluded):
            candidates = np.setdiff1d(np.arange(len(data), dtype=np.int64), self.excluded)
        return Pool(
            n=len(data),
            class_names=data.class_names,
            labels=labels,
            labeled=labeled,
            candidates=candidates,
            groups=self.groups,
            scores=scores,
            features=features,
            probabilities=self.probabilities,
            history=self.history,
            backend=self.backend,
        )


def first_use(*uses: str) -> Any:
    """The first that is an oracle's, else "none"."""
    return next((use for use in uses if use != "none"), "none")


def embedded(data: ImageDataset, embeddings: Embeddings, file: str) -> Known:
    """Known by one embeddings file.

    Raises:
        ArtefactError: embeddings of other images.
    """
    embeddings.check(data, file)
    return Known(
        features=embeddings.features,
        label_use="training" if embeddings.uses_labels else "none",
        provenance={
            "embeddings": {
                "file": file,
                "encoder": embeddings.encoder,
                "parameters": dict(embeddings.parameters),
                "sha256": embeddings.sha256,
            }
        },
    )
