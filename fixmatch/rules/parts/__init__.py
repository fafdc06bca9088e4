"""What the rules share; a sub-package, so that it is not taken for a rule."""
