"""`highest_first`: choose by one number an image, as uncertainty does."""

import numpy as np
import numpy.typing as npt

from fmsel.selection.pool.eligible import Eligible
from fmsel.selection.pool.pool import IntArray, Pool


def highest_first(
    pool: Pool, batch_size: int, *values: npt.NDArray[np.floating] | IntArray
) -> IntArray:
    """(batch_size,) available images, one a group, those of the highest value first.

    Args:
        batch_size: at most `pool.most`.
        values: (N,) each; later ones tell those apart that are equal so far. Of images equal in
            all of them, the lowest index is first.
    """
    available = pool.available
    falling = [-each[available] for each in reversed(values)]
    order = available[np.lexsort(falling)]
    return np.array(Eligible(pool).take_first(order, batch_size))
