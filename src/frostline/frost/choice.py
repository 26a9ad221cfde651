"""Which line is meant by a recipe's words, and which lines are worth trying."""

import itertools
import re
from collections.abc import Sequence

from frostline.base.errors import LineError
from frostline.frost.cut import TracedNetwork
from frostline.frost.lines import Line

TOP = "top"
# Below so small a share of a backbone's parameters there is nothing to train but a norm.
_LEAST_TRAINED = 0.01
# Shares of the work below a line that are worth trying, and how far a block may lie from one
# before other lines are looked at.
_SHARES = (0.85, 0.7, 0.5, 0.25, 0.0)
_NEAR = 0.15
_LAST_BLOCKS = re.compile(r"last (\d{1,6}) blocks?")
_SHARE = re.compile(r"(\d+(?:\.\d+)?) ?%")


def find_line(traced: TracedNetwork, line: str, top: Line) -> Line:
    """Returns the line that a recipe's words mean.

    Args:
        traced: The backbone.
        line: A name or an index; `top`; `last N blocks`, counted down from `top` (a block without
            parameters does not count); or a share such as `85%`: the first line between blocks
            with at least that share of the work below it, or the nearest of all lines where that
            one is far above the share, or hardly a parameter is left above it.
        top: Where the head begins.

    Raises:
        LineError: Where there is no such line, or it lies above `top`.
    """
    words = line.strip()
    if words == TOP:
        return top
    blocks = [one for one in traced.lines if one.block and one.index <= top.index]
    if blocks[-1] is not top:
        blocks.append(top)
    if match := _LAST_BLOCKS.fullmatch(words):
        return _last_blocks(blocks, int(match[1]))
    if match := _SHARE.fullmatch(words):
        return _at_share(traced, blocks, float(match[1]) / 100)
    found = traced.find(words)
    if found.index > top.index:
        raise LineError(f"line {words!r}: lies above {top.name!r}, where the head begins.")
    return found


def auto_lines(traced: TracedNetwork, top: Line) -> tuple[Line, ...]:
    """Returns lines that are worth trying, from high to low, the last one being `pixels`.

    Each leaves something to train above it, at least a hundredth of the backbone's parameters,
    and they divide the work at about 85, 70, 50 and 25 %. Where blocks are far from such a share,
    a line inside a block is taken.

    Args:
        traced: The backbone.
        top: Where the head begins.
    """
    useful = _leaving_something(traced.lines, top)
    chosen = {_nearest(useful, share) for share in _SHARES} if useful else set()
    return tuple(sorted(chosen, key=lambda line: -line.index))


def _at_share(traced: TracedNetwork, blocks: Sequence[Line], share: float) -> Line:
    """The first block-level line at or above a share.

    Where that one is far above it, or leaves nothing to train, it is the nearest that does.
    """
    top = blocks[-1]
    found = next((one for one in blocks if one.share_below >= share), top)
    useful = _leaving_something(traced.lines, top)
    if share >= 1 or not useful or (found in useful and found.share_below - share <= _NEAR):
        return found
    return _nearest(useful, share)


def _leaving_something(lines: Sequence[Line], top: Line) -> list[Line]:
    whole = lines[0].params_above - top.params_above
    return [
        line
        for line in lines
        if line.index < top.index
        and line.params_above - top.params_above >= max(1, _LEAST_TRAINED * whole)
    ]


def _nearest(lines: Sequence[Line], share: float) -> Line:
    def distance(line: Line) -> float:
        return abs(line.share_below - share)

    blocks = [line for line in lines if line.block and distance(line) <= _NEAR]
    return min(blocks or lines, key=distance)


def _last_blocks(blocks: list[Line], count: int) -> Line:
    with_parameters = [
        below
        for below, above in itertools.pairwise(blocks)
        if above.params_below > below.params_below
    ]
    if not 0 <= count <= len(with_parameters):
        raise LineError(
            f"line 'last {count} blocks': there are {len(with_parameters)} blocks below "
            f"{blocks[-1].name!r}."
        )
    return with_parameters[-count] if count else blocks[-1]
