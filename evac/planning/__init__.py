"""Plans of whole windows: which VM goes where, how long that takes, and the file in which people review it. Pure.

Nothing here does anything, asks anybody or reads a clock.
"""

from evac.planning.differing import diff_plan, fate_of
from evac.planning.fitting import Fit, fit
from evac.planning.hashing import plan_hash
from evac.planning.history import History, history_of
from evac.planning.reading import PlanFileErrors, load_plan
from evac.planning.rebalancing import plan_rebalance, plan_restore
from evac.planning.windows import plan_window
from evac.planning.writing import dump_plan

__all__ = [
    "Fit",
    "History",
    "PlanFileErrors",
    "diff_plan",
    "dump_plan",
    "fate_of",
    "fit",
    "history_of",
    "load_plan",
    "plan_hash",
    "plan_rebalance",
    "plan_restore",
    "plan_window",
]
