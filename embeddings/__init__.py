"""Images as vectors.

Every plain module in this folder is one encoder, named by its file. It has a function
`encode(images, *, seed, device, advance)`, or, where there is more to say before the work,
`plan(data, request)` (see `vectors/plan.py`). The sub-packages are machinery.
"""

ARGUMENTS = {"timm": "NAME"}  # encoders that are told more after a colon, and what
