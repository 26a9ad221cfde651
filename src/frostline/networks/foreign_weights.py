"""A weights file of any format as a checkpoint under a network's own names."""

from dataclasses import replace

from torch import nn

from frostline.base.errors import WeightsError
from frostline.networks import layer_pairing, weights
from frostline.networks.record import LocalWeights
from frostline.networks.weights import Checkpoint, Match
from frostline.networks.weights_files import formats

_OWN_READERS = ("safetensors", "torch")


def load_for(
    net: nn.Module, local: LocalWeights, input_shape: tuple[int, int, int], where: str
) -> Checkpoint:
    """Reads a file for a network; what PyTorch wrote is paired by name unless otherwise asked.

    Args:
        net: The network, which is not changed.
        local: The file, and how its layers are to be paired with the network's.
        input_shape: Of one image: channels, height and width in pixels.
        where: What is loaded into what, for messages.

    Raises:
        WeightsError: Where the file is not to be read, or layers of it are in the network's way
            and `local.partial` is not set.
    """
    named = local.by in ("auto", "name") and _has_own_reader(local)
    if named:
        return weights.load(local.file)
    net.eval()
    found = layer_pairing.pair(local.file, net, input_shape, local.by)
    if found.left_out and not local.partial:
        wanted = {n for n in net.state_dict() if not n.endswith("num_batches_tracked")}
        if not wanted <= set(found.tensors):
            reason = f" ({found.problem})" if found.problem else ""
            raise WeightsError(
                f"{where}: {len(found.tensors)} of the network's {len(wanted)} tensors are filled, "
                f"by {found.way}, and {len(found.left_out)} of the file's are left over "
                f"({weights.few(found.left_out)}){reason}. Choose the network that the weights "
                "were made for, or load what matches with --partial."
            )
    return Checkpoint(found.tensors, left_out=found.left_out, way=found.way)


def told(match: Match, checkpoint: Checkpoint) -> Match:
    """Returns what became of each tensor, those that pairing left out included."""
    left_out = (*match.unexpected, *checkpoint.left_out)
    return replace(match, unexpected=left_out, way=checkpoint.way)


def _has_own_reader(local: LocalWeights) -> bool:
    # The message for a file that is absent or damaged is that reader's, too.
    if local.file.suffix.lower() in weights.SUFFIXES or not local.file.exists():
        return local.file.suffix.lower() in weights.SUFFIXES
    return formats.format_of(local.file).name in _OWN_READERS
