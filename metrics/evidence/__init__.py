"""What metrics are computed from; made once, in one place, and cached.

Every plain module in this folder makes one kind of evidence, named by its file: it holds a frozen
dataclass and `make(data, settings)`. `Evidence` carries those that a set of metrics asked for.
"""

from fmsel.metrics.evidence.gather import Evidence, Settings, gather

__all__ = ["Evidence", "Settings", "gather"]
