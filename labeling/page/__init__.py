"""The page on which people label the images of a split."""
