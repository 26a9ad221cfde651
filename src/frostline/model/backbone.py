"""A network as Python users have it: opened by name, looked into, and cut."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from frostline import frost
from frostline.base import html
from frostline.base.errors import BackboneError, LineError
from frostline.base.paths import user_path
from frostline.images.preprocessing import Preprocessing
from frostline.model.layer_rows import LayerRow, all_layers
from frostline.model.layer_rows import only as only_rows
from frostline.networks import catalog
from frostline.networks.record import BackboneRecord, OpenedBackbone


@dataclass(frozen=True, repr=False)
class Backbone:
    """A network with its facts.

    Attributes:
        module: The network, in eval mode.
        record: Input size, preprocessing, licence, class names, parameter count.
    """

    module: nn.Module
    record: BackboneRecord

    def __repr__(self) -> str:
        return html.one_line(f"Backbone {self.record.name}: {_summary(self.record)}")

    def _repr_html_(self) -> str:
        record = self.record
        rows = [
            ("architecture", record.architecture),
            ("input", _input(record)),
            ("parameters", f"{record.parameters:,}"),
            ("features", f"{record.num_features:,}"),
            ("own classes", f"{len(record.classes):,}" if record.classes else "none known"),
            ("licence of the weights", record.licence or "not stated"),
        ]
        return html.block(html.lead(record.name), html.facts(rows), self._lines_html())

    def _lines_html(self) -> str:
        try:
            lines = [line for line in self.lines() if line.block]
        except LineError as error:
            return html.dim(str(error))
        rows = [
            (line.name, " × ".join(map(str, line.shape)), f"{line.share_below:.0%}")
            for line in lines
        ]
        table = html.table(("line", "shape", "work below"), rows)
        return html.folded(f"{len(lines)} lines between blocks, where it can be cut", table)

    def lines(self) -> tuple[frost.Line, ...]:
        """Returns every place where it can be cut, from `pixels` to `pooled`.

        Raises:
            LineError: Where the network cannot be traced.
        """
        return self._traced().lines

    def cut(self, line: str | int) -> tuple[nn.Module, nn.Module]:
        """Returns prefix and suffix: `suffix(prefix(x)) == module(x)`.

        Both share the parameters of `module`, under its names.

        Args:
            line: A line's name or index, as `lines()` gives them.

        Raises:
            LineError: Where it cannot be cut there.
        """
        return self._traced().cut(line)

    def part(self, start: str | int | None = None, end: str | int | None = None) -> nn.Module:
        """Returns what lies between two lines, as a module.

        It shares the parameters of `module`, under its names (`named_parameters()`), and follows
        `train()` and `eval()`. It never writes into its input.

        Args:
            start: The line whose activations it takes; None for pixels.
            end: The line whose activations it gives; None for the network's own output.

        Raises:
            LineError: Where the network cannot be cut there, or `end` lies below `start`.
        """
        return self._traced().between(start, end)

    def layers(self, only: str = "") -> tuple[LayerRow, ...]:
        """Returns the network's layers in the order in which they run, its classifier included.

        Args:
            only: A kind of layers, such as `conv`, `norm`, `pool` or `linear`; all where empty.

        Raises:
            LineError: Where the network cannot be traced.
            RecipeError: Where no layer is of that kind.
        """
        rows = all_layers(self._traced())
        return only_rows(rows, only, "only") if only else rows

    def _traced(self) -> frost.TracedNetwork:
        return catalog.trace(OpenedBackbone(self.record, self.module))


def backbone(
    name: str | nn.Module,
    *,
    pretrained: bool = True,
    weights: str | os.PathLike[str] | None = None,
    partial: bool = False,
    preprocessing: Preprocessing | None = None,
) -> Backbone:
    """Opens a backbone.

    Args:
        name: `timm:NAME[?key=value&…]`, `torchvision:NAME`, `transformers:OWNER/NAME`,
            `py:MODULE:FACTORY`, `dir:PATH` or `hub:OWNER/NAME`; or a network of your own, which is
            put in eval mode.
        pretrained: False for random weights.
        weights: A local weights file for the named architecture.
        partial: Whether that file may fit in part only.
        preprocessing: How an image becomes the input of a network of your own.

    Raises:
        BackboneError: Where it cannot be found or opened, or `preprocessing` is given for a name
            or lacks for a network.
    """
    if isinstance(name, nn.Module):
        return _own_backbone(name, preprocessing, {"weights": weights, "partial": partial})
    if preprocessing is not None:
        raise BackboneError(f"{name}: brings its own preprocessing; give none.")
    opened = catalog.find(
        name,
        pretrained=pretrained,
        weights=user_path(weights) if weights else None,
        partial=partial,
    )
    return Backbone(opened.module, opened.record)


def _own_backbone(
    module: nn.Module, preprocessing: Preprocessing | None, files: Mapping[str, Any]
) -> Backbone:
    from frostline.networks.python_networks import record_of

    kind = type(module)
    if preprocessing is None:
        raise BackboneError(
            f"{kind.__name__}: preprocessing must be given with a network of your own, such as "
            "frostline.Preprocessing(height_px=224, width_px=224)."
        )
    for option in (option for option, value in files.items() if value):
        raise BackboneError(f"{kind.__name__}: {option} goes with a network by name.")
    path = f"{kind.__module__}:{kind.__qualname__}"
    return Backbone(module.eval(), record_of(module, f"py:{path}", path, {}, preprocessing))


def _summary(record: BackboneRecord) -> str:
    return (
        f"{record.architecture}, {_input(record)}, {record.parameters / 1e6:.1f} M parameters, "
        f"licence {record.licence or 'not stated'}"
    )


def _input(record: BackboneRecord) -> str:
    return f"{record.preprocessing.width_px} × {record.preprocessing.height_px} px"
