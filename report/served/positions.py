"""`Positions`: where each image lies on the map, and the tiles into which the map is cut."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

LEVELS = 65535  # of a coordinate: at 50 times the size of a screen, still one a pixel
TILE = 64  # images in a tile, whose thumbnails are sent together


@dataclass(frozen=True, kw_only=True, eq=False)
class Positions:
    """A map of N images.

    Attributes:
        points: (N, 2) float32, finite; only their proportions matter.
        told: how they were made, in one sentence.
    """

    points: npt.NDArray[np.float32]
    told: str

    @cached_property
    def packed(self) -> bytes:
        """What a browser reads: N x, N y as uint16 and N indices as uint32, little-endian.

        Both axes have the same scale, and the wider one fills 0..65535. Images come tile by tile:
        `TILE` neighbours at a time, the last of them fewer.
        """
        order = tile_order(self.points)
        points = self.points[order].astype(np.float64)
        low, high = points.min(axis=0), points.max(axis=0)
        span = float((high - low).max())
        scale = LEVELS / span if span else 0.0
        levels = np.rint((points - (low + high) / 2) * scale + LEVELS / 2).clip(0, LEVELS)
        axes = levels.astype("<u2").T
        return b"".join((axes.tobytes(), order.astype("<u4").tobytes()))


def tile_order(points: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """(N,) order in which every `TILE` consecutive points are neighbours, the leaves of a k-d tree.

    Args:
        points: (N, 2).
    """
    waiting, leaves = [np.arange(len(points))], []
    while waiting:
        members = waiting.pop()
        if len(members) <= TILE:
            leaves.append(members)
            continue
        axis = int(np.ptp(points[members], axis=0).argmax())
        half = TILE * -(-len(members) // (2 * TILE))  # whole tiles, so that only the last is short
        parted = members[np.argpartition(points[members, axis], half - 1)]
        waiting += [parted[half:], parted[:half]]
    return np.concatenate(leaves) if leaves else np.arange(0)
