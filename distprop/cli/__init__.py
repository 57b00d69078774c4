"""The command line. Commands are thin: they read words, call the package, and print what it gives.

Nothing heavy is imported before a command runs, so that `--help` is quick.
"""

from distprop.cli.main import main

__all__ = ["main"]
