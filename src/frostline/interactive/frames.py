"""Tables of a run as DataFrames; the one place that needs pandas."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from frostline.base.errors import FrostlineError
from frostline.model.predict import Prediction
from frostline.report.examples import Example
from frostline.run.folder import RunFolder

if TYPE_CHECKING:
    from pandas import DataFrame

PREDICTIONS = ("path", "label", "probability", "labels", "sureness", "problem")
MISTAKES = ("path", "label", "predicted", "probability", "split")


def history_of(run: RunFolder) -> "DataFrame":
    """Returns a row for the probe and for each epoch, as `history.jsonl` has them.

    Raises:
        FrostlineError: Where pandas is not installed, or the history is damaged.
    """
    return _frame("history", run.read_history())


def predictions_of(rows: Iterable[Mapping[str, str]]) -> "DataFrame":
    """Returns the rows of `predictions.csv`, with probabilities as numbers.

    Raises:
        FrostlineError: Where pandas is not installed.
    """
    numbered = (
        {key: float(cell) if key.startswith("p:") else cell for key, cell in row.items()}
        for row in rows
    )
    return _frame("predictions", list(numbered))


def said_of(predictions: Iterable[Prediction]) -> "DataFrame":
    """Returns a row for each picture, with the columns `PREDICTIONS`; of labels, `; ` between them.

    Raises:
        FrostlineError: Where pandas is not installed.
    """
    rows = [
        (one.path, one.label, one.probability, "; ".join(one.labels), one.sureness, one.problem)
        for one in predictions
    ]
    return _frame("to_frame", rows, PREDICTIONS)


def mistakes_of(wrong: Sequence[Example], rows: Iterable[Mapping[str, str]]) -> "DataFrame":
    """Returns the rows of `predictions.csv` that are wrong, in the order given, with a probability.

    Args:
        wrong: What is wrong, as `report.examples.mistakes` gives it.
        rows: Of `predictions.csv`.

    Raises:
        FrostlineError: Where pandas is not installed.
    """
    by_path = {row["path"]: row for row in rows}
    found = [
        {
            "path": one.path,
            "label": by_path[one.path]["label"],
            "predicted": by_path[one.path]["predicted"],
            "probability": one.probability,
            "split": by_path[one.path]["split"],
        }
        for one in wrong
    ]
    return _frame("mistakes", found, MISTAKES)


def _frame(what: str, rows: Sequence[Any], columns: Sequence[str] = ()) -> "DataFrame":
    try:
        from pandas import DataFrame
    except ImportError as error:
        raise FrostlineError(f"{what}: needs pandas: pip install 'frostline[notebook]'.") from error
    return DataFrame(rows, columns=list(columns) or None)
