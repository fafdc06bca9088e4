"""Vectors in blocks, of unit length and in clusters: what strategies on embeddings share."""
