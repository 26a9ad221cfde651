"""What to keep, where, and with which engine: chosen from measurements on this machine."""

from frostline.planner.make import DEFAULT_LINE, Plan, make
from frostline.planner.options import USUAL_VIEWS, VIEW_COUNTS
from frostline.planner.throughput import AUTO, row_seconds, with_engine
from frostline.planner.views import (
    epochs_before,
    policy_of,
    probe_view_count,
    view_count,
    view_of,
    views_of,
    with_preset,
)

__all__ = [
    "AUTO",
    "DEFAULT_LINE",
    "USUAL_VIEWS",
    "VIEW_COUNTS",
    "Plan",
    "epochs_before",
    "make",
    "policy_of",
    "probe_view_count",
    "row_seconds",
    "view_count",
    "view_of",
    "views_of",
    "with_engine",
    "with_preset",
]
