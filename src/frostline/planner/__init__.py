"""What to keep, where, and with which engine: chosen from measurements on this machine."""

from frostline.planner.make import DEFAULT_LINE, Plan, make
from frostline.planner.throughput import AUTO, with_engine
from frostline.planner.views import epochs_before, view_count, views_of

__all__ = [
    "AUTO",
    "DEFAULT_LINE",
    "Plan",
    "epochs_before",
    "make",
    "view_count",
    "views_of",
    "with_engine",
]
