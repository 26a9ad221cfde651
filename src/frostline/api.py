"""What Python users call. Thin: every step lives below."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from frostline import frost, pipeline
from frostline import recipe as recipes
from frostline.base.console import QUIET, Console
from frostline.base.errors import RecipeError
from frostline.base.paths import cache_folder
from frostline.images.listing import Row
from frostline.model import predict
from frostline.model.classifier import Classifier
from frostline.networks import catalog
from frostline.planner import Plan
from frostline.recipe import BackboneChoice, Compute, Recipe
from frostline.report import curves, everything
from frostline.run import about
from frostline.run import folder as runfolder
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
        return runfolder.RunFolder(self.path).model

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
        paths = [Path(picture) for picture in pictures]
        return list(predict.predict(self._model(), paths, top_k, QUIET))

    def evaluate(self, photos: str | os.PathLike[str], split: str = "auto") -> dict[str, Any]:
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
        return predict.evaluate_on(self._model(), Path(photos), split, QUIET)[0].metrics

    def _model(self) -> Classifier:
        if not self._opened:
            self._opened.append(predict.open_model(str(self.path)))
        return self._opened[0]


@dataclass(frozen=True)
class Backbone:
    """A network with its facts.

    Attributes:
        module: The network, in eval mode.
        record: Input size, preprocessing, licence, class names, parameter count.
    """

    module: nn.Module
    record: catalog.BackboneRecord

    def lines(self) -> tuple[frost.Line, ...]:
        """Returns every place where it can be cut, from `pixels` to `pooled`.

        Raises:
            LineError: Where the network cannot be traced.
        """
        return frost.lines(self.module, self._input_shape())

    def cut(self, line: str | int) -> tuple[nn.Module, nn.Module]:
        """Returns prefix and suffix: `suffix(prefix(x)) == module(x)`.

        Both share the parameters of `module`, under its names.

        Args:
            line: A line's name or index, as `lines()` gives them.

        Raises:
            LineError: Where it cannot be cut there.
        """
        return frost.cut(self.module, line, self._input_shape())

    def _input_shape(self) -> tuple[int, int, int]:
        how = self.record.preprocessing
        return 3, how.height_px, how.width_px


def backbone(
    name: str,
    *,
    pretrained: bool = True,
    weights: str | os.PathLike[str] | None = None,
    partial: bool = False,
) -> Backbone:
    """Opens a backbone.

    Args:
        name: `timm:NAME[?key=value&…]`, `dir:PATH` or `hub:OWNER/NAME`.
        pretrained: False for random weights.
        weights: A local weights file for the named architecture.
        partial: Whether that file may fit in part only.

    Raises:
        BackboneError: Where it cannot be found or opened.
    """
    opened = catalog.find(
        name, pretrained=pretrained, weights=Path(weights) if weights else None, partial=partial
    )
    return Backbone(opened.module, opened.record)


def open_run(path: str | os.PathLike[str]) -> Run:
    """Opens a finished run.

    Raises:
        RunError: Where there is none, or it is unfinished.
    """
    run = runfolder.open_run(Path(path))
    return Run(run.path, run.read_metrics())


def train(
    photos: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
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
        photos: A folder of class folders; one with `train/` and `val/`; or a CSV.
        out: The run folder.
        recipe: A recipe, or the name of one or its file; `thaw` where None and neither `line`,
            `epochs` nor `lr` is given, which make a recipe of one stage.
        settings: `KEY=VALUE`, such as `stages.1.lr=1e-5`, for a recipe by name.
        backbone: The pretrained network. This and what follows goes before what a recipe by name
            says; a whole `Recipe` stays as it is.
        head: `linear` or `mlp:WIDTH[,WIDTH…][,dropout=P]`.
        pooling: `avg`, `max` or `flatten`.
        line: Where to cut, and train what is above.
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
    shown = console or Console()
    was_whole = _is_whole(runfolder.RunFolder(Path(out)))
    with recipes.named(_name_of(recipe)):
        run = pipeline.train(Path(photos), Path(out), wanted, cache_folder(cache_dir), shown)
    if not was_whole:
        about.write(run, about.now(command))
        everything.write(run)
    return open_run(out)


def plan(
    photos: str | os.PathLike[str],
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
    with recipes.named(_name_of(recipe)):
        return pipeline.plan(Path(photos), wanted, cache_folder(cache_dir), console or Console())


def activations(
    photos: str | os.PathLike[str],
    *,
    backbone: str,
    line: str = "pooled",
    image_px: int = 0,
    device: str = "auto",
    cache_dir: str | os.PathLike[str] | None = None,
    console: Console | None = None,
) -> tuple[Tensor, tuple[Row, ...]]:
    """Returns the activations of pictures at a line: kept ones, and what is not kept computed.

    Args:
        photos: Labelled pictures, as for `train`, or any folder or file.
        backbone: The network.
        line: Where to read them off; `pooled` gives one vector a picture.
        image_px: Side of the input; 0 keeps the backbone's own.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        cache_dir: Where activations are kept.
        console: Where words go.

    Returns:
        Activations [n, *shape], and the n pictures, each with `path`, `label` and `split`.

    Raises:
        FrostlineError: Saying what is wrong and what to do.
    """
    choice, compute = BackboneChoice(backbone, image_px=image_px), Compute(device)
    cache, shown = cache_folder(cache_dir), console or Console()
    return pipeline.embed(choice, Path(photos), line, compute, cache, shown)


def lr_find(
    photos: str | os.PathLike[str],
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
        pipeline.keep_apart(Path(photos), {"--out": Path(out)})
    rates = (start, end, steps)
    shown = console or Console()
    with recipes.named(_name_of(recipe)):
        found = pipeline.find_rate(
            Path(photos), wanted, stage, rates, cache_folder(cache_dir), shown
        )
    if out is not None:
        curves.write_lr(found.rates, found.losses, found.suggestion, Path(out))
    return found


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


def _is_whole(run: runfolder.RunFolder) -> bool:
    """Says whether nothing is left to write; a process may end between metrics and report."""
    try:
        return run.is_finished() and run.report.is_file() and (run.model / "README.md").is_file()
    except OSError:  # A name that is too long; who writes there says so.
        return False
