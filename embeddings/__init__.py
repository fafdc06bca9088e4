"""Images as vectors.

Every plain module in this folder is one encoder, named by its file, with a function
`encode(images, *, seed, device, advance)`; the sub-package is machinery.
"""
