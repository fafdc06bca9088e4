"""How typical is each image?

Every plain module in this folder is one metric, named by its file; the sub-packages are machinery.
"""
