"""What the makers of networks publish of them: accuracy on ImageNet, and licences of weights."""

from collections.abc import Mapping

# Top-1 and top-5 on ImageNet in percent.
Accuracy = tuple[float, ...]

# From the table at keras.io/api/applications; nothing where it states nothing.
KERAS: Mapping[str, Accuracy] = {
    "Xception": (79.0, 94.5),
    "VGG16": (71.3, 90.1),
    "ResNet50": (74.9, 92.1),
    "ResNet50V2": (76.0, 93.0),
    "InceptionV3": (77.9, 93.7),
    "InceptionResNetV2": (80.3, 95.3),
    "MobileNet": (70.4, 89.5),
    "MobileNetV2": (71.3, 90.1),
    "MobileNetV3Small": (),
    "DenseNet121": (75.0, 92.3),
    "NASNetMobile": (74.4, 91.9),
    "EfficientNetB0": (77.1, 93.3),
    "EfficientNetV2B0": (78.7, 94.3),
    "ConvNeXtTiny": (),
    "VGG19": (71.3, 90.0),
}
# From docs/templates/applications.md of keras-team/keras at 034466b; later pages say nothing.
KERAS_LICENCES: Mapping[str, str] = {
    "Xception": "mit",
    "VGG16": "cc-by-4.0",
    "VGG19": "cc-by-4.0",
    "ResNet50": "mit",
    "InceptionV3": "apache-2.0",
    "InceptionResNetV2": "apache-2.0",
    "MobileNet": "apache-2.0",
    "MobileNetV2": "apache-2.0",
    "DenseNet121": "bsd-3-clause",
    "NASNetMobile": "apache-2.0",
}
# Of timm's default weights, from results/results-imagenet.csv of huggingface/pytorch-image-models
# at 0173a13, which is older than some of them.
TIMM: Mapping[str, Accuracy] = {
    "beit_base_patch16_224.in22k_ft_in22k_in1k": (85.212, 97.658),
    "cait_xxs24_224.fb_dist_in1k": (78.384, 94.316),
    "coat_tiny.in1k": (78.426, 94.048),
    "convit_tiny.fb_in1k": (73.112, 91.712),
    "convmixer_768_32.in1k": (80.168, 95.074),
    "crossvit_tiny_240.in1k": (73.336, 91.908),
    "davit_tiny.msft_in1k": (82.696, 96.274),
    "deit_tiny_patch16_224.fb_in1k": (72.172, 91.112),
    "densenet121.ra_in1k": (76.500, 93.368),
    "dla46x_c.in1k": (65.988, 86.980),
    "edgenext_xx_small.in1k": (71.878, 90.552),
    "efficientformer_l1.snap_dist_in1k": (80.498, 94.988),
    "efficientformerv2_s0.snap_dist_in1k": (76.118, 92.860),
    "focalnet_tiny_srf.ms_in1k": (82.134, 95.968),
    "gcvit_xxtiny.in1k": (79.728, 95.080),
    "hardcorenas_b.miil_green_in1k": (76.536, 92.760),
    "inception_resnet_v2.tf_in1k": (80.462, 95.308),
    "inception_v3.tv_in1k": (77.434, 93.474),
    "inception_v4.tf_in1k": (80.156, 94.968),
    "legacy_seresnet18.in1k": (71.766, 90.332),
    "legacy_xception.tf_in1k": (79.040, 94.382),
    "levit_128s.fb_dist_in1k": (76.526, 92.872),
    "mobilenetv3_small_050.lamb_in1k": (57.910, 80.180),
    "mobilevit_xxs.cvnets_in1k": (68.932, 88.942),
    "mvitv2_tiny.fb_in1k": (82.410, 96.152),
    "nasnetalarge.tf_in1k": (82.626, 96.042),
    "pit_ti_224.in1k": (72.910, 91.400),
    "pnasnet5large.tf_in1k": (82.782, 96.040),
    "poolformerv2_s12.sail_in1k": (78.004, 93.864),
    "pvt_v2_b0.in1k": (70.660, 90.196),
    "regnetx_002.pycls_in1k": (68.746, 88.536),
    "res2next50.in1k": (78.242, 93.892),
    "resnest14d.gluon_in1k": (75.510, 92.504),
    "resnet10t.c3_in1k": (68.358, 88.040),
    "rexnet_100.nav_in1k": (77.862, 93.866),
    "sequencer2d_s.in1k": (82.340, 96.030),
    "skresnet18.ra_in1k": (73.038, 91.172),
    "swin_tiny_patch4_window7_224.ms_in1k": (81.376, 95.544),
    "swinv2_tiny_window16_256.ms_in1k": (82.804, 96.236),
    "tresnet_m.miil_in21k_ft_in1k": (83.074, 96.114),
    "twins_svt_small.in1k": (81.678, 95.660),
    "vgg11.tv_in1k": (69.022, 88.624),
    "visformer_tiny.in1k": (78.162, 94.164),
    "vit_srelpos_small_patch16_224.sw_in1k": (81.092, 95.570),
    "vit_tiny_patch16_224.augreg_in21k_ft_in1k": (75.454, 92.844),
    "vit_tiny_r_s16_p8_224.augreg_in21k_ft_in1k": (71.798, 90.824),
    "volo_d1_224.sail_in1k": (84.162, 96.776),
    "xception41p.ra3_in1k": (81.972, 95.796),
    "xcit_nano_12_p8_224.fb_in1k": (73.916, 92.170),
}
# From models/official/efficientnet/lite/README.md of tensorflow/tpu at 07e173c.
BUILTIN: Mapping[str, Accuracy] = {"efficientnet_lite0": (75.1,)}
