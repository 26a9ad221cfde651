"""What Python users call. Thin: every step lives below."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Unpack

from frostline import pipeline
from frostline import recipe as recipes
from frostline.base.ahead import FINISH, Ahead
from frostline.base.clock import RunClock
from frostline.base.console import Console
from frostline.base.errors import RecipeError
from frostline.base.log import Log
from frostline.base.paths import cache_folder, user_path
from frostline.images.listing import Row
from frostline.interactive import notebook
from frostline.interactive.finished_run import Run
from frostline.model.backbone import Backbone, backbone
from frostline.model.targets import name_of
from frostline.planner import Plan
from frostline.recipe import BackboneChoice, Compute, Recipe
from frostline.recipe.options import Options, Settings, from_options
from frostline.report import curves, everything, in_words
from frostline.run import about
from frostline.run import folder as run_folder
from frostline.training.lr_find import RateSuggestion

__all__ = ["Backbone", "Run", "activations", "backbone", "lr_find", "open_run", "plan", "train"]


def open_run(path: str | os.PathLike[str]) -> Run:
    """Opens a finished run.

    Raises:
        RunError: Where there is none, or it is unfinished.
    """
    run = run_folder.open_run(user_path(path))
    return Run(run.path, run.read_metrics())


def train(
    photos: Any,
    out: str | os.PathLike[str] | None = None,
    *,
    recipe: Recipe | str | os.PathLike[str] | None = None,
    settings: Settings = (),
    cache_dir: str | os.PathLike[str] | None = None,
    console: Console | None = None,
    command: Sequence[str] = (),
    begun: float | None = None,
    **options: Unpack[Options],
) -> Run:
    """Trains a classifier on a folder of labelled pictures.

    Args:
        photos: A folder of class folders; one with `train/` and `val/`; a CSV; or a DataFrame with
            the columns `path` and `label`.
        out: The run folder; None for the first of `runs/photos`, `runs/photos-2` and so on that is
            free, or holds this very run.
        recipe: A recipe, or the name of one or its file; `thaw` where None.
        settings: Single values of a recipe by name: a dict such as `{"stages.0.lr": 1e-5}`, or
            `KEY=VALUE`, one or several. They go before options.
        cache_dir: Where activations are kept; see `frostline.base.paths.cache_folder`.
        console: Where words go; by default standard error, in a notebook standard output;
            `Console(None)` for silence.
        command: What was typed, word by word, for the report.
        begun: Since when `time` counts, as `time.perf_counter` tells it; from the call on where
            None.
        **options: Those of `frostline train`, with `_` for `-`: `backbone`, `head`, `epochs`, …
            They go before what a recipe by name says; a whole `Recipe` stays as it is.

    Returns:
        The finished run.

    Raises:
        FrostlineError: Saying what is wrong and what to do.
    """
    clock = RunClock(begun)
    wanted = _composed(recipe, settings, options)
    shown = replace(_shown(console), log=Log(), ahead=Ahead())
    shown.detail(" ".join(command) or "frostline.train")
    place = None if out is None else user_path(out)
    with recipes.naming_file(_name_of(recipe)):
        run = pipeline.train(_source(photos), place, wanted, cache_folder(cache_dir), shown, clock)
    if not _is_whole(run):
        with shown.step("Writing the report", FINISH):
            about.write(run, about.now(command))
            everything.write(run)
    _tell_result(run, shown)
    return open_run(run.path)


def _tell_result(run: run_folder.RunFolder, console: Console) -> None:
    count, worst = in_words.mistakes(run)
    for line in ("", *in_words.result(run), *([f"Worth a look: {worst}"] if worst else [])):
        console.say(line)
    to_see = f": {count:,} mistake{'s' * (count != 1)} to see" if count else ""
    console.say(f"Report  {run.report}{to_see}")


def plan(
    photos: Any,
    *,
    recipe: Recipe | str | os.PathLike[str] | None = None,
    settings: Settings = (),
    cache_dir: str | os.PathLike[str] | None = None,
    console: Console | None = None,
    **options: Unpack[Options],
) -> Plan:
    """Measures this machine and says how `train` would go about it; trains nothing.

    Args:
        photos: As for `train`.
        recipe: As for `train`.
        settings: As for `train`.
        cache_dir: Where activations are kept.
        console: Where words go.
        **options: As for `train`.

    Returns:
        The plan: `recipe`, with every choice written out, and `facts`, what `plan.json` holds.

    Raises:
        FrostlineError: Saying what is wrong and what to do.
    """
    wanted = _composed(recipe, settings, options)
    with recipes.naming_file(_name_of(recipe)):
        return pipeline.plan(_source(photos), wanted, cache_folder(cache_dir), _shown(console))


def activations(
    photos: Any,
    *,
    backbone: str,
    line: str | Sequence[str] = "pooled",
    image_px: int = 0,
    channels_last: bool = False,
    device: str = "auto",
    cache_dir: str | os.PathLike[str] | None = None,
    console: Console | None = None,
) -> tuple[Any, tuple[Row, ...]]:
    """Returns the activations of pictures at a line: kept ones, and what is not kept computed.

    Args:
        photos: Labelled pictures, as for `train`, or any folder or file.
        backbone: The network; a run or a model folder may be named by its path.
        line: Where to read them off; `pooled` gives one vector a picture. Of several lines, the
            lowest is computed from pixels and the others from it.
        image_px: Side of the input; 0 keeps the backbone's own.
        channels_last: Whether maps are given as height × width × channels, as in Keras.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        cache_dir: Where activations are kept.
        console: Where words go.

    Returns:
        Activations [n, *shape], for several lines a dict of them by line, and the n pictures, each
        with `path`, `label` and `split`.

    Raises:
        FrostlineError: Saying what is wrong and what to do.
    """
    choice = BackboneChoice(name_of(backbone), image_px=image_px)
    cache, shown = cache_folder(cache_dir), _shown(console)
    lines = [line] if isinstance(line, str) else list(line)
    found = pipeline.embed(
        choice, _source(photos), lines, Compute(device), cache, shown, channels_last
    )
    values = found.whole()
    return values[0] if isinstance(line, str) else dict(zip(lines, values, strict=True)), found.rows


def lr_find(
    photos: Any,
    *,
    recipe: Recipe | str | os.PathLike[str] | None = None,
    settings: Settings = (),
    out: str | os.PathLike[str] | None = None,
    stage: int | None = None,
    start: float = 1e-7,
    end: float = 10.0,
    steps: int = 100,
    cache_dir: str | os.PathLike[str] | None = None,
    console: Console | None = None,
    **options: Unpack[Options],
) -> RateSuggestion:
    """Tries rising learning rates on a stage, and suggests one.

    Args:
        photos: As for `train`.
        recipe: As for `train`.
        settings: As for `train`.
        out: Writes `OUT.png` and `OUT.svg`, the losses; nothing where None.
        stage: Which of the recipe's stages, from 0; the last where None.
        start: First rate, of the head.
        end: Last rate.
        steps: How many are tried.
        cache_dir: Where activations are kept.
        console: Where words go.
        **options: As for `train`; a sweep has no `epochs` and no `lr`.

    Raises:
        FrostlineError: Saying what is wrong and what to do.
    """
    wanted = _composed(recipe, settings, options)
    if out is not None:
        pipeline.refuse_paths_inside_images(_source(photos), {"--out": user_path(out)})
    rates = (start, end, steps)
    shown = _shown(console)
    with recipes.naming_file(_name_of(recipe)):
        found = pipeline.find_rate(
            _source(photos), wanted, stage, rates, cache_folder(cache_dir), shown
        )
    if out is not None:
        curves.write_lr(found.rates, found.losses, found.suggestion, user_path(out))
    return found


def _source(photos: Any) -> Any:
    """Returns a path as it is meant; a DataFrame stays what it is."""
    return user_path(photos) if isinstance(photos, str | os.PathLike) else photos


def _shown(console: Console | None) -> Console:
    return console or Console(notebook.words_to())


def _composed(
    recipe: Recipe | str | os.PathLike[str] | None,
    settings: Settings,
    options: Mapping[str, Any],
) -> Recipe:
    """Returns the recipe that arguments ask for.

    Raises:
        RecipeError: Where a whole recipe comes with arguments, or what is asked does not hold.
    """
    if not isinstance(recipe, Recipe):
        return from_options(_name_of(recipe), settings, options)
    given = [name for name, value in options.items() if value is not None]
    if given or settings:
        raise RecipeError(
            f"{[*given, 'settings'][0]}: goes with a recipe by name; a whole Recipe says it "
            "itself (see dataclasses.replace)."
        )
    return recipe


def _name_of(recipe: Recipe | str | os.PathLike[str] | None) -> str | None:
    return None if recipe is None or isinstance(recipe, Recipe) else os.fspath(recipe)


def _is_whole(run: run_folder.RunFolder) -> bool:
    """Says whether nothing is left to write; a process may end between metrics and report."""
    try:
        return run.is_finished() and run.report.is_file() and (run.model / "README.md").is_file()
    except OSError:  # A name that is too long; who writes there says so.
        return False
