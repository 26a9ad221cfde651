"""What Python users call. Thin: every step lives below."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from frostline import pipeline
from frostline import recipe as recipes
from frostline.base.ahead import FINISH, Ahead
from frostline.base.console import QUIET, Console
from frostline.base.errors import RecipeError
from frostline.base.log import Log
from frostline.base.paths import cache_folder, user_path
from frostline.images.listing import Row
from frostline.model import predict
from frostline.model.backbone import Backbone as Backbone
from frostline.model.backbone import backbone as backbone
from frostline.model.classifier import Classifier
from frostline.model.targets import name_of
from frostline.planner import Plan
from frostline.recipe import BackboneChoice, Compute, Recipe
from frostline.report import curves, everything, in_words
from frostline.run import about
from frostline.run import folder as run_folder
from frostline.training.lr_find import RateSuggestion


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        path: Its folder.
        metrics: What `metrics.json` holds: for each split `n`, `accuracy`, `accuracy_ci95`, …
    """

    path: Path
    metrics: dict[str, Any]
    _opened: list[Classifier] = field(default_factory=list, repr=False, compare=False)

    @property
    def model(self) -> Path:
        """The model folder, which `timm.create_model("local-dir:…", pretrained=True)` opens."""
        return run_folder.RunFolder(self.path).model

    def predict(
        self, pictures: Sequence[str | os.PathLike[str]], top_k: int = 1
    ) -> list[predict.Prediction]:
        """Says what pictures show.

        Args:
            pictures: Files, and folders of files.
            top_k: How many classes to name for each.

        Raises:
            ListingError: Where a path does not exist.
        """
        paths = [user_path(picture) for picture in pictures]
        return list(predict.predict(self._model(), paths, top_k, QUIET))

    def evaluate(self, photos: Any, split: str = "auto") -> dict[str, Any]:
        """Scores the run's model on labelled pictures.

        Args:
            photos: As for `train`; labels go by name.
            split: `train`, `val`, `test`, `all`, or `auto`: val where the pictures come with
                splits, all of them otherwise.

        Returns:
            What `metrics` holds of one split: `n`, `accuracy`, `accuracy_ci95`, …

        Raises:
            ListingError: Where a class is unknown to the model, or there is nothing to score.
        """
        return predict.evaluate_on(self._model(), _source(photos), split, QUIET)[0].metrics

    def _model(self) -> Classifier:
        if not self._opened:
            self._opened.append(predict.open_model(str(self.path)))
        return self._opened[0]


def open_run(path: str | os.PathLike[str]) -> Run:
    """Opens a finished run.

    Raises:
        RunError: Where there is none, or it is unfinished.
    """
    run = run_folder.open_run(user_path(path))
    return Run(run.path, run.read_metrics())


def train(
    photos: Any,
    *,
    out: str | os.PathLike[str] | None = None,
    recipe: Recipe | str | os.PathLike[str] | None = None,
    settings: Sequence[str] = (),
    backbone: str | None = None,
    head: str | None = None,
    pooling: str | None = None,
    line: str | None = None,
    epochs: int | None = None,
    lr: float | None = None,
    val: float | None = None,
    test: float | None = None,
    seed: int | None = None,
    device: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    console: Console | None = None,
    command: Sequence[str] = (),
) -> Run:
    """Trains a classifier on a folder of labelled pictures.

    Args:
        photos: A folder of class folders; one with `train/` and `val/`; a CSV; or a DataFrame with
            the columns `path` and `label`.
        out: The run folder; None for the first of `runs/photos`, `runs/photos-2` and so on that is
            free, or holds this very run.
        recipe: A recipe, or the name of one or its file; `thaw` where None.
        settings: `KEY=VALUE`, such as `stages.0.lr=1e-5`, for a recipe by name.
        backbone: The pretrained network. This and what follows goes before what a recipe by name
            says; a whole `Recipe` stays as it is.
        head: `linear` or `mlp:WIDTH[,WIDTH…][,dropout=P]`.
        pooling: `avg`, `max` or `flatten`.
        line: Where to cut, and train what is above; a search keeps to it, and to the next two.
        epochs: Passes over the images.
        lr: Peak learning rate of the head.
        val: Share kept for validation where the pictures come without splits.
        test: Share kept for a final test.
        seed: Decides splits, new weights and order.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        cache_dir: Where activations are kept; see `frostline.base.paths.cache_folder`.
        console: Where words go; standard error by default, `Console(None)` for silence.
        command: What was typed, word by word, for the report.

    Returns:
        The finished run.

    Raises:
        FrostlineError: Saying what is wrong and what to do.
    """
    given = {
        "backbone.name": backbone,
        "head.spec": head,
        "head.pooling": pooling,
        "data.val": val,
        "data.test": test,
        "seed": seed,
        "compute.device": device,
    }
    wanted = _composed(recipe, settings, given, {"line": line, "epochs": epochs, "lr": lr})
    shown = replace(console or Console(), log=Log(), ahead=Ahead())
    shown.detail(" ".join(command) or "frostline.train")
    place = None if out is None else user_path(out)
    with recipes.naming_file(_name_of(recipe)):
        run = pipeline.train(_source(photos), place, wanted, cache_folder(cache_dir), shown)
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
    settings: Sequence[str] = (),
    backbone: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    console: Console | None = None,
) -> Plan:
    """Measures this machine and says how `train` would go about it; trains nothing.

    Args:
        photos: As for `train`.
        recipe: As for `train`.
        settings: As for `train`.
        backbone: As for `train`.
        cache_dir: Where activations are kept.
        console: Where words go.

    Returns:
        The plan: `recipe`, with every choice written out, and `facts`, what `plan.json` holds.

    Raises:
        FrostlineError: Saying what is wrong and what to do.
    """
    wanted = _composed(recipe, settings, {"backbone.name": backbone}, {})
    with recipes.naming_file(_name_of(recipe)):
        return pipeline.plan(_source(photos), wanted, cache_folder(cache_dir), console or Console())


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
    cache, shown = cache_folder(cache_dir), console or Console()
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
    settings: Sequence[str] = (),
    backbone: str | None = None,
    out: str | os.PathLike[str] | None = None,
    stage: int | None = None,
    start: float = 1e-7,
    end: float = 10.0,
    steps: int = 100,
    cache_dir: str | os.PathLike[str] | None = None,
    console: Console | None = None,
) -> RateSuggestion:
    """Tries rising learning rates on a stage, and suggests one.

    Args:
        photos: As for `train`.
        recipe: As for `train`.
        settings: As for `train`.
        backbone: As for `train`.
        out: Writes `OUT.png` and `OUT.svg`, the losses; nothing where None.
        stage: Which of the recipe's stages, from 0; the last where None.
        start: First rate, of the head.
        end: Last rate.
        steps: How many are tried.
        cache_dir: Where activations are kept.
        console: Where words go.

    Raises:
        FrostlineError: Saying what is wrong and what to do.
    """
    wanted = _composed(recipe, settings, {"backbone.name": backbone}, {})
    if out is not None:
        pipeline.refuse_paths_inside_images(_source(photos), {"--out": user_path(out)})
    rates = (start, end, steps)
    shown = console or Console()
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


def _composed(
    recipe: Recipe | str | os.PathLike[str] | None,
    settings: Sequence[str],
    given: Mapping[str, Any],
    stage: Mapping[str, Any],
) -> Recipe:
    """Returns the recipe that arguments ask for; those that are None say nothing.

    Raises:
        RecipeError: Where a whole recipe comes with arguments, or what is asked does not hold.
    """
    given = {key: value for key, value in given.items() if value is not None}
    stage = {key: value for key, value in stage.items() if value is not None}
    if not isinstance(recipe, Recipe):
        return recipes.compose(_name_of(recipe), settings, given, stage)
    if given or stage or settings:
        raise RecipeError(
            f"{next(iter({**given, **stage, 'settings': 0}))}: goes with a recipe by name; "
            "a whole Recipe says it itself (see dataclasses.replace)."
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
