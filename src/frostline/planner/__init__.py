"""What to keep, where, and with which engine: chosen from measurements on this machine."""

from frostline.planner.make import DEFAULT_LINE, Plan, make
from frostline.planner.throughput import AUTO, with_engine
from frostline.planner.views import epochs_before, policy_of, view_count, view_of, views_of

__all__ = [
    "AUTO",
    "DEFAULT_LINE",
    "Plan",
    "epochs_before",
    "make",
    "policy_of",
    "view_count",
    "view_of",
    "views_of",
    "with_engine",
]
