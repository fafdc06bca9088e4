"""fmsel: choose which few images to label, then train FixMatch on them.

Letters used in shape comments throughout: N images in a data set, B labelled images in a batch,
U = mu * B unlabelled images in a batch, C classes, D features, H and W image height and width,
R repetitions of an ensemble, E epochs.
"""

from importlib.metadata import version

__version__ = version("fmsel")
