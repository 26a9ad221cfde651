"""What to keep, where, and with which engine: chosen from measurements on this machine."""

from frostline.planner.make import DEFAULT_LINE, Plan, make
from frostline.planner.rates import AUTO, with_engine

__all__ = ["AUTO", "DEFAULT_LINE", "Plan", "make", "with_engine"]
