"""One network: its recipe, its folds, its training, its predictions, its weights."""
