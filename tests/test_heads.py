import pytest
import torch

from frostline import heads
from frostline.errors import RecipeError


@pytest.mark.parametrize(
    ("text", "widths", "dropout"),
    [("linear", (), 0.0), ("mlp:256,dropout=0.5", (256,), 0.5), ("mlp:64,32", (64, 32), 0.0)],
)
def test_parse(text: str, widths: tuple[int, ...], dropout: float) -> None:
    spec = heads.parse(text)
    assert (spec.widths, spec.dropout) == (widths, dropout)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lineal", "Did you mean linear"),
        ("mlp", "at least one width"),
        ("linear:5", "write linear, or mlp"),
        ("mlp:0", "'0' in 'mlp:0' must be a width"),
        ("mlp:5,dropout=1", r"dropout=P with P in \[0, 1\)"),
        ("mlp:5,wide", "'wide' in 'mlp:5,wide' must be"),
    ],
)
def test_what_is_no_head_is_said(text: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        heads.parse(text)


@pytest.mark.parametrize(
    ("pooling", "shape", "features"),
    [
        ("avg", (8,), 8),
        ("max", (8, 5, 4), 8),
        ("flatten", (8, 5, 4), 160),
        ("max", (5, 4, 8), 8),
        ("max", (10, 8), 8),
    ],
)
def test_pooling_takes_the_axis_that_holds_the_features(
    pooling: str, shape: tuple[int, ...], features: int
) -> None:
    head = heads.build(heads.parse("linear", pooling), shape, channels=8, classes=3)
    x = torch.randn(2, *shape)
    assert head[-1].in_features == features
    assert head(x).shape == (2, 3)
    if pooling == "max" and shape[0] != 8:
        assert torch.equal(head[0](x), x.flatten(1, -2).amax(1))


def test_dropout_lies_between_the_layers() -> None:
    head = heads.build(heads.parse("mlp:16,dropout=0.5"), (8,), channels=8, classes=3)
    assert [type(layer).__name__ for layer in head] == [
        "Pool",
        "Linear",
        "ReLU",
        "Dropout",
        "Linear",
    ]
