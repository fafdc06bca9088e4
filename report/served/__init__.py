"""The page of `fmsel report --serve`: a gallery and a map of up to 100,000 images."""
