"""Well-known networks, told by the names and shapes of their arrays and layers.

A family is only named where names say so that no other network uses; nothing is guessed from sizes
alone. What a family's members differ in (depth, width) is counted or measured.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_WIDTHS = (0.25, 0.35, 0.5, 0.75, 1.0, 1.3, 1.4)

# Names and shapes of a file's arrays.
Shapes = Sequence[tuple[str, tuple[int, ...]]]


@dataclass(frozen=True)
class Family:
    """A kind of network.

    Attributes:
        title: Its name, with `{}` where `detail` goes.
        marks: Patterns of which each must be found in some name of an array or layer.
        absent: A pattern that must not be found.
        detail: Returns what tells its members apart, from names and shapes; empty where unknown.
    """

    title: str
    marks: tuple[str, ...]
    absent: str = ""
    detail: Callable[[Shapes], str] | None = None


def name_of(names: Sequence[str], shapes: Shapes) -> str:
    """Returns the name of the network that a file holds, or nothing where none is known.

    Args:
        names: Of its arrays, nodes and layers.
        shapes: Its arrays' names and shapes.
    """
    text = "\n".join(names)
    for family in FAMILIES:
        found = all(re.search(mark, text, re.MULTILINE) for mark in family.marks)
        if found and not (family.absent and re.search(family.absent, text, re.MULTILINE)):
            detail = family.detail(shapes) if family.detail else ""
            return " ".join(family.title.format(detail).split()).replace("- ", " ").rstrip(" -")
    return ""


def _count(pattern: str, more: int = 0) -> Callable[[Shapes], str]:
    """Counts arrays by name, for networks that are called by their number of layers."""
    wanted = re.compile(pattern)

    def detail(shapes: Shapes) -> str:
        return str(len({name for name, _ in shapes if wanted.search(name)}) + more)

    return detail


def _width(pattern: str, channels: int, axis: int = -1) -> Callable[[Shapes], str]:
    """Measures a network's width by one array's channels."""
    wanted = re.compile(pattern)

    def detail(shapes: Shapes) -> str:
        found = [shape for name, shape in shapes if wanted.search(name) and len(shape) == 4]
        if not found:
            return ""
        ratio = found[0][axis] / channels
        near = min(_WIDTHS, key=lambda width: abs(width - ratio))
        return str(near) if abs(near - ratio) < 0.03 else ""

    return detail


def _one_of(*choices: tuple[str, str]) -> Callable[[Shapes], str]:
    """Takes the word of the first pattern that some name has."""

    def detail(shapes: Shapes) -> str:
        text = "\n".join(name for name, _ in shapes)
        return next((word for mark, word in choices if re.search(mark, text, re.MULTILINE)), "")

    return detail


def _squeezenet(shapes: Shapes) -> str:
    first: tuple[int, ...] = next(
        (shape for name, shape in shapes if name.endswith("features.0.weight")), ()
    )
    known: dict[tuple[int, ...], str] = {(64, 3, 3, 3): "1.1", (96, 3, 7, 7): "1.0"}
    return known.get(first, "")


def _transformer(shapes: Shapes) -> str:
    """Patch, width and depth of a vision transformer."""
    patch = next((s for name, s in shapes if re.search(r"patch_embed.*proj.*weight$", name)), ())
    blocks = {m[1] for name, _ in shapes if (m := re.search(r"(?:blocks|layer)\.(\d+)\.", name))}
    if len(patch) != 4 or not blocks:
        return ""
    return f"with patches of {patch[-1]} px, width {patch[0]} and {len(blocks)} blocks"


_RESNET_CONVS = r"(?:^|\.)(?:layer\d+\.\d+\.conv\d|conv1)\.weight$"
_KERAS_RESNETS = (
    ("conv3_block8|conv4_block36", "152"),
    ("conv4_block23", "101"),
    ("conv4_block6", "50"),
)
_DENSE_BLOCKS = (
    (r"(?:denseblock3\.denselayer48|conv4_block48)", "201"),
    (r"(?:denseblock4\.denselayer32|conv5_block32)", "169"),
    (r"(?:denseblock4\.denselayer16|conv5_block16)", "121"),
)

FAMILIES = (
    Family("MusicTaggerCRNN", (r"bn_0_freq", r"gru2")),
    Family(
        "MobileNetV2 {}",
        (r"expanded_conv_depthwise", r"block_15_project"),
        detail=_width(r"block_16_project/.*kernel", 320),
    ),
    Family(
        "MobileNetV2 {}",
        (r"MobilenetV2/expanded_conv",),
        detail=_width(r"expanded_conv_16/project/weights$", 320),
    ),
    Family(
        "MobileNetV2 {}",
        (r"(^|\.)features\.18\.0\.weight", r"features\.1\.conv\.0\.0\.weight"),
        detail=_width(r"features\.17\.conv\.2\.weight", 320, 0),
    ),
    Family(
        "MobileNet {}",
        (r"(^|/)conv_dw_1(/|$|_)", r"conv_pw_12"),
        detail=_width(r"conv_pw_12/.*kernel", 1024),
    ),
    Family(
        "MobileNet {}",
        (r"MobilenetV1/.*Conv2d_12_pointwise",),
        detail=_width(r"Conv2d_12_pointwise/(?:weights|.*(?:Conv2D|Relu6|_Fold)).*", 1024, 0),
    ),
    Family("MobileNetV3", (r"expanded_conv/squeeze_excite|MobilenetV3",)),
    Family("VGG16", (r"block5_conv3",), absent=r"block5_conv4"),
    Family("VGG19", (r"block5_conv4",)),
    Family(
        "ResNet-{}",
        (r"conv5_block3_3_conv", r"conv2_block1"),
        absent=r"preact",
        detail=_one_of(*_KERAS_RESNETS),
    ),
    Family("ResNet-{} V2", (r"conv5_block3_3_conv", r"preact"), detail=_one_of(*_KERAS_RESNETS)),
    Family("ResNet-50", (r"res5c_branch2c", r"res4f_branch2c"), absent=r"res4b22"),
    Family("Inception-ResNet V2", (r"block17_20_mixed|block35_10_mixed",)),
    Family("Inception V3", (r"^mixed10\b|(^|/)mixed9_1|Mixed_7c\.branch_pool",)),
    Family("Xception", (r"block14_sepconv2|block12\.rep",)),
    Family(
        "DenseNet-{}",
        (r"denseblock4\.denselayer|conv5_block16_2_conv",),
        detail=_one_of(*_DENSE_BLOCKS),
    ),
    Family("NASNet", (r"normal_conv_1_|separable_conv_1_normal_left1",)),
    Family(
        "EfficientNetV2", (r"block6[a-z]_se_reduce", r"block1a_project_conv"), absent=r"block7a"
    ),
    Family("EfficientNet", (r"block7a_project_conv",)),
    Family(
        "ConvNeXt",
        (r"convnext_\w+_stage_3_block|stages\.3\.blocks\.0\.(conv_dw|dwconv)",),
        absent=r"\.xca\.",
    ),
    Family("SqueezeNet {}", (r"features\.3\.squeeze\.weight",), detail=_squeezenet),
    Family(
        "VGG-{}",
        (r"(^|\.)features\.0\.weight", r"classifier\.6\.weight", r"features\.1[1-9]\.weight"),
        absent=r"features\.12\.squeeze",
        detail=lambda shapes: str(
            sum(len(s) == 4 for n, s in shapes if re.search(r"features\.\d+\.weight$", n)) + 3
        ),
    ),
    Family("AlexNet", (r"(^|\.)features\.10\.weight", r"classifier\.6\.weight")),
    Family(
        "ResNet-{}",
        (
            r"(^|\.)layer1\.0\.conv1\.weight",
            r"(^|\.)layer3\.0\.conv1\.weight",
            r"(^|\.)conv1\.weight",
        ),
        detail=_count(_RESNET_CONVS, 1),
    ),
    Family("Swin transformer", (r"layers\.\d\.blocks\.\d+\.attn\.relative_position_bias_table",)),
    Family("CLIP's image tower", (r"visual\.(transformer|trunk)",)),
    Family(
        "vision transformer {}",
        (
            r"(^|\.)cls_token|class_token|pos_embed",
            r"blocks\.0\.attn\.qkv|encoder\.layer\.0\.attention",
        ),
        detail=_transformer,
    ),
    Family(
        "EfficientNet in timm's names",
        (r"(^|\.)conv_stem\.weight", r"blocks\.0\.0\.se\.conv_reduce", r"conv_head\.weight"),
    ),
    Family(
        "MobileNetV2 {} in timm's names",
        (r"(^|\.)conv_stem\.weight", r"blocks\.3\.3\.conv_pwl", r"conv_head\.weight"),
        absent=r"\.se\.|blocks\.5\.3\.",
        detail=_width(r"blocks\.6\.0\.conv_pwl\.weight", 320, 0),
    ),
    Family(
        "EfficientNet-Lite in timm's names",
        (r"(^|\.)conv_stem\.weight", r"blocks\.4\.2\.conv_pwl", r"conv_head\.weight"),
        absent=r"\.se\.",
    ),
)
