import json
import math
from typing import Any

import pytest
import torch
from torch import nn

from frostline.base.errors import RecipeError
from frostline.model import heads
from frostline.model.heads.build import Arrange

RELU = {"type": "activation", "kind": "relu"}
GLOBAL = {"type": "pool", "kind": "global"}
FLATTEN = {"type": "flatten"}
LINEAR = {"type": "linear"}
# A head on an intermediate layer, of 160 × 7 × 7.
SMALL_CNN = [
    {"type": "conv", "out": 128, "kernel": 3},
    RELU,
    {"type": "pool", "kind": "avg", "kernel": 5},
    {"type": "dropout", "rate": 0.3},
    {"type": "conv", "kernel": 1},
]


def listed(*tables: dict[str, Any], init: str = "default") -> heads.HeadSpec:
    return heads.parse("linear", "avg", heads.layers_from(tables), init)


@pytest.mark.parametrize(
    ("text", "widths", "dropout"),
    [("linear", (), 0.0), ("mlp:256,dropout=0.5", (256,), 0.5), ("mlp:64,32", (64, 32), 0.0)],
)
def test_parse(text: str, widths: tuple[int, ...], dropout: float) -> None:
    spec = heads.parse(text)
    assert (spec.widths, spec.dropout) == (widths, dropout)
    assert spec.is_linear == (text == "linear")


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


def test_an_unknown_initialiser_is_said() -> None:
    with pytest.raises(RecipeError) as caught:
        heads.parse("linear", init="xaver")
    assert str(caught.value) == (
        "head.init: must be one of default, normal, xavier, kaiming, not 'xaver'."
        " Did you mean xavier?"
    )


@pytest.mark.parametrize(("text", "pooling"), [("mlp:5", "avg"), ("linear", "max")])
def test_a_list_of_layers_stands_alone(text: str, pooling: str) -> None:
    with pytest.raises(RecipeError) as caught:
        heads.parse(text, pooling, heads.layers_from([FLATTEN, LINEAR]))
    assert str(caught.value) == (
        "head.layers: stands instead of other words for a head, and here beside "
        f"{text!r} with {pooling} pooling; keep one of them, and write pooling as a layer."
    )


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
    head = heads.build(heads.parse("linear", pooling), shape, 8, 3)
    x = torch.randn(2, *shape)
    assert head[-1].in_features == features
    assert head(x).shape == (2, 3)
    if pooling == "max" and shape[0] != 8:
        assert torch.equal(head[0](x), x.flatten(1, -2).amax(1))


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((8,), None),
        ((8, 5, 4), 0),
        ((5, 4, 8), 2),
        ((8, 8, 8), 0),
        ((10, 8), 1),
        ((16, 7, 7), 0),
        ((7, 7, 16), 2),
        ((16, 5, 4), 0),
        ((10, 16), 1),
    ],
)
def test_where_no_axis_has_the_number_of_channels_a_square_tells(
    shape: tuple[int, ...], axis: int | None
) -> None:
    assert heads.channels_axis(shape, 8) == axis


def test_dropout_lies_between_the_layers() -> None:
    head = heads.build(heads.parse("mlp:16,dropout=0.5"), (8,), 8, 3)
    assert [type(layer).__name__ for layer in head] == [
        "Pool",
        "Linear",
        "ReLU",
        "Dropout",
        "Linear",
    ]


def test_a_head_on_an_intermediate_layer_gives_one_score_a_class() -> None:
    spec = listed(*SMALL_CNN)
    head = heads.build(spec, (160, 7, 7), 160, 2)
    assert head(torch.randn(3, 160, 7, 7)).shape == (3, 2)
    assert not spec.is_linear
    assert not spec.is_native
    assert spec.wants_map
    last = heads.last_layer(head)
    assert isinstance(last, nn.Conv2d)
    assert last.weight.shape == (2, 128, 1, 1)
    assert sum(p.numel() for p in head.parameters()) == 160 * 128 * 9 + 128 + 128 * 2 + 2


@pytest.mark.parametrize(
    ("tables", "shape", "kinds"),
    [
        ([LINEAR], (8,), [nn.Linear]),
        ([FLATTEN, LINEAR], (8, 5, 4), [nn.Flatten, nn.Linear]),
        ([{"type": "conv", "kernel": 5}, GLOBAL], (8, 5, 4), [nn.Conv2d]),
        (
            [{"type": "conv", "kernel": 4, "stride": 2, "padding": 1, "bias": False}, GLOBAL],
            (8, 9, 6),
            [nn.Conv2d],
        ),
        (
            [
                {"type": "pool", "kind": "max", "kernel": 3, "stride": 2, "padding": 1},
                FLATTEN,
                LINEAR,
            ],
            (8, 7, 6),
            [nn.MaxPool2d, nn.Flatten, nn.Linear],
        ),
        (
            [{"type": "norm", "kind": "batch"}, GLOBAL, {"type": "norm", "kind": "batch"}, LINEAR],
            (8, 3, 3),
            [nn.BatchNorm2d, nn.BatchNorm1d, nn.Linear],
        ),
        (
            [{"type": "norm", "kind": "layer"}, GLOBAL, {"type": "norm", "kind": "layer"}, LINEAR],
            (8, 3, 3),
            [nn.GroupNorm, nn.LayerNorm, nn.Linear],
        ),
        # Tokens.
        ([{"type": "norm", "kind": "layer"}, GLOBAL, LINEAR], (10, 8), [nn.LayerNorm, nn.Linear]),
        ([{"type": "linear", "out": 5}, FLATTEN, LINEAR], (10, 8), [nn.Linear, nn.Linear]),
        # Channels last, and tokens with their channels first.
        ([{"type": "conv", "kernel": 3}, GLOBAL], (5, 4, 8), [Arrange]),
        ([GLOBAL, LINEAR], (8, 10), [Arrange]),
    ],
)
def test_each_layer_on_each_shape(
    tables: list[dict[str, Any]], shape: tuple[int, ...], kinds: list[type[nn.Module]]
) -> None:
    head = heads.build(listed(*tables), shape, 8, 3)
    assert head(torch.randn(4, *shape)).shape == (4, 3)
    for kind in kinds:
        assert any(isinstance(layer, kind) for layer in head)


@pytest.mark.parametrize("kind", ["relu", "gelu", "silu", "tanh", "sigmoid"])
def test_activations(kind: str) -> None:
    head = heads.build(listed({"type": "activation", "kind": kind}, LINEAR), (8,), 8, 3)
    x = torch.randn(2, 8)
    known = getattr(torch, kind, None) or getattr(nn.functional, kind)
    kept = x.clone()
    assert torch.equal(head[0](x), known(x))
    assert torch.equal(x, kept)


def test_channels_last_gives_what_channels_first_gives() -> None:
    spec = listed(*SMALL_CNN)
    first = heads.build(spec, (8, 6, 5), 8, 3).eval()
    last = heads.build(spec, (6, 5, 8), 8, 3).eval()
    nn.Sequential(*list(last)[1:]).load_state_dict(first.state_dict())
    x = torch.randn(2, 8, 6, 5)
    torch.testing.assert_close(last(x.permute(0, 2, 3, 1)), first(x))


def test_a_conv_keeps_the_size_where_it_can() -> None:
    def padding(**keys: int) -> tuple[int, ...]:
        spec = listed({"type": "conv", **keys}, GLOBAL)
        return heads.build(spec, (8, 9, 9), 8, 3)[0].padding

    assert padding(kernel=3) == (1, 1)
    assert padding(kernel=5) == (2, 2)
    assert padding(kernel=4) == padding(kernel=3, stride=2) == padding(kernel=3, padding=0)
    assert padding(kernel=4) == (0, 0)


CONV = {"type": "conv", "out": 128, "kernel": 3}


@pytest.mark.parametrize(
    ("tables", "shape", "words"),
    [
        (
            [{**CONV, "padding": 0}, RELU, *SMALL_CNN[2:]],
            (160, 5, 5),
            (
                "head.layers.2 (pool 5 × 5): does not fit 128 × 3 × 3, which layer 1 gives; "
                "its window must be at most 3."
            ),
        ),
        (
            [{"type": "conv", "kernel": 6, "padding": 1}, GLOBAL],
            (160, 3, 9),
            (
                "head.layers.0 (conv 6 × 6): does not fit 160 × 3 × 9, which the backbone gives; "
                "its window must be at most 5."
            ),
        ),
        (
            [RELU, {"type": "linear", "out": 256}, LINEAR],
            (160, 7, 7),
            (
                "head.layers.1 (linear 256): does not fit 160 × 7 × 7, which layer 0 gives; "
                "put a flatten, or a pool of kind global, before it."
            ),
        ),
        (
            [GLOBAL, *SMALL_CNN],
            (160, 7, 7),
            (
                "head.layers.1 (conv 3 × 3): does not fit 160 values, which layer 0 gives; it "
                "needs a map of channels × height × width, so place it before any flatten, linear "
                "or global pool, and the head where the backbone gives a map."
            ),
        ),
        (
            [{"type": "pool", "kind": "avg", "kernel": 2}, FLATTEN, LINEAR],
            (10, 160),
            (
                "head.layers.0 (pool 2 × 2): does not fit 10 tokens of 160 values, which the "
                "backbone gives; it needs a map of channels × height × width, so place it before "
                "any flatten, linear or global pool, and the head where the backbone gives a map."
            ),
        ),
        (
            [GLOBAL, LINEAR],
            (160,),
            (
                "head.layers.0 (global pool): does not fit 160 values, which the backbone gives; "
                "it is a vector already."
            ),
        ),
        (
            [{"type": "norm", "kind": "batch"}, GLOBAL, LINEAR],
            (10, 160),
            (
                "head.layers.0 (batch norm): does not fit 10 tokens of 160 values, which the "
                "backbone gives; batch norm takes a map or a vector, and layer norm takes tokens."
            ),
        ),
        (
            [{"type": "conv", "kernel": 1}],
            (160, 7, 7),
            (
                "head.layers: must give 2 scores an image, and layer 0 gives 2 × 7 × 7; put a pool "
                "of kind global at the end, or a flatten before a last linear."
            ),
        ),
        (
            [LINEAR],
            (10, 160),
            (
                "head.layers: must give 2 scores an image, and layer 0 gives 10 tokens of 2 "
                "values; put a pool of kind global at the end, or a flatten before a last linear."
            ),
        ),
        (
            [FLATTEN, {"type": "linear", "out": 5}],
            (160, 7, 7),
            (
                "head.layers: must give 2 scores an image, and layer 1 gives 5 values; "
                "leave out = 5 of layer 1 away."
            ),
        ),
        (
            [{"type": "conv", "kernel": 1}, FLATTEN],
            (160, 7, 7),
            (
                "head.layers: must give 2 scores an image, and layer 1 gives 98 values; nothing "
                "that changes the shape may follow layer 0, unless it is a global pool."
            ),
        ),
        (
            [FLATTEN, LINEAR],
            (160, 2, 7, 7),
            (
                "head.layers: take a map, tokens or a vector, not 160 × 2 × 7 × 7, which the "
                "backbone gives; put the head elsewhere."
            ),
        ),
    ],
)
def test_a_layer_that_does_not_fit_is_named(
    tables: list[dict[str, Any]], shape: tuple[int, ...], words: str
) -> None:
    state = torch.get_rng_state()
    with pytest.raises(RecipeError) as caught:
        heads.build(listed(*tables), shape, 160, 2)
    assert str(caught.value) == words
    assert torch.equal(torch.get_rng_state(), state), "weights were drawn before the check"


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ([5], "head.layers.0 must be a table, not 5."),
        (
            [{"out": 3}],
            (
                "head.layers.0.type must be given: one of conv, pool, flatten, linear, norm, "
                "activation, dropout."
            ),
        ),
        (
            [{"type": "lineal"}],
            (
                "head.layers.0.type must be one of conv, pool, flatten, linear, norm, activation, "
                "dropout, not 'lineal'. Did you mean linear?"
            ),
        ),
        (
            [{"type": "relu"}, LINEAR],
            (
                "head.layers.0.type must be one of conv, pool, flatten, linear, norm, activation, "
                'dropout, not \'relu\'. Write type = "activation" and kind = "relu".'
            ),
        ),
        (
            [{"type": "conv", "kernel_size": 3, "kernel": 3}],
            (
                "head.layers.0.kernel_size is not a key of a conv layer, which takes kernel, out, "
                "stride, padding, bias. Did you mean kernel?"
            ),
        ),
        (
            [{**FLATTEN, "out": 3}, LINEAR],
            "head.layers.0.out is not a key of a flatten layer, which takes none.",
        ),
        (
            [{**GLOBAL, "kernel": 3}, LINEAR],
            "head.layers.0.kernel is not a key of a global pool layer, which takes kind.",
        ),
        ([{"type": "conv"}], "head.layers.0.kernel must be given."),
        (
            [{"type": "norm"}, LINEAR],
            "head.layers.0.kind must be given: one of batch, layer.",
        ),
        (
            [{"type": "activation", "kind": "rely"}, LINEAR],
            (
                "head.layers.0.kind must be one of relu, gelu, silu, tanh, sigmoid, not 'rely'. "
                "Did you mean relu?"
            ),
        ),
        (
            [{"type": "conv", "kernel": 0}],
            "head.layers.0.kernel must be a whole number from 1 to 255, not 0.",
        ),
        (
            [{"type": "conv", "kernel": True}],
            "head.layers.0.kernel must be a whole number from 1 to 255, not True.",
        ),
        (
            [{"type": "conv", "kernel": 3, "padding": -1}],
            "head.layers.0.padding must be a whole number from 0 to 255, not -1.",
        ),
        (
            [{"type": "linear", "out": "many"}],
            "head.layers.0.out must be a whole number from 0 to 65536, not 'many'.",
        ),
        (
            [{"type": "linear", "bias": 1}],
            "head.layers.0.bias must be true or false, not 1.",
        ),
        (
            [{"type": "dropout", "rate": 1}, LINEAR],
            "head.layers.0.rate must be a number in [0, 1), not 1.",
        ),
        (
            [{"type": "pool", "kind": "max", "kernel": 3, "padding": 2}, FLATTEN, LINEAR],
            "head.layers.0.padding must be at most half of kernel, 1, not 2.",
        ),
        (
            [LINEAR, LINEAR],
            (
                "head.layers.0.out must be given: only the last conv or linear layer may leave it "
                "out, which then gives the class scores."
            ),
        ),
        (
            [FLATTEN],
            "head.layers must contain a conv or a linear layer, which gives the class scores.",
        ),
        (
            [LINEAR, {"type": "activation", "kind": "sigmoid"}],
            (
                "head.layers.1 must not be an activation: layer 0 gives the class scores, which "
                "training and prediction turn into probabilities. Move it up."
            ),
        ),
        (
            [{"type": "conv", "kernel": 1}, {"type": "dropout", "rate": 0.5}, GLOBAL],
            (
                "head.layers.1 must not be a dropout: layer 0 gives the class scores, which "
                "training and prediction turn into probabilities. Move it up."
            ),
        ),
    ],
)
def test_each_mistake_in_a_list_is_said(tables: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        heads.layers_from(tables)
    assert str(caught.value) == f"recipe: {words}"


def test_several_mistakes_are_named_at_once() -> None:
    tables = [
        {"type": "conv", "kernel": 0, "outs": 5},
        {"type": "drop"},
        {"type": "pool", "kind": "avg"},
        LINEAR,
    ]
    with pytest.raises(RecipeError) as caught:
        heads.layers_from(tables, file="mine.toml")
    words = str(caught.value)
    assert words.startswith(
        "mine.toml: 5 problems: (1) head.layers.0.kernel must be a whole number"
    )
    assert "head.layers.0.outs is not a key of a conv layer" in words
    assert "head.layers.1.type must be one of" in words
    assert "Did you mean dropout?" in words
    assert "head.layers.2.kernel must be given." in words
    assert "head.layers.0.out must be given" in words


def test_no_tables_are_no_list() -> None:
    assert heads.layers_from([]) == ()
    assert heads.parse("linear", layers=()).is_linear


def test_layers_made_by_hand_are_checked_too() -> None:
    with pytest.raises(RecipeError, match=r"head\.layers\.0\.kernel must be given"):
        heads.parse("", layers=[heads.LayerSpec("conv")])


@pytest.mark.parametrize(
    ("tables", "wants"),
    [
        ([LINEAR], False),
        ([RELU, LINEAR], False),
        ([FLATTEN, LINEAR], True),
        ([GLOBAL, LINEAR], True),
        (SMALL_CNN, True),
    ],
)
def test_a_list_wants_a_map_where_its_first_shaping_layer_does(
    tables: list[dict[str, Any]], wants: bool
) -> None:
    assert listed(*tables).wants_map == wants
    assert heads.parse("linear", "max").wants_map
    assert not heads.parse("mlp:5").wants_map


def test_describe() -> None:
    assert heads.describe(heads.parse("mlp:256")) == "mlp:256"
    assert heads.describe(heads.parse("linear", "max")) == "linear with max pooling"
    assert heads.describe(listed(*SMALL_CNN[:-1], {**SMALL_CNN[-1], "out": 2})) == (
        "conv 128 3×3, relu, avg pool 5×5, dropout 0.3, conv 2 1×1"
    )
    every = [
        {**CONV, "stride": 2, "padding": 0, "bias": False},
        {"type": "norm", "kind": "batch"},
        GLOBAL,
        LINEAR,
    ]
    assert heads.describe(listed(*every)) == (
        "conv 128 3×3 stride 2 padding 0 without bias, batch norm, global pool, linear"
    )


@pytest.mark.parametrize(
    "spec",
    [
        heads.parse("linear"),
        heads.parse("mlp:64,32,dropout=0.5", "flatten", init="xavier"),
        listed(*SMALL_CNN, init="kaiming"),
        listed({"type": "dropout", "rate": 0}, {**CONV, "padding": 0, "bias": False}),
    ],
    ids=["linear", "mlp", "list", "bare"],
)
def test_facts_round_trip_as_json(spec: heads.HeadSpec) -> None:
    assert heads.from_facts(json.loads(json.dumps(heads.to_facts(spec)))) == spec


def test_facts_are_checked_all_at_once() -> None:
    facts = {"pooling": "avgs", "init": 3, "spec": None, "text": "", "layers": [{"type": "conv"}]}
    with pytest.raises(RecipeError) as caught:
        heads.from_facts(facts, where="frostline.head", file="config.json")
    assert str(caught.value) == (
        "config.json: 5 problems: (1) frostline.head.text is not a key of a head. "
        "(2) frostline.head.pooling must be one of avg, max, flatten, not 'avgs'. "
        "(3) frostline.head.init must be one of default, normal, xavier, kaiming, not 3. "
        "(4) frostline.head.spec must be text, not None. "
        "(5) frostline.head.layers.0.kernel must be given."
    )
    with pytest.raises(RecipeError, match=r"^model: head must be a table, not 5\.$"):
        heads.from_facts(5)  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match=r"^model: head\.layers must be a list of tables"):
        heads.from_facts({"layers": {}})


@pytest.mark.parametrize(
    ("init", "deviation"),
    [
        ("normal", 0.01),
        ("xavier", math.sqrt(2 / (1000 + 500))),
        ("kaiming", math.sqrt(2 / 1000)),
        ("default", math.sqrt(1 / (3 * 1000))),
    ],
)
def test_initialisers(init: str, deviation: float) -> None:
    torch.manual_seed(0)
    head = heads.build(heads.parse("mlp:500", init=init), (1000,), 1000, 3)
    weight = head[1].weight
    assert weight.std().item() == pytest.approx(deviation, rel=0.01)
    assert weight.mean().item() == pytest.approx(0, abs=deviation / 100)
    assert bool((head[1].bias == 0).all()) == (init != "default")
    widest = (weight.abs().max() / weight.std()).item()
    # A uniform draw ends at √3 deviations; half a million normal ones go past four.
    assert (widest < 1.75) == (init in ("xavier", "default"))


@pytest.mark.parametrize(("init", "fan"), [("kaiming", 8 * 9), ("xavier", (8 + 512) * 9 / 2)])
def test_initialisers_count_a_convs_window(init: str, fan: float) -> None:
    torch.manual_seed(0)
    conv = {"type": "conv", "out": 512, "kernel": 3, "bias": False}
    head = heads.build(listed(conv, GLOBAL, LINEAR, init=init), (8, 5, 5), 8, 3)
    gain = 2 if init == "kaiming" else 1
    assert head[0].weight.std().item() == pytest.approx(math.sqrt(gain / fan), rel=0.03)


def test_the_same_seed_draws_the_same_weights() -> None:
    def drawn() -> list[torch.Tensor]:
        torch.manual_seed(3)
        spec = listed(*SMALL_CNN, init="kaiming")
        return list(heads.build(spec, (8, 5, 5), 8, 3).state_dict().values())

    assert all(torch.equal(one, other) for one, other in zip(drawn(), drawn(), strict=True))
