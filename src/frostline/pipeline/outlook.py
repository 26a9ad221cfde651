"""What the steps of a run will take, from what was measured: for the time left of the whole."""

from frostline.base.ahead import FINISH, LOOK, TRAIN, TRY
from frostline.pipeline.folds import OF_CANDIDATES, fold_count
from frostline.pipeline.planning import Planned
from frostline.planner import candidates

# Scores, the sheet of views and the report.
FINISH_S = 2.0


def expected_s(planned: Planned) -> dict[str, float]:
    """Returns seconds by step; none where nothing was measured."""
    estimate = planned.plan.facts.get("estimate")
    if estimate is None:
        return {}
    seconds = {LOOK: estimate["first_pass_s"], FINISH: FINISH_S}
    if not planned.recipe.search.enabled:
        return {**seconds, TRAIN: max(0.0, estimate["total_s"] - estimate["first_pass_s"])}
    asked, tried = planned.recipe.search.folds, planned.candidates
    folds = fold_count(planned.prepared.listing, asked, OF_CANDIDATES)
    last = max((one.estimate_s for one in tried), default=0.0) if folds else 0.0
    total_s = candidates.total_s(tried, folds)
    if planned.refining is not None:
        total_s = max(total_s, planned.refining.budget_s)
    return {**seconds, TRY: total_s - last, TRAIN: last}
