"""Which images get a label?

Every plain module in this folder is one strategy, named by its file; the sub-packages are
machinery: `pool` is what a strategy reads and what strategies share, `split` is what comes out.
"""
