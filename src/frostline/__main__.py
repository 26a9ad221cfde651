"""`python -m frostline`."""

from frostline.cli import run

run()
