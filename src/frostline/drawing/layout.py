"""Where the boxes of a graph go: in ranks from top to bottom, with few crossings.

The method is the layered one of Sugiyama, Tagawa and Toda (1981): ranks, stand-ins where an edge
passes a rank, an order by barycenters, and then places as near to a node's neighbours as the order
allows.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_SWEEPS = 12
# The room between two boxes of a rank, and the width of an edge that passes one, in px.
GAP, PASSING = 24.0, 14.0


@dataclass(frozen=True)
class Placed:
    """Where everything lies.

    Attributes:
        rank: Of each node, from 0 at the top.
        x: The middle of each node, in px from the left.
        routes: For each edge, the places that it passes: x of each rank between its ends.
        width: Of everything.
        ranks: How many there are.
    """

    rank: Mapping[str, int]
    x: Mapping[str, float]
    routes: Mapping[tuple[str, str], tuple[float, ...]]
    width: float
    ranks: int


def place(
    nodes: Sequence[str],
    edges: Sequence[tuple[str, str]],
    widths: Mapping[str, float],
    above: frozenset[str],
) -> Placed:
    """Places the nodes of a graph without circles.

    Args:
        nodes: In an order in which each comes after those it reads.
        edges: Pairs of nodes, from what gives to what reads.
        widths: Of each node, in px.
        above: Nodes that lie in ranks after all others.
    """
    rank = _ranks(nodes, edges, above)
    chains = _Chains(rank)
    routes = {edge: chains.through(edge) for edge in edges}
    every = {**dict.fromkeys(chains.rank, PASSING), **widths}
    rows = _rows(nodes, chains)
    _order(rows, chains)
    x = _spread(rows, chains, every)
    left = min(x[name] - every[name] / 2 for name in x)
    right = max(x[name] + every[name] / 2 for name in x)
    return Placed(
        rank=rank,
        x={name: x[name] - left for name in nodes},
        routes={edge: tuple(x[name] - left for name in route) for edge, route in routes.items()},
        width=right - left,
        ranks=len(rows),
    )


@dataclass
class _Chains:
    """Ranks and neighbours, with a stand-in for each rank that an edge passes."""

    rank: dict[str, int]
    up: dict[str, list[str]] = field(default_factory=dict)
    down: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rank = dict(self.rank)

    def through(self, edge: tuple[str, str]) -> tuple[str, ...]:
        """Adds an edge, and returns the stand-ins on its way."""
        source, target = edge
        made = []
        for at in range(self.rank[source] + 1, self.rank[target]):
            # Edges from one source share their way for as long as they go together.
            name = f"{source}>{at}"
            self.rank.setdefault(name, at)
            made.append(name)
        way = [source, *made, target]
        for one, other in itertools.pairwise(way):
            if other not in self.down.setdefault(one, []):
                self.down[one].append(other)
                self.up.setdefault(other, []).append(one)
        return tuple(made)


def _ranks(
    nodes: Sequence[str], edges: Sequence[tuple[str, str]], above: frozenset[str]
) -> dict[str, int]:
    reads: dict[str, list[str]] = {}
    for source, target in edges:
        reads.setdefault(target, []).append(source)
    rank: dict[str, int] = {}
    for name in (one for one in nodes if one not in above):
        rank[name] = max((rank[source] + 1 for source in reads.get(name, ())), default=0)
    least = max(rank.values(), default=-1) + 1
    for name in (one for one in nodes if one in above):
        rank[name] = max([least, *(rank[source] + 1 for source in reads.get(name, ()))])
    return rank


def _rows(nodes: Sequence[str], chains: _Chains) -> list[list[str]]:
    rows: list[list[str]] = [[] for _ in range(max(chains.rank.values()) + 1)]
    for name in (*nodes, *(one for one in chains.rank if one not in set(nodes))):
        rows[chains.rank[name]].append(name)
    return rows


def _order(rows: list[list[str]], chains: _Chains) -> None:
    """Sorts each rank by the mean place of neighbours, down and up again."""
    for sweep in range(_SWEEPS):
        is_down = sweep % 2 == 0
        near = chains.up if is_down else chains.down
        places = {name: at for row in rows for at, name in enumerate(row)}
        for row in rows if is_down else reversed(rows):
            # A sort is stable, so that equal ones keep their order.
            row.sort(key=lambda name: _mean([places[one] for one in near.get(name, [name])]))
            places |= {name: at for at, name in enumerate(row)}


def _spread(
    rows: Sequence[Sequence[str]], chains: _Chains, widths: Mapping[str, float]
) -> dict[str, float]:
    """Gives each node the place nearest to its neighbours that leaves room for its rank."""
    x: dict[str, float] = {}
    for row in rows:
        x |= _apart(row, dict.fromkeys(row, 0.0), widths)
    for sweep in range(_SWEEPS):
        both = sweep >= _SWEEPS - 2
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wanted = {}
            for name in row:
                up, down = chains.up.get(name, []), chains.down.get(name, [])
                near = [*up, *down] if both else up if sweep % 2 == 0 else down
                wanted[name] = _mean([x[one] for one in near or [name]])
            x |= _apart(row, wanted, widths)
    return x


def _apart(
    row: Sequence[str], wanted: Mapping[str, float], widths: Mapping[str, float]
) -> dict[str, float]:
    """Returns the places nearest to the wanted ones, by squares, that keep boxes apart.

    With what lies to the left taken off, places must only rise: an isotonic regression, by
    pooling neighbours that would overlap.
    """
    offsets, at = [], 0.0
    for one, other in zip([None, *row], row, strict=False):
        if one is not None:
            is_box = max(widths[one], widths[other]) > PASSING
            at += (widths[one] + widths[other]) / 2 + (GAP if is_box else 0.0)
        offsets.append(at)
    pools: list[tuple[float, int]] = []
    for name, offset in zip(row, offsets, strict=True):
        mean, count = wanted[name] - offset, 1
        while pools and pools[-1][0] > mean:
            other_mean, other_count = pools.pop()
            mean = (mean * count + other_mean * other_count) / (count + other_count)
            count += other_count
        pools.append((mean, count))
    flat = [mean for mean, count in pools for _ in range(count)]
    return {name: value + offset for name, value, offset in zip(row, flat, offsets, strict=True)}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
