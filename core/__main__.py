"""``python -m convcore``: the command line."""

from .cli import command

command()
