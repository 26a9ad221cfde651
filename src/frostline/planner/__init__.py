"""What to keep, where, and with which engine: chosen from measurements on this machine."""

from frostline.planner.make import DEFAULT_LINE, Plan, make
from frostline.planner.options import MOST_VIEWS
from frostline.planner.throughput import AUTO, row_seconds, with_engine
from frostline.planner.views import (
    epochs_before,
    policy_of,
    view_count,
    view_of,
    views_of,
    with_preset,
)

__all__ = [
    "AUTO",
    "DEFAULT_LINE",
    "MOST_VIEWS",
    "Plan",
    "epochs_before",
    "make",
    "policy_of",
    "row_seconds",
    "view_count",
    "view_of",
    "views_of",
    "with_engine",
    "with_preset",
]
