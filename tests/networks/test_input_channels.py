"""Networks of three input channels made to take one, or several."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from frostline.base.errors import BackboneError
from frostline.networks import catalog, input_channels, model_folder
from frostline.networks.textbook import MnistCnn

NAMES = (
    "timm:test_resnet?pretrained=false&num_classes=7",
    "timm:test_vit?pretrained=false&num_classes=7",
    "torchvision:squeezenet1_1?pretrained=false&num_classes=7",
    "torchvision:googlenet?pretrained=false&num_classes=7",
)


def test_kernels_are_summed_for_grey_and_repeated_for_more() -> None:
    kernel = torch.arange(6.0).reshape(2, 3, 1, 1)
    assert input_channels.adapted(kernel, 1).flatten().tolist() == [3.0, 12.0]
    four = input_channels.adapted(kernel, 4)[0].flatten()
    assert four.tolist() == [0.0, 0.75, 1.5, 0.0]
    own = timm.models.adapt_input_conv(4, kernel)
    assert torch.allclose(input_channels.adapted(kernel, 4), own)


@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize("name", NAMES)
def test_it_opens_is_cut_saved_and_opened_again(name: str, channels: int, tmp_path: Path) -> None:
    one = catalog.find(f"{name}&in_chans={channels}")
    assert one.record.preprocessing.channels == channels
    traced = catalog.trace(one, 64)
    assert traced.lines[0].shape == (channels, 64, 64)
    traced.cut(traced.lines[len(traced.lines) // 2])
    model_folder.write_folder(tmp_path, one.module, one.record, list("abcdefg"))
    again = catalog.find(f"dir:{tmp_path}")
    assert again.record.preprocessing == one.record.preprocessing
    side = one.record.preprocessing.height_px
    images = torch.rand(2, channels, side, side)
    assert torch.equal(again.module(images), one.module(images))
    if name.startswith("timm"):  # And by timm itself, weights included.
        theirs = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
        assert torch.equal(theirs(images), one.module(images))


@pytest.mark.parametrize("name", NAMES[::2])
def test_a_folder_of_three_channels_takes_grey_as_it_took_it_repeated(
    name: str, tmp_path: Path
) -> None:
    one = catalog.find(name)
    model_folder.write_folder(tmp_path, one.module, one.record, list("abcdefg"))
    grey = catalog.find(f"dir:{tmp_path}?in_chans=1")
    images = torch.rand(2, 1, 64, 64)
    want = one.module(images.expand(2, 3, 64, 64))
    assert torch.allclose(grey.module(images), want, atol=1e-5)


def test_a_weights_file_of_three_channels_is_adapted(tmp_path: Path) -> None:
    one = catalog.find(NAMES[0])
    torch.save({"state_dict": one.module.state_dict()}, tmp_path / "net.pth")
    grey = catalog.find(f"{NAMES[0]}&in_chans=1", weights=tmp_path / "net.pth")
    images = torch.rand(2, 1, 64, 64)
    want = one.module(images.expand(2, 3, 64, 64))
    assert torch.allclose(grey.module(images), want, atol=1e-5)


@pytest.mark.skipif(find_spec("keras") is None, reason="Keras is not installed")
def test_a_network_of_keras(tmp_path: Path) -> None:
    name = "keras:MobileNetV2?alpha=0.35&input_px=64&pretrained=false&num_classes=7&in_chans="
    for channels in ("1", "5"):
        one = catalog.find(name + channels)
        assert one.record.preprocessing.mean == (0.5,) * int(channels)
        model_folder.write_folder(tmp_path / channels, one.module, one.record, list("abcdefg"))
        again = catalog.find(f"dir:{tmp_path / channels}")
        images = torch.rand(2, int(channels), 64, 64)
        assert torch.equal(again.module(images), one.module(images))
    # Its own layers hold means of three colours; caffe's order of colours is gone with them.
    inside = catalog.find("keras:EfficientNetB0?input_px=32&pretrained=false&in_chans=1")
    assert inside.module(torch.rand(1, 1, 32, 32)).shape == (1, 1000)
    vgg = "keras:VGG16?input_px=32&pretrained=false&include_top=false&in_chans=1"
    assert catalog.find(vgg).record.preprocessing.channel_order == "rgb"


def test_a_vision_transformer_of_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=16,
        num_labels=3,
    )
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    (tmp_path / "vit" / "preprocessor_config.json").write_text('{"size": 32}')
    one = catalog.find(f"transformers:{tmp_path / 'vit'}")
    grey = catalog.find(f"transformers:{tmp_path / 'vit'}?in_chans=1")
    images = torch.rand(2, 1, 32, 32)
    want = one.module(images.expand(2, 3, 32, 32))
    assert torch.allclose(grey.module(images), want, atol=1e-5)
    model_folder.write_folder(tmp_path / "saved", grey.module, grey.record, list("abc"))
    again = catalog.find(f"dir:{tmp_path / 'saved'}")
    assert torch.equal(again.module(images), grey.module(images))
    assert again.record.preprocessing.channels == 1


@pytest.mark.parametrize("asked", ["0", "-1", "none", "1.5", "true", "grey"])
@pytest.mark.parametrize("name", NAMES[::2])
def test_a_number_of_channels_that_is_none(name: str, asked: str) -> None:
    with pytest.raises(BackboneError, match="in_chans must be a whole number from 1 up, not"):
        catalog.find(f"{name}&in_chans={asked}")


def test_a_network_without_a_first_convolution() -> None:
    with pytest.raises(BackboneError, match="has no convolution of three channels that could"):
        input_channels.replace_first(nn.Sequential(nn.Flatten(), nn.Linear(3, 2)), 1, "mine")


def test_the_first_convolution_keeps_all_else() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1, dilation=2, bias=False))
    images = torch.rand(1, 1, 16, 16)
    want = net(images.expand(1, 3, 16, 16))
    input_channels.replace_first(net, 1, "mine")
    assert torch.allclose(net(images), want, atol=1e-6)


def test_the_textbooks_digits_network_is_as_published() -> None:
    one = catalog.find("builtin:mnist_cnn?pretrained=false")
    assert isinstance(one.module, MnistCnn)
    assert (one.record.parameters, one.record.num_features) == (21840, 50)
    assert one.record.preprocessing.input_shape == (1, 28, 28)
    assert one.record.preprocessing.mean == (0.1307,)
    names = [line.name for line in catalog.trace(one).lines]
    assert [name for name in names if name in ("conv1", "conv2_drop", "view", "pooled")] == [
        "conv1",
        "conv2_drop",
        "view",
        "pooled",
    ]
    given = one.module(torch.rand(3, 1, 28, 28))
    assert torch.allclose(given.exp().sum(1), torch.ones(3))


def test_the_textbooks_three_blocks() -> None:
    one = catalog.find("builtin:small_cnn?pretrained=false&input_px=32&classes=2&in_chans=1")
    shapes = {line.name: line.shape for line in catalog.trace(one).lines}
    assert [shapes[f"block{i}"] for i in (1, 2, 3)] == [(32, 16, 16), (64, 8, 8), (128, 4, 4)]
    assert shapes["pooled"] == (128,)
    from frostline.networks.opening import open_at_size, open_bare

    assert open_at_size("builtin:small_cnn?pretrained=false", 48).module(
        torch.rand(1, 3, 48, 48)
    ).shape == (1, 10)
    assert open_bare("builtin:small_cnn").record.preprocessing.height_px == 64


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("small_cnn", "has no pretrained weights; it is there to be trained from scratch."),
        ("small_cnn?pretrained=false&input_px=7", "input_px must be a whole number from 8 up"),
        ("small_cnn?pretrained=false&in_chans=0", "in_chans must be a whole number from 1 up"),
        ("mnist_cnn?pretrained=false&classes=0", "classes must be a whole number from 1 up"),
        ("mnist_cnn?pretrained=false&in_chans=3", "unexpected keyword argument 'in_chans'"),
        ("smal_cnn", "no such network ships with Frostline; known are efficientnet_lite0, "),
    ],
)
def test_a_textbook_network_that_cannot_be(name: str, said: str) -> None:
    with pytest.raises(BackboneError) as caught:
        catalog.find(f"builtin:{name}")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_of_ones_own_go_into_a_textbook_network(tmp_path: Path) -> None:
    source = MnistCnn(4).eval()
    torch.save(source.state_dict(), tmp_path / "digits.pt")
    one = catalog.find("builtin:mnist_cnn?classes=4", weights=tmp_path / "digits.pt")
    images = torch.rand(2, 1, 28, 28)
    assert torch.equal(one.module(images), source(images))
