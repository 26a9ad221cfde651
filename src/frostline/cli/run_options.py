"""Options of what trains: what is tried besides the recipe, how it is scored, who is told."""

import argparse


def run_options(group: argparse._ArgumentGroup) -> None:
    """Adds them; nothing has a default here, for the recipe has them all."""
    add = group.add_argument
    add(
        "--no-search",
        action="store_false",
        dest="search",
        default=None,
        help="keep to the recipe as it is, and try nothing else",
    )
    add(
        "--folds",
        type=int,
        metavar="K",
        help="cross-validate in K parts; 1 for not at all (10 where pictures are few)",
    )
    add("--seeds", type=int, metavar="K", help="make the run K times, for mean and spread (1)")
    add(
        "--tracker",
        action="append",
        metavar="NAME",
        help="tensorboard, mlflow, wandb …; may be given again",
    )
    add(
        "--histograms",
        action="store_true",
        default=None,
        help="of weights and gradients, to TensorBoard",
    )
