"""Generalised coverage: what share of the images has a labelled one near, by a kernel.

ProbCover, MaxHerding, facility location and UHerding choose greedily by one objective and differ
in kernel and weights (Bae, Noh and Sutherland, ECCV 2024, section 3).
"""
