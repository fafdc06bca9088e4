"""What making one kind of evidence will take, known before anything is begun."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fmsel.metrics.evidence.jobs.store import is_stored

Job = tuple[int, ...]  # such as (repetition, fold)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What making one kind of evidence will take.

    Attributes:
        what: for the user, such as "6 networks (small-conv-32, 7 epochs on 25,000 images each)".
        work: job -> its length in image steps: one image once forward and back through the usual
            network of the ensemble (`recipe_for`), or what takes as long. A kind without jobs of
            its own has the single job `()`.
        names: job -> its name in the cache; a job without one is done every time.
        needs: kinds of evidence that must be made before this one.
    """

    what: str
    work: Mapping[Job, float]
    names: Mapping[Job, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()

    def missing(self, cache: bool) -> list[Job]:
        """The jobs that are still to be done."""
        return [
            job
            for job in self.work
            if not (cache and job in self.names and is_stored(self.names[job]))
        ]
