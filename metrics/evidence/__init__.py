"""What metrics are computed from; made once, in one place, and cached.

Every plain module in this folder makes one kind of evidence, named by its file: it holds a frozen
dataclass with `parameters`, `plan(data, settings)`, which checks the data set and says what making
it will take, and `make(data, plan, settings, made)`, where `made` holds the kinds that the plan
needs. `Evidence` carries those that a set of metrics asked for.
"""

from fmsel.metrics.evidence.jobs.gather import Evidence, gather
from fmsel.metrics.evidence.jobs.settings import Settings

__all__ = ["Evidence", "Settings", "gather"]
