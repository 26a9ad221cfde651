"""What a kind of network must be able to do: the one seam between Frostline and a library."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from torch import nn

from frostline import frost
from frostline.networks.downloads import Download
from frostline.networks.folder_config import ModelFolder
from frostline.networks.names import BackboneName
from frostline.networks.record import (
    BackboneEntry,
    BackboneRecord,
    LocalWeights,
    OpenedBackbone,
)


class NetworkKind(Protocol):
    """A kind of network; a module of functions is one."""

    def architectures(self) -> Sequence[str]:
        """Returns what may follow the colon, for messages that name the nearest."""

    def entries(self) -> Iterator[BackboneEntry]:
        """Yields the pretrained networks."""

    def open_named(self, name: BackboneName, local: LocalWeights | None) -> OpenedBackbone:
        """Opens a network by its name, on the CPU, in eval mode.

        Args:
            name: The parsed name.
            local: A weights file to load instead of the library's own.

        Raises:
            BackboneError: Where name or arguments do not hold, or the weights are not here and
                cannot be downloaded.
            WeightsError: Where weights do not fit, or are not safe to read.
        """

    def download_of(self, name: BackboneName) -> Download | None:
        """Returns what must be fetched before `open_named` can open a network with its weights.

        Returns:
            The download, or what it was where it is here already; None for what is never fetched.

        Raises:
            BackboneError: Where the name does not hold, or whoever keeps it cannot be asked.
        """

    def open_folder(self, folder: ModelFolder, name: BackboneName) -> OpenedBackbone:
        """Opens a network from a model folder, on the CPU, in eval mode.

        Args:
            folder: What `configuration` wrote, or the library itself.
            name: The name it was asked for by, whose arguments go before those of the folder.

        Raises:
            BackboneError: Where the folder's configuration does not hold.
            WeightsError: Where weights are missing, do not fit, or are not safe to read.
        """

    def configuration(
        self, module: nn.Module, record: BackboneRecord, classes: Sequence[str]
    ) -> Mapping[str, Any]:
        """Returns what `config.json` must hold for `open_folder` to build `module` again."""

    def trace(self, module: nn.Module, input_shape: tuple[int, int, int]) -> frost.TracedNetwork:
        """Finds the lines of a network.

        Raises:
            LineError: Where it cannot be followed, or does not run on such images.
        """

    def size_argument(self, module: nn.Module) -> str:
        """Returns the argument that builds `module` for another input size; empty for none.

        It is empty, too, where a network takes images of any size as it is.
        """

    def outputs(self, module: nn.Module) -> int:
        """Returns how many outputs its classifier has; 0 where it was removed."""

    def remove_classifier(self, module: nn.Module) -> None:
        """Takes the last layer of its classifier away, so that it gives features."""

    def replace_classifier(self, module: nn.Module, outputs: int) -> nn.Linear | None:
        """Puts a new last layer of `outputs` outputs into its classifier.

        Returns:
            The layer, whose input is what lies at the line `pooled` but for dropout; None where
            the classifier is of another form, such as a convolution.
        """
