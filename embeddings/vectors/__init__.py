"""The `Embeddings` artefact: computed by an encoder or read from the user's file, saved, loaded."""

from fmsel.embeddings.vectors.artefact import Embeddings

__all__ = ["Embeddings"]
