"""NT-Xent, the loss of SimCLR."""

import torch
import torch.nn.functional as F
from torch import Tensor


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross entropy (Chen et al. 2020, equation 1 and algorithm 1).

    Every view must find the other view of its image among all other 2 B - 1 views by cosine
    similarity.

    Args:
        first, second: (B, D) projections of the two views of the same B >= 2 images; not zero.
        temperature: above 0.
    Returns:
        () mean over all 2 B views.
    """
    views = F.normalize(torch.cat([first, second]), dim=1)  # (2 B, D)
    similarity = views @ views.T / temperature
    similarity.fill_diagonal_(-torch.inf)
    partner = torch.arange(len(views), device=views.device).roll(len(first))
    return F.cross_entropy(similarity, partner)
