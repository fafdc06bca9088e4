"""Train on few labels: FixMatch (Sohn et al. 2020, arXiv 2001.07685)."""
