"""A finished run, as Python users hold it."""

import os
import sys
import webbrowser
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frostline.base import html
from frostline.base.console import QUIET
from frostline.base.errors import RecipeError
from frostline.base.paths import user_path
from frostline.interactive import frames, notebook
from frostline.interactive.pictures import as_files
from frostline.interactive.predictions import Predictions
from frostline.model import predict
from frostline.model.classifier import Classifier
from frostline.report import build, everything, examples, gallery, tables
from frostline.report.names import short_names
from frostline.run.folder import RunFolder
from frostline.scores.metrics import dense_confusion
from frostline.scores.sentences import has_several, percent, verdict

if TYPE_CHECKING:
    import numpy as np
    from pandas import DataFrame
    from PIL import Image

    Picture = str | os.PathLike[str] | Image.Image | np.ndarray[Any, Any]

_SHOWN = 12


@dataclass(frozen=True, repr=False)
class Run:
    """A finished run.

    Attributes:
        path: Its folder.
        metrics: What `metrics.json` holds: for each split `n`, `accuracy`, `accuracy_ci95`, …
    """

    path: Path
    metrics: dict[str, Any]
    _opened: list[Classifier] = field(default_factory=list, compare=False)

    def __repr__(self) -> str:
        scores = "; ".join(_score(split, one) for split, one in self._scores().items())
        return html.one_line(f"Run {self.path}: {scores or 'nothing was scored'}")

    def _repr_html_(self) -> str:
        rows = self._rows()
        shown = [html.lead(f"Run {self.path.name}")]
        for split, scores in self._scores().items():
            shown += [html.say(f"On {split}: {verdict(scores)}"), _matrix(scores)]
        shown += [self._mistakes_html(rows), html.dim(f"Report: {self.report}")]
        return html.block(*shown)

    @property
    def model(self) -> Path:
        """The model folder, which `timm.create_model("local-dir:…", pretrained=True)` opens."""
        return self._folder.model

    @property
    def report(self) -> Path:
        """The report: one page to open in a browser."""
        return self._folder.report

    @property
    def history(self) -> "DataFrame":
        """The probe and the epochs, a row each.

        Raises:
            FrostlineError: Where pandas is not installed.
        """
        return frames.history_of(self._folder)

    @property
    def predictions(self) -> "DataFrame":
        """What was said of each held-out picture, and the probability of each class.

        Raises:
            FrostlineError: Where pandas is not installed.
        """
        return frames.predictions_of(self._rows())

    def mistakes(self) -> "DataFrame":
        """Returns the held-out pictures that it gets wrong, those it is surest of first.

        Raises:
            FrostlineError: Where pandas is not installed.
        """
        rows = self._rows()
        wrong = examples.mistakes(rows, {}, _several(self._scores()))
        return frames.mistakes_of(wrong, rows)

    def show(self) -> None:
        """Shows the report: below the cell of a notebook, else in a browser.

        Raises:
            RunError: Where the run folder is no longer whole.
        """
        if not self.report.is_file():
            everything.write(self._folder)
        if notebook.is_notebook():
            notebook.show_page(self.report.read_text("utf-8"))
        elif not webbrowser.open(self.report.resolve().as_uri()):
            sys.stdout.write(f"Open this in a browser: {html.one_line(self.report)}\n")

    def predict(self, pictures: "Picture | Iterable[Picture]", top_k: int = 1) -> Predictions:
        """Says what pictures show.

        Args:
            pictures: A file, a folder of files, a PIL image, an array, or a list of these. Arrays
                are [h, w], [h, w, 1], [h, w, 3] (RGB) or [h, w, 4] (RGBA), and hold uint8, uint16,
                or floats from 0 (black) to 1 (white).
            top_k: How many classes to name for each.

        Returns:
            One prediction a picture, in the order given: a sequence, with `to_frame()`.

        Raises:
            ListingError: Where a path does not exist, or something is no picture.
            RecipeError: Where `top_k` is no number from 1 on.
        """
        if not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 1:
            raise RecipeError(f"top_k: must be a whole number from 1 on, not {top_k!r}.")
        with as_files(pictures) as (paths, held):
            said = list(predict.predict(self._model(), paths, top_k, QUIET))
        named = [
            replace(one, path=held[one.path].name, content=held[one.path].content)
            if one.path in held
            else one
            for one in said
        ]
        return Predictions(tuple(named))

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
        source = user_path(photos) if isinstance(photos, str | os.PathLike) else photos
        return predict.evaluate_on(self._model(), source, split, QUIET)[0].metrics

    @property
    def _folder(self) -> RunFolder:
        return RunFolder(self.path)

    def _scores(self) -> dict[str, dict[str, Any]]:
        return {name: self.metrics[name] for name in ("val", "test") if name in self.metrics}

    def _rows(self) -> list[dict[str, str]]:
        return build.read_rows(self._folder.predictions)

    def _model(self) -> Classifier:
        if not self._opened:
            self._opened.append(predict.open_model(str(self.path)))
        return self._opened[0]

    def _mistakes_html(self, rows: list[dict[str, str]]) -> str:
        names = short_names(row["path"] for row in rows)
        wrong = examples.mistakes(rows, names, _several(self._scores()))
        if not wrong:
            return ""
        heading = f"{len(wrong):,} mistake{'s' * (len(wrong) != 1)}, the surest first"
        left = len(wrong) - _SHOWN
        rest = html.dim(f"And {left:,} more: mistakes() has all.") if left > 0 else ""
        return f"<p><b>{heading}</b></p>{gallery.mistakes(wrong[:_SHOWN])}{rest}"


def _score(split: str, found: dict[str, Any]) -> str:
    n, accuracy = int(found["n"]), float(found["accuracy"])
    return f"{round(accuracy * n):,} of {n:,} right on {split} ({percent(accuracy)})"


def _several(scores: dict[str, dict[str, Any]]) -> bool:
    return any(has_several(one) for one in scores.values())


def _matrix(scores: Any) -> str:
    if not scores.get("confusion"):
        return ""
    if has_several(scores):
        return tables.by_label(scores["confusion"], scores["labels"])
    return tables.confusion(dense_confusion(scores["confusion"]), list(scores["labels"]))
