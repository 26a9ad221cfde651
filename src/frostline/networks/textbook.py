"""The two small networks of the textbooks: `builtin:small_cnn` and `builtin:mnist_cnn`.

They are there to be trained from scratch, and are examples of networks of one's own.
"""

from torch import Tensor, nn
from torch.nn import functional

from frostline.base.errors import BackboneError
from frostline.images.preprocessing import Preprocessing

_HALVINGS = 8  # Three poolings.


class SmallCnn(nn.Module):
    """Three blocks of 32, 64 and 128 channels, then two dense layers.

    A block is a convolution 3 × 3 that keeps the size, ReLU, and max pooling that halves it.
    """

    size_argument = "input_px"

    def __init__(self, classes: int, input_px: int, in_chans: int) -> None:
        super().__init__()
        self.block1 = _block(in_chans, 32)
        self.block2 = _block(32, 64)
        self.block3 = _block(64, 128)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(128 * (input_px // _HALVINGS) ** 2, 128)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(0.5)
        self.fc2 = nn.Linear(128, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Returns scores [n, classes] of images [n, c, h, w]."""
        maps = self.block3(self.block2(self.block1(images)))
        features = self.relu(self.fc1(self.flatten(maps)))
        scores: Tensor = self.fc2(self.dropout(features))
        return scores


class MnistCnn(nn.Module):
    """The network of PyTorch's first lesson on handwritten digits, 28 × 28 px of one channel.

    Its shapes are those of its maker's: `view(-1, 320)` holds at this size alone, and what it gives
    are logarithms of probabilities.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 10, kernel_size=5)
        self.conv2 = nn.Conv2d(10, 20, kernel_size=5)
        self.conv2_drop = nn.Dropout2d()
        self.fc1 = nn.Linear(320, 50)
        self.fc2 = nn.Linear(50, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Returns log-probabilities [n, classes] of images [n, 1, 28, 28]."""
        x = functional.relu(functional.max_pool2d(self.conv1(images), 2))
        x = functional.relu(functional.max_pool2d(self.conv2_drop(self.conv2(x)), 2))
        x = x.view(-1, 320)
        x = functional.dropout(functional.relu(self.fc1(x)), training=self.training)
        return functional.log_softmax(self.fc2(x), dim=1)


def small_cnn(
    classes: int = 10, input_px: int = 64, in_chans: int = 3
) -> tuple[nn.Module, Preprocessing]:
    """Makes `builtin:small_cnn` with random weights.

    Args:
        classes: How many it tells apart.
        input_px: The side of its square input.
        in_chans: 3 for colours, 1 for grey, n for stacks of n pictures.

    Raises:
        BackboneError: Where nothing is left of an input so small, or a number is none.
    """
    counts = {"classes": (classes, 1), "input_px": (input_px, _HALVINGS), "in_chans": (in_chans, 1)}
    for name, (count, least) in counts.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < least:
            raise BackboneError(
                f"small_cnn: {name} must be a whole number from {least} up, not {count!r}."
            )
    half = (0.5,) * in_chans
    how = Preprocessing(input_px, input_px, 1.0, "squash", "bilinear", mean=half, std=half)
    return SmallCnn(classes, input_px, in_chans), how


def mnist_cnn(classes: int = 10) -> tuple[nn.Module, Preprocessing]:
    """Makes `builtin:mnist_cnn` with random weights, normalised by the digits' own statistics.

    Args:
        classes: How many it tells apart.

    Raises:
        BackboneError: Where that is no whole number from 1 up.
    """
    if not isinstance(classes, int) or isinstance(classes, bool) or classes < 1:
        raise BackboneError(
            f"mnist_cnn: classes must be a whole number from 1 up, not {classes!r}."
        )
    how = Preprocessing(28, 28, 1.0, "squash", "bilinear", mean=(0.1307,), std=(0.3081,))
    return MnistCnn(classes), how


def _block(channels: int, filters: int) -> nn.Sequential:
    parts = {
        "conv": nn.Conv2d(channels, filters, 3, padding=1),
        "relu": nn.ReLU(),
        "pool": nn.MaxPool2d(2),
    }
    made = nn.Sequential()
    for name, part in parts.items():
        made.add_module(name, part)
    return made
