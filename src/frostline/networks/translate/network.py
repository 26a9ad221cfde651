"""A network that was translated, with all that is known of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import fx

from frostline.base.errors import BackboneError
from frostline.networks.translate.graph import Graph
from frostline.networks.weights import Match


@dataclass(frozen=True)
class PictureFacts:
    """How the source turns a picture into a network's input.

    Attributes:
        mean: Per channel of red, green and blue, on pixels scaled to [0, 1].
        std: Likewise; (pixel / 255 − mean) / std is what the network takes.
        channel_order: `rgb`, or `bgr` where blue comes first.
        interpolation: How the source resizes.
        crop_mode: `squash` where the aspect ratio is ignored, `center` where a square is cut out.
        crop_pct: The share of the resized picture that a crop keeps.
        source: Where the facts come from.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    channel_order: str = "rgb"
    interpolation: str = "bilinear"
    crop_mode: str = "squash"
    crop_pct: float = 1.0
    source: str = ""


@dataclass(frozen=True)
class TranslatedNetwork:
    """A network that was translated, and what its source says of it.

    Attributes:
        module: Takes [n, c, h, w] and gives scores, before any softmax or sigmoid.
        graph: What it was built from; a model folder holds it as JSON.
        shapes: What each node gives for one example.
        preprocessing: How pictures become its input, or None where nobody tells.
        labels: Its classes in order, or None.
        classifier: The path of the layer that gives the scores; empty where it gives a map or
            features.
        source: Where it comes from, for people: `keras:MobileNet, Keras 3.15.1`.
        digest: Of the graph: SHA-256, in hexadecimal.
        notes: What was left out or deserves a word, a sentence each.
        match: What became of each tensor of a weights file that was asked for.
    """

    module: fx.GraphModule
    graph: Graph
    shapes: Mapping[str, tuple[int, ...]]
    preprocessing: PictureFacts | None
    labels: tuple[str, ...] | None
    classifier: str
    source: str
    digest: str
    notes: tuple[str, ...] = ()
    match: Match | None = None

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width in pixels."""
        return self.graph.input_shape


def classifier_of(graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Returns the layer whose output becomes the scores; empty where the last is a map."""
    by_name = {node.name: node for node in graph.nodes}
    last = by_name[graph.output]
    while last.op in ("identity", "reshape", "flatten", "activation") and len(last.inputs) == 1:
        last = by_name[last.inputs[0]]
    is_vector = len(shapes[graph.output]) == 1
    return last.path if is_vector and last.op in ("dense", "conv2d") else ""


def check_labels(labels: tuple[str, ...], outputs: tuple[int, ...], where: str) -> None:
    """Checks that there is one label for each score.

    Raises:
        BackboneError: Where there is not.
    """
    # One sigmoid tells two classes apart.
    allowed = {1, 2} if outputs == (1,) else set(outputs[-1:])
    if len(labels) not in allowed:
        raise BackboneError(
            f"{where}: must name {outputs[-1] if outputs else 0} classes, one a line, and names "
            f"{len(labels)}. Put the network's own labels beside it."
        )
