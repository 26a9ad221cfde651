"""The engine `eager`: PyTorch, with folded batch norms, channels-last, in the chosen precision.

An engine takes batches of uint8 pixels and returns activations in its storage type. It works on a
copy of the prefix in which each batch norm is folded into the convolution before it, which changes
the result by rounding only.
"""

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from frostline.frost import GraphPart
from frostline.images.preprocessing import Preprocessing
from frostline.networks.translate.runtime_part import runtime_of, takes_exact


class Normalise(nn.Module):
    """Turns uint8 pixels [n, c, h, w] into a network's input: (x / 255 - mean) / std.

    Of a spectrogram, float32 [n, c, h, w], values are taken as they are: (x - mean) / std.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.reverse = preprocessing.channel_order == "bgr"
        full = 255 if preprocessing.spectrogram is None else 1
        std = torch.tensor(preprocessing.std).reshape(1, -1, 1, 1)
        mean = torch.tensor(preprocessing.mean).reshape(1, -1, 1, 1)
        if self.reverse:
            std, mean = std.flip(1), mean.flip(1)
        self.register_buffer("scale", 1 / (full * std), persistent=False)
        self.register_buffer("shift", -mean / std, persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Returns float32 [n, c, h, w] in channels-last order."""
        if self.reverse:
            pixels = pixels.flip(1)
        floats = pixels.to(torch.float32, memory_format=torch.channels_last)
        return torch.addcmul(self.shift, floats, self.scale)


@dataclass(frozen=True)
class Engine:
    """A prefix that is ready to run.

    Attributes:
        name: Identifies it in cache keys: engines of the same name give the same bytes.
        device: The device it runs on.
        compute: The type it computes in.
        storage: The type of the activations it returns.
        module: The prepared prefix; None for the line `pixels`, which has nothing to run.
        normalise: Pixels to network input.
        runner: Runs the prefix instead of `module`, if not None. It takes normalised float32
            [n, c, h, w], and may be called by several threads at once.
    """

    name: str
    device: torch.device
    compute: torch.dtype
    storage: torch.dtype
    module: GraphPart | None
    normalise: Normalise
    runner: Callable[[Tensor], Tensor] | None = None

    @property
    def on_cpu(self) -> bool:
        """Whether it runs on the CPU rather than on a GPU."""
        return self.device.type == "cpu"

    @torch.inference_mode()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Returns the activations of `pixels` ([n, c, h, w]) on the CPU: [n, *shape]."""
        if self.module is None:
            return pixels
        x = self.normalise(_to_device(pixels, self.device))
        activations = self.runner(x) if self.runner else self.module(x.to(self.compute))
        return activations.to(self.storage, memory_format=torch.contiguous_format).cpu()


def exact(
    prefix: GraphPart, preprocessing: Preprocessing, device: torch.device, is_pixels: bool = False
) -> Engine:
    """Makes the reference engine: float32, with the layers unchanged.

    Args:
        prefix: The network below the line; it is copied, not changed.
        preprocessing: How images become its input.
        device: The device to run on.
        is_pixels: Whether the line is `pixels`: there is nothing to run, and pixels stay.
        is_vector: Whether an activation is a vector, and not several maps packed into one; None
            to go by the shape.
    """
    normalise = Normalise(preprocessing).to(device)
    if is_pixels:
        return _of_pixels(preprocessing, device, normalise)
    module = copy.deepcopy(prefix).eval().requires_grad_(False).to(device, torch.float32)
    name = f"eager-{device.type}-float32"
    return Engine(name, device, torch.float32, torch.float32, module, normalise)


def prepare(
    prefix: GraphPart,
    preprocessing: Preprocessing,
    shape: tuple[int, ...],
    device: torch.device,
    compute: torch.dtype,
    is_pixels: bool = False,
    is_vector: bool | None = None,
) -> Engine:
    """Makes the engine `eager` for a prefix.

    Args:
        prefix: The network below the line; it is copied, not changed.
        preprocessing: How images become its input.
        shape: Of one activation. Vectors are stored in float32, which costs little; feature maps in
            half precision: the type that is computed in, or else float16.
        device: The device to run on.
        compute: The type to compute in.
        is_pixels: Whether the line is `pixels`: there is nothing to run, and pixels stay.
        is_vector: Whether an activation is a vector, and not several maps packed into one; None
            to go by the shape.
    """
    normalise = Normalise(preprocessing).to(device)
    if is_pixels:
        return _of_pixels(preprocessing, device, normalise)
    half_precision = compute if compute.itemsize == 2 else torch.float16
    if is_vector is None:
        is_vector = len(shape) == 1
    module = copy.deepcopy(prefix).eval().requires_grad_(False).to(device)
    module = fold_batch_norm(module).to(compute).to(memory_format=torch.channels_last)
    return Engine(
        name=f"eager-{device.type}-{str(compute).removeprefix('torch.')}-folded",
        device=device,
        compute=compute,
        storage=torch.float32 if is_vector else half_precision,
        module=module,
        normalise=normalise,
        # Whatever the precision, another framework's runtime gets the pixels as they are.
        runner=module if runtime_of(module) and takes_exact(module, module.graph) else None,
    )


def _of_pixels(preprocessing: Preprocessing, device: torch.device, normalise: Normalise) -> Engine:
    values = torch.uint8 if preprocessing.spectrogram is None else torch.float32
    return Engine("pixels", device, values, values, None, normalise)


def fold_batch_norm(part: GraphPart) -> GraphPart:
    """Folds each batch norm into the convolution before it, in place.

    Only where the norm is the sole consumer of the convolution's output. The activation function
    inside timm's norms stays. Layers that compute their weights in every pass, such as
    weight-standardised convolutions, are left unchanged.

    Args:
        part: A part of a cut network, in eval mode.

    Returns:
        `part`.
    """
    from timm.layers import BatchNormAct2d, Conv2dSame

    from frostline.networks.translate.padding import KernelPaddedConv2d

    nodes = [node for node in part.graph.nodes if node.op == "call_module"]
    calls = Counter(node.target for node in nodes)
    modules = dict(part.named_modules())
    for node in nodes:
        feeder = node.args[0]
        if feeder not in nodes or len(feeder.users) > 1:
            continue
        conv, norm = modules[feeder.target], modules[node.target]
        if type(conv) not in (nn.Conv2d, Conv2dSame, KernelPaddedConv2d):
            continue
        if type(norm) not in (nn.BatchNorm2d, BatchNormAct2d) or norm.running_mean is None:
            continue
        if calls[feeder.target] > 1 or calls[node.target] > 1:
            continue
        part.set_submodule(feeder.target, fuse_conv_bn_eval(conv, norm))
        rest = [getattr(norm, name) for name in ("drop", "act") if hasattr(norm, name)]
        part.set_submodule(node.target, nn.Sequential(*rest))
    return part


def _to_device(pixels: Tensor, device: torch.device) -> Tensor:
    # Copies from pinned memory are asynchronous and use the full bandwidth of the bus.
    if device.type == "cuda":
        return pixels.pin_memory().to(device, non_blocking=True)
    return pixels.to(device)
