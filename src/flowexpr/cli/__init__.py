"""The command ``flowexpr``: a module for every sub-command, each with `add_parser` and a function that runs it."""

from flowexpr.cli.main import main

__all__ = ["main"]
