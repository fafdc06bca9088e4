"""`probcover`: as many images as possible within a radius of a labelled one."""

from dataclasses import dataclass
from typing import ClassVar

from fmsel.errors import OptionError
from fmsel.selection.coverage.greedy import greedy_cover
from fmsel.selection.coverage.kernels import Step
from fmsel.selection.coverage.purity import pure_radius
from fmsel.selection.geometry.points import population_directions
from fmsel.selection.pool import Evidence, IntArray, LabelUse, Pool, Strategy


@dataclass(frozen=True)
class Probcover(Strategy):
    """ProbCover (Yehuda et al., "Active Learning Through a Covering Lens", NeurIPS 2022).

    Attributes:
        delta: the radius in 0..2, between features of length 1; None = the largest at which balls
            are pure, as `pure_radius` finds it (the paper's way; on SimCLR features of CIFAR-10
            it found 0.75).
        clusters: of the k-means that finds the radius; None = the number of classes.
        purity: the share of balls that must be pure (0.95 in the paper).
    """

    LABEL_USE: ClassVar[LabelUse] = "none"
    NEEDS: ClassVar[tuple[Evidence, ...]] = ("features",)
    DISTRIBUTED: ClassVar[bool] = True

    delta: float | None = None
    clusters: int | None = None
    purity: float = 0.95

    def __post_init__(self) -> None:
        if self.delta is not None and not 0 < self.delta <= 2:
            raise OptionError(
                f"delta must be above 0 and at most 2, the largest distance of two features of "
                f"length 1, got {self.delta:g}"
            )
        if self.clusters is not None and self.clusters < 2:
            raise OptionError(f"clusters must be 2 or more, got {self.clusters}")
        if not 0 <= self.purity <= 1:
            raise OptionError(f"purity must be in 0..1, got {self.purity:g}")

    def radius(self, pool: Pool, seed: int = 0) -> float:
        """`delta`, or the radius found for this pool.

        Raises:
            OptionError: the number of classes is unknown, and no clusters are given.
        """
        if self.delta is not None:
            return self.delta
        clusters = len(pool.class_names) if self.clusters is None else self.clusters
        if clusters < 2:
            raise OptionError(
                "probcover finds its radius by as many clusters as there are classes, and their "
                "number is not known here; give `clusters`, or the radius `delta` itself"
            )
        points = population_directions(pool)
        return pure_radius(points, clusters, self.purity, seed, pool.backend)

    def _pick(self, pool: Pool, batch_size: int, seed: int) -> IntArray:
        return greedy_cover(pool, Step(self.radius(pool, seed)), batch_size, seed)
