"""A small network for each family of each kind, and how it is opened by its name."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

FILES = Path(__file__).parent / "networks" / "weights_files" / "files"
# Smallest members at small sizes, by family of keras.applications.
KERAS: Mapping[str, str] = {
    "xception": "Xception?input_px=71",
    "vgg16": "VGG16?input_px=32",
    "vgg19": "VGG19?input_px=32",
    "resnet": "ResNet50?input_px=32",
    "resnet_v2": "ResNet50V2?input_px=32",
    "inception_v3": "InceptionV3?input_px=75",
    "inception_resnet_v2": "InceptionResNetV2?input_px=75",
    "mobilenet": "MobileNet?input_px=64&alpha=0.25",
    "mobilenet_v2": "MobileNetV2?input_px=64&alpha=0.35",
    "mobilenet_v3": "MobileNetV3Small?input_px=64&minimalistic=true",
    "densenet": "DenseNet121?input_px=32",
    "nasnet": "NASNetMobile?input_px=64",
    "efficientnet": "EfficientNetB0?input_px=32",
    "efficientnet_v2": "EfficientNetV2B0?input_px=32",
    "convnext": "ConvNeXtTiny?input_px=64",
}
TORCHVISION = (
    *("alexnet", "vgg11_bn", "resnet18", "densenet121", "squeezenet1_1", "googlenet"),
    *("inception_v3", "mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x0_5", "mnasnet0_5"),
    *("efficientnet_b0", "regnet_y_400mf", "convnext_tiny", "swin_t", "vit_b_32", "maxvit_t"),
    *("efficientnet_v2_s", "resnext50_32x4d", "vgg16", "wide_resnet50_2"),
)
# Those whose cuts `frost/test_families.py` looks at more closely.
CUT_OF_TORCHVISION = (
    *("alexnet", "vgg11_bn", "resnet18", "densenet121", "squeezenet1_1", "googlenet"),
    *("inception_v3", "mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x0_5", "mnasnet0_5"),
    *("efficientnet_b0", "regnet_y_400mf", "convnext_tiny", "vit_b_32", "swin_t", "swin_v2_t"),
    "maxvit_t",
)
# Those that ship, a user's own, and files that hold a graph.
SMALL = (
    *("builtin:small_cnn", "builtin:mnist_cnn", "builtin:efficientnet_lite0"),
    *("builtin:music_tagger_crnn", "py:own"),
    *("tf:tf1", "tf:saved_model", "onnx:model.onnx", "tflite:float.tflite"),
)
PX = {"alexnet": 64, "squeezenet1_1": 64, "inception_v3": 80, "maxvit_t": 224, "vit_b_32": 224}
_BLOCKS = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
_VIT = {**_BLOCKS, "image_size": 32, "patch_size": 16}
_MLP = {"intermediate_size": 32}
_STAGES = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
_WINDOWS = {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4}
TRANSFORMERS: Mapping[str, tuple[str, str, dict[str, Any]]] = {
    "vit": ("ViT", "ForImageClassification", {**_VIT, **_MLP}),
    "deit": ("DeiT", "ForImageClassification", {**_VIT, **_MLP}),
    "beit": ("Beit", "ForImageClassification", {**_VIT, **_MLP}),
    "swin": ("Swin", "ForImageClassification", {**_WINDOWS, "image_size": 32}),
    "swinv2": ("Swinv2", "ForImageClassification", {**_WINDOWS, "image_size": 32}),
    "convnext": ("ConvNext", "ForImageClassification", _STAGES),
    "convnextv2": ("ConvNextV2", "ForImageClassification", _STAGES),
    "resnet": ("ResNet", "ForImageClassification", {**_STAGES, "embedding_size": 8}),
    "mobilenet_v2": ("MobileNetV2", "ForImageClassification", {"depth_multiplier": 0.35}),
    "dinov2": ("Dinov2", "Model", _VIT),
    "dinov3": ("DINOv3ViT", "Model", {**_VIT, **_MLP}),
    "siglip": ("SiglipVision", "Model", {**_VIT, **_MLP}),
    "clip": ("CLIPVision", "Model", {**_VIT, **_MLP}),
}
# A small architecture of each of timm's modules. Some would take minutes as they are, and are built
# smaller (`?`) or fed smaller images (`@`).
TIMM: dict[str, str] = {
    "beit": "beit_base_patch16_224",
    "byoanet": "halonet_h1",
    "byobnet": "mobileone_s1",
    "cait": "cait_xxs24_224",
    "coat": "coat_tiny",
    "convit": "convit_tiny",
    "convmixer": "convmixer_768_32",
    "convnext": "convnext_zepto_rms",
    "cpubone": "cpubone_nano",
    "crossvit": "crossvit_tiny_240",
    "csatv2": "csatv2",
    "cspnet": "cs3darknet_focus_s",
    "cspnext": "cspnext_tiny",
    "davit": "davit_tiny",
    "deepseek_vit": "deepseek_vit_412m?depth=4&img_size=224",
    "deit": "deit_tiny_patch16_224",
    "densenet": "densenet121",
    "dla": "dla46x_c",
    "dpn": "dpn48b",
    "edgenext": "edgenext_xx_small",
    "efficientformer": "efficientformer_l1",
    "efficientformer_v2": "efficientformerv2_s0",
    "efficientnet": "mobilenetv2_035",
    "efficientvim": "efficientvim_m1",
    "efficientvit_mit": "efficientvit_b0",
    "efficientvit_msra": "efficientvit_m0",
    "eva": "vit_tiny_patch16_dinov3_qkvb",
    "fasternet": "fasternet_t0",
    "fastvit": "fastvit_t8",
    "focalnet": "focalnet_tiny_srf",
    "gcvit": "gcvit_xxtiny",
    "gemma4_vit": "gemma4_vit_167m?depth=4&img_size=192",
    "ghostnet": "ghostnet_050",
    "hardcorenas": "hardcorenas_b",
    "hgnet": "hgnetv2_b0",
    "hiera": "hiera_tiny_224",
    "hieradet_sam2": "sam2_hiera_tiny@256",
    "hrnet": "hrnet_w18_small",
    "iformer": "iformer_t",
    "inception_next": "inception_next_atto",
    "inception_resnet_v2": "inception_resnet_v2",
    "inception_v3": "inception_v3",
    "inception_v4": "inception_v4",
    "lcnetv2": "lcnetv2_small",
    "levit": "levit_128s",
    "lowformer": "lowformer_b0",
    "mambaout": "mambaout_femto",
    "maxxvit": "maxvit_pico_rw_256",
    "metaformer": "poolformerv2_s12",
    "mlp_mixer": "gmlp_ti16_224",
    "mobilenetv3": "mobilenetv3_small_050",
    "mobilenetv5": "mobilenetv5_base",
    "mobilevit": "mobilevit_xxs",
    "mvitv2": "mvitv2_tiny",
    "naflexvit": "naflexvit_base_patch16_parfac_gap?img_size=160",
    "nasnet": "nasnetalarge@64",
    "nest": "nest_tiny",
    "nextvit": "nextvit_small",
    "nfnet": "nf_regnet_b0",
    "pit": "pit_ti_224",
    "pnasnet": "pnasnet5large@64",
    "pvt_v2": "pvt_v2_b0",
    "qwen3_vit": "qwen3_vit_88m?img_size=256",
    "rdnet": "rdnet_tiny",
    "regnet": "regnetx_002",
    "repghost": "repghostnet_050",
    "repvit": "repvit_m1",
    "res2net": "res2next50",
    "resnest": "resnest14d",
    "resnet": "resnet10t",
    "resnetv2": "resnetv2_18",
    "rexnet": "rexnet_100",
    "selecsls": "selecsls42",
    "senet": "legacy_seresnet18",
    "sequencer": "sequencer2d_s",
    "shvit": "shvit_s1",
    "sknet": "skresnet18",
    "starnet": "starnet_s050",
    "swiftformer": "swiftformer_xs",
    "swin_transformer": "swin_tiny_patch4_window7_224",
    "swin_transformer_v2": "swinv2_tiny_window16_256",
    "swin_transformer_v2_cr": "swinv2_cr_tiny_224",
    "tiny_vit": "tiny_vit_5m_224",
    "tnt": "tnt_s_legacy_patch16_224",
    "tresnet": "tresnet_m",
    "twins": "twins_svt_small",
    "vgg": "vgg11",
    "visformer": "visformer_tiny",
    "vision_transformer": "vit_tiny_patch16_224",
    "vision_transformer_hybrid": "vit_tiny_r_s16_p8_224",
    "vision_transformer_relpos": "vit_srelpos_small_patch16_224",
    "vision_transformer_sam": "samvit_base_patch16_224",
    "vitamin": "vitamin_small_224",
    "volo": "volo_d1_224",
    "vovnet": "ese_vovnet19b_slim_dw",
    "xception": "legacy_xception",
    "xception_aligned": "xception41p",
    "xcit": "xcit_nano_12_p8_224",
}

ALL = (
    *(f"keras:{family}" for family in KERAS),
    *(f"torchvision:{name}" for name in TORCHVISION),
    *(f"transformers:{name}" for name in TRANSFORMERS),
    *(f"timm:{name}" for name in TIMM),
    *SMALL,
)


def of_transformers(name: str, folder: Path, default: bool = False) -> str:
    """Writes a configuration, or the `default` one of its class, and returns the name to open."""
    import transformers

    prefix, ending, settings = TRANSFORMERS[name]
    labels = {"id2label": {i: f"c{i}" for i in range(5)}} if "For" in ending else {}
    given = {} if default else {**settings, **labels}
    config = getattr(transformers, f"{prefix}Config")(**given)
    config.architectures = [f"{prefix}{ending}"]
    config.save_pretrained(folder)
    px = getattr(config, "image_size", 224) if default else 32
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": px}))
    return f"transformers:{folder}?pretrained=false"


def of_timm(module: str, folder: Path) -> str:
    name, _, arguments = TIMM.get(module, module).partition("@")[0].partition("?")
    return f"timm:{name}?pretrained=false&num_classes=5" + (f"&{arguments}" if arguments else "")


def px_of(case: str) -> int:
    """Returns the side of a network's images; 0 for its own."""
    kind, _, name = case.partition(":")
    if kind == "timm":
        return int(TIMM.get(name, "").partition("@")[2] or 0)
    return PX.get(name, 64) if kind == "torchvision" else 0


OPENING: Mapping[str, Callable[[str, Path], str]] = {
    "keras": lambda name, folder: f"keras:{KERAS[name]}&pretrained=false&classes=5",
    "torchvision": lambda name, folder: f"torchvision:{name}?pretrained=false&num_classes=5",
    "transformers": of_transformers,
    "builtin": lambda name, folder: (
        f"builtin:{name}" + ("" if name == "efficientnet_lite0" else "?pretrained=false")
    ),
    "py": lambda name, folder: "py:own_network:small?classes=5",
    "timm": of_timm,
    **{
        kind: lambda name, folder, kind=kind: f"{kind}:{FILES / name}?mode=tf&pretrained=false"
        for kind in ("tf", "onnx", "tflite")
    },
}
