"""Weak and strong augmentation of batches of images, keyed by explicit generators."""
