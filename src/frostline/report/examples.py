"""Pictures with what was said of each: which are wrong, which are unsure, which are right."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from frostline.images.rows import split_tags
from frostline.scores.metrics import THRESHOLD

# Below this, what is said is called unsure.
SURE = 0.7


@dataclass(frozen=True)
class Example:
    """One picture and what was said about it.

    Attributes:
        path: Where the picture lies; it is only read, and may be gone.
        name: What the page calls it: its path without the folders that all share.
        truth: Its true class; of several labels all, as one text.
        predicted: The class the model gave, likewise.
        probability: What the model gave for that class, 0 to 1; of several, for the label `about`.
        about: The one of several labels that is meant; empty where there is one.
        split: Of which split it is; empty where there is one only.
    """

    path: str
    name: str
    truth: str
    predicted: str
    probability: float
    about: str = ""
    split: str = ""

    @property
    def is_right(self) -> bool:
        """Whether truth and prediction agree, of several labels on the one that is meant."""
        if self.about:
            return self.has_it == (self.probability >= THRESHOLD)
        return self.truth == self.predicted

    @property
    def has_it(self) -> bool:
        """Whether the label that is meant is one of the true ones."""
        return self.about in self.truth.split(", ")

    @property
    def sureness(self) -> float:
        """How sure the model was of what it said; of a label it did not say, of its absence."""
        return max(self.probability, 1 - self.probability) if self.about else self.probability


@dataclass(frozen=True)
class Sorted:
    """Examples of one class, by how well the model did."""

    right: tuple[Example, ...]
    unsure: tuple[Example, ...]
    wrong: tuple[Example, ...]


def sort_out(examples: Iterable[Example], most: int) -> Sorted:
    """Picks up to `most` of each kind: the surest right and wrong ones, and the least sure.

    An unsure one is right, but below `SURE`.
    """
    ranked = sorted(examples, key=lambda one: (-one.sureness, one.path))
    right = [one for one in ranked if one.is_right]
    unsure = [one for one in right if one.sureness < SURE]
    return Sorted(
        right=tuple(one for one in right if one.sureness >= SURE)[:most],
        unsure=tuple(reversed(unsure[-most:])),
        wrong=tuple(one for one in ranked if not one.is_right)[:most],
    )


def mistakes(
    rows: Sequence[Mapping[str, str]], names: Mapping[str, str], several: bool
) -> list[Example]:
    """Returns the wrong ones, the surest first.

    Args:
        rows: Of `predictions.csv`.
        names: What the page calls each path.
        several: Whether a picture may have several labels; then the one it is most wrong about
            is meant.
    """
    splits = {row["split"] for row in rows}
    wrong = []
    for row in rows:
        if row["label"] == row["predicted"]:
            continue
        about = _worst(row) if several else ""
        wrong.append(_example(row, names, about, row["split"] if len(splits) > 1 else ""))
    return sorted(wrong, key=lambda one: (-one.sureness, one.path))


def by_class(
    rows: Sequence[Mapping[str, str]],
    names: Mapping[str, str],
    labels: Sequence[str],
    several: bool,
) -> dict[str, list[Example]]:
    """Returns for each class the pictures of it; of several labels also those said to show it.

    Args:
        rows: Of `predictions.csv`, of one split.
        names: What the page calls each path.
        labels: The classes.
        several: Whether a picture may have several labels.
    """
    found: dict[str, list[Example]] = defaultdict(list)
    for row in rows:
        if not several:
            found[row["label"]].append(_example(row, names))
            continue
        for label in {*split_tags(row["label"]), *split_tags(row["predicted"])}:
            found[label].append(_example(row, names, label))
    return {label: found[label] for label in labels if found[label]}


def _example(
    row: Mapping[str, str], names: Mapping[str, str], about: str = "", split: str = ""
) -> Example:
    truth, predicted = row["label"], row["predicted"]
    chance = float(row[f"p:{about or predicted}"])
    if about:
        truth, predicted = (", ".join(split_tags(text)) for text in (truth, predicted))
    path = row["path"]
    return Example(path, names.get(path, path), truth, predicted, chance, about, split)


def _worst(row: Mapping[str, str]) -> str:
    """Returns the label that the model is most sure of and wrong about."""
    wrong = set(split_tags(row["label"])) ^ set(split_tags(row["predicted"]))
    return max(sorted(wrong), key=lambda name: abs(float(row[f"p:{name}"]) - 0.5))
