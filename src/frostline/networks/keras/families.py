"""The networks of keras.applications: sizes, and how each wants its pictures.

Sizes and modes are those of Keras 3.15's own functions (`input_shape` and `preprocess_input`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from frostline.base.errors import BackboneError
from frostline.networks.translate.network import PictureFacts


@dataclass(frozen=True)
class Application:
    """One network of keras.applications.

    Attributes:
        family: The module of keras.applications it lies in.
        input_px: The side of its input where none is asked for.
        smallest_px: The smallest side that Keras builds it with.
        mode: How pixels become its input: `tf`, `torch`, `caffe`, or `inside` where its first
            layers do it.
        outside: The mode where it is built without these layers; empty where it has none.
    """

    family: str
    input_px: int
    smallest_px: int
    mode: str
    outside: str = ""


def _sized(
    family: str, sizes: Mapping[str, int], smallest: int, mode: str, outside: str = ""
) -> dict[str, Application]:
    return {name: Application(family, px, smallest, mode, outside) for name, px in sizes.items()}


_RESNETS = ("ResNet50", "ResNet101", "ResNet152")
_DENSENETS = ("DenseNet121", "DenseNet169", "DenseNet201")
_EFFICIENT = (224, 240, 260, 300, 380, 456, 528, 600)
_EFFICIENT_V2 = {"B0": 224, "B1": 240, "B2": 260, "B3": 300, "S": 384, "M": 480, "L": 480}
_CONVNEXTS = ("Tiny", "Small", "Base", "Large", "XLarge")

APPLICATIONS: Mapping[str, Application] = {
    **_sized("xception", {"Xception": 299}, 71, "tf"),
    **_sized("vgg16", {"VGG16": 224}, 32, "caffe"),
    **_sized("vgg19", {"VGG19": 224}, 32, "caffe"),
    **_sized("resnet", dict.fromkeys(_RESNETS, 224), 32, "caffe"),
    **_sized("resnet_v2", {f"{name}V2": 224 for name in _RESNETS}, 32, "tf"),
    **_sized("inception_v3", {"InceptionV3": 299}, 75, "tf"),
    **_sized("inception_resnet_v2", {"InceptionResNetV2": 299}, 75, "tf"),
    **_sized("mobilenet", {"MobileNet": 224}, 32, "tf"),
    **_sized("mobilenet_v2", {"MobileNetV2": 224}, 32, "tf"),
    **_sized(
        "mobilenet_v3", {"MobileNetV3Small": 224, "MobileNetV3Large": 224}, 32, "inside", "tf"
    ),
    **_sized("densenet", dict.fromkeys(_DENSENETS, 224), 32, "torch"),
    **_sized("nasnet", {"NASNetMobile": 224, "NASNetLarge": 331}, 32, "tf"),
    **_sized(
        "efficientnet", {f"EfficientNetB{i}": px for i, px in enumerate(_EFFICIENT)}, 32, "inside"
    ),
    **_sized(
        "efficientnet_v2",
        {f"EfficientNetV2{size}": px for size, px in _EFFICIENT_V2.items()},
        32,
        "inside",
        "tf",
    ),
    **_sized("convnext", {f"ConvNeXt{size}": 224 for size in _CONVNEXTS}, 32, "inside", "torch"),
}

# Keras's words for how pixels become an input, and `unit`, which is from 0 to 1.
MODES = ("tf", "caffe", "torch", "unit", "inside")
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# Red, green and blue of what is subtracted from pixels of 0 to 255, which are not scaled.
_CAFFE = ((123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255, 1 / 255, 1 / 255))


def facts(mode: str, channels: int = 3) -> PictureFacts | None:
    """Returns what a mode of `preprocess_input` means; None where it speaks of other channels.

    Raises:
        BackboneError: Where there is no such mode.
    """
    if mode not in MODES:
        raise BackboneError(
            f"mode {mode!r}: must be one of {', '.join(MODES)}, Keras's words for how pixels "
            "become an input."
        )
    how = "squash"
    if mode == "tf":
        half = (0.5,) * channels
        return PictureFacts(half, half, "rgb", "bilinear", how, 1.0, "Keras, mode tf")
    if mode == "unit":
        plain = ((0.0,) * channels, (1.0,) * channels)
        return PictureFacts(*plain, "rgb", "bilinear", how, 1.0, "pixels from 0 to 1")
    if mode == "inside":
        unscaled = ((0.0,) * channels, (1 / 255,) * channels)
        return PictureFacts(*unscaled, "rgb", "bilinear", how, 1.0, "Keras, inside the network")
    if channels != 3:
        return None
    if mode == "torch":
        return PictureFacts(*_IMAGENET, "rgb", "bilinear", how, 1.0, "Keras, mode torch")
    return PictureFacts(*_CAFFE, "bgr", "bilinear", how, 1.0, "Keras, mode caffe")
