"""Images that must not come apart, and how to deal them out evenly."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from frostline.images.rows import Listing, Row

_SIDES = ("train", "val", "test")
_PASSES = 20
# Exchanging two groups is tried up to so many: their pairs are many more.
_EXCHANGED = 100
_LEAST_GAIN = 1e-9


@dataclass(frozen=True)
class Unit:
    """Images of the same content, or of the same group.

    Attributes:
        rows: Their positions.
        counts: How many of them show each class.
        place: Where their hash falls on [0, 1).
        is_group: Whether they have a group, rather than only a content in common.
    """

    rows: tuple[int, ...]
    counts: Mapping[str, int] = field(hash=False)
    place: float
    is_group: bool = False

    @property
    def labels(self) -> frozenset[str]:
        """The classes that they show."""
        return frozenset(self.counts)


def units_of(listing: Listing, rows: list[Row], seed: int) -> list[Unit]:
    """Joins rows that share a digest or a group, through any number of steps.

    Args:
        listing: Says whether rows have several labels.
        rows: What is joined; units name them by their positions.
        seed: Decides the place of each.
    """
    parent = list(range(len(rows)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    first: dict[str, int] = {}
    for index, row in enumerate(rows):
        for key in _keys(row):
            parent[root(index)] = root(first.setdefault(key, index))
    members: dict[int, list[int]] = defaultdict(list)
    for index in range(len(rows)):
        members[root(index)].append(index)
    return [_unit(listing, rows, tuple(indices), seed) for indices in members.values()]


def _unit(listing: Listing, rows: list[Row], indices: tuple[int, ...], seed: int) -> Unit:
    keys = {key for index in indices for key in _keys(rows[index])}
    # "group:" sorts after "digest:"; where there is a group, it decides.
    groups = {key for key in keys if key.startswith("group:")}
    key = min(groups or keys)
    content = f"{seed}\n{key}".encode("utf-8", "surrogateescape")
    place = int.from_bytes(hashlib.sha256(content).digest()[:6], "big") / 2**48
    counts = Counter(tag for index in indices for tag in listing.tags(rows[index]))
    return Unit(indices, counts, place, bool(groups))


def _keys(row: Row) -> list[str]:
    keys = [f"digest:{row.digest}"]
    return [*keys, f"group:{row.group}"] if row.group else keys


def balance(units: Sequence[Unit], splits: list[str], val: float, test: float) -> None:
    """Moves groups so that each class is shared out as asked, as well as groups allow; in place.

    It begins with the splits that hashes gave, and moves a group, or exchanges two, only where
    that makes the sum over classes and splits of the squared distance from the share, over the
    size of the class, smaller.

    Args:
        units: All images; only those with a group are moved.
        splits: The split of each unit.
        val: The share for validation.
        test: The share for the test.
    """
    movable = [index for index, unit in enumerate(units) if unit.is_group]
    shares = [1 - val - test, val, test]
    sides = [side for side, share in enumerate(shares) if share > 0]
    if not movable or len(sides) < 2:
        return
    table = _Table(units, [_SIDES.index(split) for split in splits], shares)
    movable.sort(key=lambda index: (-sum(units[index].counts.values()), units[index].place))
    for _ in range(_PASSES):
        moved = [table.move(index, sides) for index in movable]
        few = movable if len(movable) <= _EXCHANGED else []
        moved += [table.exchange(i, j) for at, i in enumerate(few) for j in few[at + 1 :]]
        if not any(moved):
            break
    for index in movable:
        splits[index] = _SIDES[table.sides[index]]


class _Table:
    """How many images of each class lie on each side, and what moving a unit would change."""

    def __init__(self, units: Sequence[Unit], sides: list[int], shares: Sequence[float]) -> None:
        labels = sorted({label for unit in units for label in unit.counts})
        column = {label: at for at, label in enumerate(labels)}
        self.sides = sides
        self._columns = [[column[label] for label in unit.counts] for unit in units]
        self._added = [np.array([*unit.counts.values()], dtype=float) for unit in units]
        totals = np.zeros(len(labels))
        for columns, added in zip(self._columns, self._added, strict=True):
            totals[columns] += added
        # How far each side is from its share, in images of each class: [3, classes].
        self._excess = -np.outer(shares, totals)
        self._weight = 1 / totals
        for at, side in enumerate(sides):
            self._excess[side, self._columns[at]] += self._added[at]

    def move(self, at: int, sides: Sequence[int]) -> bool:
        """Moves a unit to the side where it helps most; says whether it did."""
        gains = {side: self._gain(at, side) for side in sides if side != self.sides[at]}
        side = max(gains, key=lambda one: gains[one])
        if gains[side] <= _LEAST_GAIN:
            return False
        self._put(at, side)
        return True

    def exchange(self, one: int, other: int) -> bool:
        """Lets two units change sides where that helps; says whether they did."""
        here, there = self.sides[one], self.sides[other]
        if here == there:
            return False
        first = self._gain(one, there)
        self._put(one, there)
        if first + self._gain(other, here) > _LEAST_GAIN:
            self._put(other, here)
            return True
        self._put(one, here)
        return False

    def _gain(self, at: int, side: int) -> float:
        """Returns by how much the sum of weighted squares falls if a unit goes to a side."""
        columns, added = self._columns[at], self._added[at]
        out, into = self._excess[self.sides[at], columns], self._excess[side, columns]
        change: NDArray[np.float64] = 2 * added * (out - into - added)
        return float((change * self._weight[columns]).sum())

    def _put(self, at: int, side: int) -> None:
        columns = self._columns[at]
        self._excess[self.sides[at], columns] -= self._added[at]
        self._excess[side, columns] += self._added[at]
        self.sides[at] = side
