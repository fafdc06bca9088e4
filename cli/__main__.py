"""`python -m fmsel.cli`."""

from fmsel.cli.app import command

command()
