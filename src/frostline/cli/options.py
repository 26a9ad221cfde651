"""Options of the command line as a recipe."""

from argparse import Namespace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from frostline.recipe import Recipe


def recipe_of(arguments: Namespace) -> "Recipe":
    """Returns the recipe that the options ask for.

    Raises:
        RecipeError: Naming every problem.
    """
    from frostline.recipe import options

    typed = vars(arguments)
    # A command need not have all of them.
    given = {name: typed.get(name) for name in options.NAMES}
    return options.from_options(arguments.recipe, arguments.set, given, "--")
