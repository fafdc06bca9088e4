"""One network of the ensemble: its recipe, its folds, its training, its cached outputs."""
