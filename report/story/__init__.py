"""`fmsel report`: runs, splits, scores and loops on one self-contained page, a file a section."""
