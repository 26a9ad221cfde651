"""Drawing a network by name, a run or a model folder."""

from dataclasses import replace

from frostline.drawing.boxes import Box, blocks_of, boxes_of
from frostline.drawing.svg import Titles, draw
from frostline.frost.lines import Line
from frostline.model import classifier, heads
from frostline.model.targets import folder_of, traced_of


def svg_of(target: str, line: str = "", image_px: int = 0, blocks: bool = False) -> str:
    """Returns the graph of a network as SVG, with the frost line in it.

    Weights matter to nothing here, so those of a network by name are neither made nor downloaded.

    Args:
        target: A run folder, a model folder, or `KIND:NAME`.
        line: Where the frost line is, as a recipe says it. Where empty: where a run or a model
            folder has it, or below the classifier.
        image_px: Side of the square input, in pixels; 0 for the network's own.
        blocks: Whether there is a box for each block, and not one for each layer.

    Raises:
        BackboneError: Where the target cannot be opened.
        LineError: Where there is no such line.
        RunError: Where the folder is an unfinished run.
    """
    opened, traced = traced_of(target, folder_of(target), image_px)
    facts = opened.extras
    has_head = "head" in facts
    top = traced.find(str(facts["on"])) if has_head and facts.get("on") else traced.lines[-1]
    words = line or str(facts.get("line", "")) or classifier.TOP
    at = classifier.find_line(traced, words, top)
    boxes = blocks_of(traced, at) if blocks else boxes_of(traced, at)
    if has_head:
        boxes = _with_head(boxes, top, heads.describe(heads.from_facts(facts["head"], "head", "")))
    height, width = traced.input_shape[1:]
    titles = Titles(
        f"{target}: {opened.record.architecture}, {width} × {height} px",
        f"below the frost line: {at.params_below:,} parameters, frozen; "
        f"{at.share_below:.1%} of the work",
        f"above: {at.params_above:,} parameters, trained",
    )
    return draw(boxes, at, titles)


def _with_head(boxes: tuple[Box, ...], top: Line, words: str) -> tuple[Box, ...]:
    """Puts a box for a head of its own on a line; what the network has above that is not used."""
    ends = {top.node, *top.aliases}
    position = next((at for at, box in enumerate(boxes) if box.name in ends), len(boxes) - 1)
    kept = boxes[: position + 1]
    head = replace(kept[-1], name="head", title="head", does=words, shape=(), is_above=True)
    return (*kept, replace(head, details=(words,), reads=(kept[-1].name,)))
