"""The files of a run folder; no other module spells their names."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frostline.base.errors import RunError, did_you_mean
from frostline.base.files import is_unicode, write_json, write_text


@dataclass(frozen=True)
class RunFolder:
    """The folder that a recipe and a listing produce."""

    path: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe; written first, so every folder that has it is a run."""
        return self.path / "recipe.toml"

    @property
    def listing(self) -> Path:
        """Every image with its label and split, or the reason why it was left out."""
        return self.path / "listing.csv"

    @property
    def plan(self) -> Path:
        """The measurements and the choices of the planner."""
        return self.path / "plan.json"

    @property
    def history(self) -> Path:
        """One JSON line per epoch and stage."""
        return self.path / "history.jsonl"

    @property
    def predictions(self) -> Path:
        """The predictions for each val and test image."""
        return self.path / "predictions.csv"

    @property
    def metrics(self) -> Path:
        """The metrics; written last, so every run that has it is finished."""
        return self.path / "metrics.json"

    @property
    def model(self) -> Path:
        """The model folder."""
        return self.path / "model"

    @property
    def checkpoint(self) -> Path:
        """What resuming needs; removed when the run is finished."""
        return self.path / "checkpoints" / "last.safetensors"

    @property
    def search(self) -> Path:
        """The candidates of a search, with their costs and scores."""
        return self.path / "search.json"

    def candidate(self, number: int) -> Path:
        """The checkpoint of a candidate; removed when the run is finished."""
        return self.checkpoint.parent / f"candidate-{number:02}.safetensors"

    def of_seed(self, seed: int) -> Path:
        """The same run with another seed; removed when this one is finished."""
        return self.path / "seeds" / str(seed)

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's event files, if requested."""
        return self.path / "tensorboard"

    @property
    def report(self) -> Path:
        """The report: a single self-contained page."""
        return self.path / "report.html"

    @property
    def about(self) -> Path:
        """When, with what and by which command the run was made."""
        return self.path / "run.json"

    @property
    def results(self) -> Path:
        """The history as a table."""
        return self.path / "results.csv"

    @property
    def views(self) -> Path:
        """A sheet of what the network was fed."""
        return self.path / "views.jpg"

    @property
    def log(self) -> Path:
        """All that was said while the run was made."""
        return self.path / "log.txt"

    @property
    def lock(self) -> Path:
        """Locked by the process that writes the run."""
        return self.path / ".lock"

    def is_run(self) -> bool:
        """Tells whether a run was started here."""
        return self.recipe.is_file()

    def is_finished(self) -> bool:
        """Tells whether the run is finished."""
        return self.metrics.is_file()

    def remove_leftovers(self) -> None:
        """Removes the temporary files of a killed process; the caller must hold the lock."""
        for folder in (self.path, self.model, self.checkpoint.parent):
            for part in folder.glob(".????????.part"):
                part.unlink(missing_ok=True)

    def read_metrics(self) -> dict[str, Any]:
        """Returns the metrics of all splits, and the facts of the run.

        Raises:
            RunError: If the run is unfinished or the file is damaged.
        """
        return _read_object(self.metrics, self.path)

    def read_scores(self) -> dict[str, dict[str, Any]]:
        """Returns the metrics of the splits `val` and `test`, as far as they exist.

        Raises:
            RunError: If the run is unfinished or the file is damaged.
        """
        metrics = self.read_metrics()
        return {name: metrics[name] for name in ("val", "test") if name in metrics}

    def read_plan(self) -> dict[str, Any]:
        """Returns the measurements and the choices of the planner.

        Raises:
            RunError: If the run is unfinished or the file is damaged.
        """
        return _read_object(self.plan, self.path)

    def read_search(self) -> dict[str, Any] | None:
        """Returns the candidates of a search; None where none was begun.

        Raises:
            RunError: Where the file is damaged.
        """
        return _read_object(self.search, self.path) if self.search.is_file() else None

    def remove_checkpoints(self) -> None:
        """Removes what only an unfinished run needs."""
        self.checkpoint.unlink(missing_ok=True)
        for path in self.checkpoint.parent.glob("candidate-*.safetensors"):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.path / "seeds", ignore_errors=True)

    def read_history(self) -> list[dict[str, Any]]:
        """Returns the lines of the history; none if nothing was trained.

        Raises:
            RunError: If the file is damaged.
        """
        if not self.history.is_file():
            return []
        try:
            return [json.loads(line) for line in self.history.read_text("utf-8").splitlines()]
        except (OSError, ValueError) as error:
            raise _damaged(self.history, error) from error

    def write_history(self, history: list[dict[str, Any]]) -> None:
        """Writes the whole history."""
        lines = [json.dumps(line, allow_nan=False) + "\n" for line in history]
        write_text(self.history, "".join(lines))

    def write_metrics(self, metrics: dict[str, Any]) -> None:
        """Writes the metrics, which marks the run as finished."""
        write_json(self.metrics, metrics)


def open_run(path: Path) -> RunFolder:
    """Returns the finished run in `path`.

    Raises:
        RunError: If there is no run, or it is unfinished.
    """
    run = RunFolder(path)
    if not path.is_dir():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise RunError(f"{path}: no such run folder.{did_you_mean(path.name, siblings)}")
    if not run.is_run():
        raise RunError(f"{path}: not a run folder (it has no recipe.toml).")
    if not run.is_finished():
        raise RunError(
            f"{path}: this run is unfinished. Run its `frostline train` command again to finish it."
        )
    return run


def claim(path: Path) -> RunFolder:
    """Returns the run folder to write to at `path`, which may be new, empty, or a run already.

    Raises:
        RunError: If the folder contains anything else.
    """
    run = RunFolder(path)
    try:
        exists = path.exists()
    except OSError as error:
        raise RunError(f"--out: {error.strerror}: {path}. Name another folder.") from error
    if exists and not path.is_dir():
        raise RunError(f"{path}: is a file; --out must name a folder.")
    if not is_unicode(str(path.absolute())):
        raise RunError(
            f"--out: {path} is not UTF-8, and safetensors opens no such file. Name another folder."
        )
    if path.is_dir() and not run.is_run():
        others = [p.name for p in path.iterdir() if not p.name.startswith(".")]
        if others:
            raise RunError(
                f"{path}: contains {others[0]!r} and is not a run folder. "
                "Name a new or empty folder with --out."
            )
    return run


def _read_object(path: Path, run: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise RunError(
            f"{run}: has no {path.name}; the run is unfinished or damaged. "
            "Remove the folder and run its `frostline train` command again."
        ) from error
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error
    if not isinstance(value, dict):
        raise _damaged(path, "it must hold a JSON object")
    return value


def _damaged(path: Path, reason: object) -> RunError:
    return RunError(
        f"{path}: cannot be read: {reason}. "
        "Remove the run folder and run its `frostline train` command again."
    )
