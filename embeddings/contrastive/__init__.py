"""Contrastive learning of the encoder `simclr`: views, loss, network and training."""
