"""Images as vectors. Every plain module in this folder is one encoder, named by its file."""
