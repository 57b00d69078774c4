"""`python -m distprop`: the same as the command `distprop`."""

from distprop.cli import main

main(prog_name="distprop")
