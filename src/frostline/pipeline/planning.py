"""The second step: what to keep, where, with how many views and by which engine."""

from dataclasses import dataclass, replace

from frostline import planner
from frostline import recipe as recipes
from frostline.frost import Line
from frostline.model import classifier as classifiers
from frostline.pipeline.prepare import Prepared, stage_lines
from frostline.planner import Plan
from frostline.recipe import Recipe
from frostline.run.folder import RunFolder


@dataclass(frozen=True)
class Planned:
    """The plan of a run.

    Attributes:
        prepared: The network and the images.
        plan: What was measured and chosen.
        lines: Of each stage.
    """

    prepared: Prepared
    plan: Plan
    lines: tuple[Line, ...]

    @property
    def recipe(self) -> Recipe:
        """The recipe with every choice written out."""
        return self.plan.recipe


def make_plan(prepared: Prepared) -> Planned:
    """Measures this machine and chooses.

    Raises:
        RecipeError: Where a budget leaves no choice.
        DiskError: Where the disk has no room for any.
        BackboneError: Where an engine was asked for that cannot run this network.
    """
    request, model = prepared.request, prepared.model
    plan = planner.make(
        model,
        stage_lines(model, request.recipe),
        prepared.listing,
        request.recipe,
        request.cache,
        request.console,
    )
    # What `auto` came to here, so that the recipe says elsewhere what this run computed in.
    precision = classifiers.PRECISION_NAMES[prepared.precision]
    compute = replace(plan.recipe.compute, precision=precision)
    plan = replace(plan, recipe=replace(plan.recipe, compute=compute))
    return Planned(prepared, plan, stage_lines(model, plan.recipe))


def plan_of(run: RunFolder, earlier: Recipe | None, prepared: Prepared) -> Planned:
    """Returns the plan of a run that is gone on with, or makes one.

    Args:
        run: Its folder.
        earlier: The recipe that was begun there; None where the run begins anew.
        prepared: The network and the images.
    """
    if earlier is None or not run.plan.is_file():
        return make_plan(prepared)
    facts = run.read_plan()
    recipe = prepared.request.recipe
    if recipe != earlier:
        # Stages may have been changed since; what is asked now is what going on looks for.
        facts |= {"asked": recipes.to_dict(recipe)}
    return Planned(prepared, Plan(earlier, facts), stage_lines(prepared.model, earlier))
