"""`python -m frostline.cli`."""

from frostline.cli import run

run()
