"""Learning-rate schedules in closed form: a function of the step, so nothing needs saving."""

import math


def cosine_7_16(step: int, steps: int, lr: float) -> float:
    """`lr * cos(7 pi / 16 * step / steps)` (FixMatch, section 2.3): ends at 0.195 `lr`.

    Args:
        step: in [0, steps].
        steps: length of the whole run.
        lr: learning rate at step 0.
    """
    return lr * math.cos(7 * math.pi / 16 * step / steps)
