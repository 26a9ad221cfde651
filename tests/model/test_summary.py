"""The table of layers: what is counted, on which side of the line, and with which shapes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from conftest import FinishedRun
from frostline.base.errors import BackboneError, FrostlineError, LineError, RecipeError, RunError
from frostline.model import classifier, heads, layer_rows, summary
from frostline.model.summary_text import as_json, table, tree
from frostline.networks import catalog
from frostline.networks.record import OpenedBackbone

RESNET = "timm:test_resnet?pretrained=false"
VIT = "timm:test_vit?pretrained=false"
CPU = torch.device("cpu")


def assembled(
    opened: OpenedBackbone, line: str, head: str = "linear", pooling: str = "avg"
) -> classifier.Classifier:
    spec = heads.parse(head, pooling)
    return classifier.assemble(opened, ("a", "b"), spec, line, CPU, torch.float32)


def vgg16(**options: Any) -> summary.Totals:
    return summary.of_target("timm:vgg16", pooling="flatten", **options).totals


@pytest.mark.parametrize(
    ("line", "trainable"), [("pixels", 30), ("top", 4), ("last 1 block", 10), ("features.23", 10)]
)
def test_the_textbooks_tensors_of_vgg16(line: str, trainable: int) -> None:
    totals = vgg16(image_px=150, head="mlp:256", targets="binary", line=line)
    assert (totals.tensors, totals.trainable_tensors) == (30, trainable)
    assert totals.frozen_tensors == 30 - trainable


@pytest.mark.parametrize(
    ("line", "trainable"),
    [("top", 151_023_621), ("features.23", 158_103_045), ("pixels", 165_738_309)],
)
def test_the_textbooks_parameters_of_vgg16(line: str, trainable: int) -> None:
    # At this size the fully connected layers would give a map of 2 × 2, so the place is named.
    options = {"image_px": 256, "head": "mlp:4096,4096", "classes": 5, "on": "features"}
    totals = vgg16(line=line, **options)
    assert totals.parameters == 165_738_309
    assert totals.trainable_parameters == trainable
    assert totals.frozen_parameters == 165_738_309 - trainable


@pytest.mark.parametrize("name", [RESNET, VIT])
@pytest.mark.parametrize("line", ["pixels", "6", "last 1 block", "top"])
def test_a_row_counts_what_training_would_train(name: str, line: str) -> None:
    model = assembled(catalog.find(name), line)
    made = summary.summarise(model)
    trained = {id(p): p.numel() for p in model.trainable.parameters()}
    used = trained | {id(p): p.numel() for p in model.prefix.parameters()}
    totals = made.totals
    assert (totals.tensors, totals.trainable_tensors) == (len(used), len(trained))
    assert totals.parameters == sum(used.values()) == sum(row.parameters for row in made.rows)
    above = sum(row.parameters for row in made.rows[made.below :])
    assert totals.trainable_parameters == sum(trained.values()) == above
    assert {row.trainable for row in made.rows[: made.below]} <= {False, None}
    assert {row.trainable for row in made.rows[made.below :]} <= {True, None}


@pytest.mark.parametrize("name", [RESNET, VIT])
def test_rows_tell_the_shapes_and_the_order_of_a_real_pass(name: str) -> None:
    opened = catalog.find(name)
    model = assembled(opened, "top", "mlp:8,dropout=0.5", "max")
    rows = [row for row in summary.summarise(model).rows if row.kind != "Parameter"]
    shown = [(row.name, row.shape) for row in rows]
    seen: list[tuple[str, tuple[int, ...]]] = []

    def note(path: str) -> Any:
        return lambda module, given, output: seen.append((path, tuple(output.shape[1:])))

    for path, module in (*opened.module.named_modules(), *model.trainable.head.named_children()):
        named = f"head.{path}" if module in set(model.trainable.head.children()) else path
        if not any(True for _ in module.children()) and not isinstance(module, nn.Identity):
            module.register_forward_hook(note(named))
    how = model.preprocessing
    with torch.no_grad():
        model.trainable.eval()(model.prefix(torch.rand(1, 3, how.height_px, how.width_px)))
    assert shown == seen


def test_parameters_without_a_layer_have_rows() -> None:
    rows = {row.name: row for row in summary.of_target(VIT, line="blocks.0").rows}
    assert rows["pos_embed"] == summary.LayerRow(
        "pos_embed", "Parameter", (1, 101, 64), 6464, False
    )
    assert rows["blocks.0"].trainable is False
    assert rows["blocks.1"].trainable is True


def test_what_lies_above_the_head_is_not_there() -> None:
    made = summary.of_target(RESNET, on="layer2", line="layer1")
    names = [row.name for row in made.rows]
    assert names[made.below :] == ["layer2.0", "head.0", "head.1"]
    assert not any(name.startswith(("layer3", "layer4", "fc")) for name in names)
    assert (made.line, made.top) == ("layer1", "layer2")


def test_blocks_are_rows_and_are_parted_at_the_line() -> None:
    made = summary.of_target(RESNET, line="add_1")
    whole = summary.of_target(RESNET, line="add_1", depth=summary.ALL)
    parts = [row for row in made.rows if row.name.startswith("layer2")]
    assert [(row.name, row.kind) for row in parts] == [
        ("layer2.0", "BasicBlock"),
        ("layer2.0.act2", "ReLU"),
    ]
    assert made.totals == whole.totals
    assert sum(row.parameters for row in made.rows) == sum(row.parameters for row in whole.rows)
    assert whole.rows[whole.below].name == "layer2.0.act2"


class Twice(nn.Module):
    """The same convolution below and above a line, and a bias that is no layer's."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.act = nn.ReLU()
        self.shift = nn.Parameter(torch.zeros(3, 1, 1))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.conv(x))
        x = self.conv(x) + self.shift
        scores: torch.Tensor = self.fc(self.pool(x).flatten(1))
        return scores


def test_what_is_shared_counts_once() -> None:
    opened = catalog.find(RESNET)
    record = replace(opened.record, num_features=3)
    opened = replace(opened, record=record, module=Twice().eval())
    made = summary.summarise(assembled(opened, "act"))
    counts = [(row.name, row.parameters, row.trainable) for row in made.rows]
    # What is read below the line is frozen, wherever else it is read.
    assert counts[:4] == [
        ("conv", 84, False),
        ("act", 0, None),
        ("conv", 0, False),
        ("shift", 3, True),
    ]
    assert made.totals == summary.Totals(84 + 3 + 8, 3 + 8, 84, 5, 3, 2)


def test_a_run_has_its_own_head_and_line(finished_run: FinishedRun) -> None:
    own = summary.of_target(str(finished_run.path))
    assert (own.line, own.head, own.scores) == ("pooled", "its own classifier", 3)
    assert own.input_px == (64, 64)
    assert own.rows[-1] == summary.LayerRow(
        "fc", "Linear", (3,), 291, True, sees_all=True, multiply_adds=288
    )
    assert own.totals.trainable_tensors == 2
    thawed = summary.of_target(str(finished_run.path / "model"), line="layer3")
    assert thawed.line == "layer3"
    assert thawed.totals.parameters == own.totals.parameters
    assert thawed.totals.trainable_parameters > own.totals.trainable_parameters


def test_a_run_is_a_backbone_for_a_new_head(finished_run: FinishedRun) -> None:
    made = summary.of_target(f"dir:{finished_run.path}", head="mlp:8", classes=4, image_px=96)
    assert (made.head, made.scores, made.input_px) == ("mlp:8", 4, (96, 96))
    assert [row.name for row in made.rows[made.below :]] == ["head.0", "head.1", "head.2", "head.3"]


def test_a_saved_head_of_several_layers(tmp_path: Path) -> None:
    model = assembled(catalog.find(RESNET), "layer4", "mlp:8,dropout=0.5")
    classifier.save(model, tmp_path / "model")
    made = summary.of_target(str(tmp_path / "model"), depth=summary.ALL)
    assert made.line == "layer4"
    assert made.head == "mlp:8,dropout=0.5"
    assert made.rows == summary.summarise(model).rows


def test_a_list_of_layers() -> None:
    layers = [
        {"type": "conv", "out": 8, "kernel": 3},
        {"type": "pool", "kind": "global"},
        {"type": "linear"},
    ]
    made = summary.of_target(VIT, layers=[{"type": "flatten"}, {"type": "linear"}])
    assert made.rows[-1].parameters == 101 * 64 * 2 + 2
    made = summary.of_target(RESNET, layers=layers, on="layer3", targets="multilabel", classes=6)
    assert made.head == "conv 8 3×3, global pool, linear"
    assert [row.shape for row in made.rows[-3:]] == [(8, 10, 10), (8,), (6,)]


def test_weights_are_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    named = summary.of_target("timm:test_resnet.r160_in1k")
    assert named.rows == summary.of_target(RESNET).rows


def test_a_network_that_cannot_be_built_without_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = summary.of_target(RESNET)
    find = catalog.find

    def stubborn(name: str, **options: Any) -> OpenedBackbone:
        torch.zeros(1).item()
        return find(name, **options)

    monkeypatch.setattr(catalog, "find", stubborn)
    assert summary.of_target(RESNET) == wanted


def test_table() -> None:
    lines = table(summary.of_target(RESNET, line="layer3", on="layer4", image_px=64))
    assert lines == [
        f"{RESNET}: test_resnet, 64 × 64 px; head linear on layer4, 2 scores",
        "",
        "layer     kind         output        parameters  mult-adds  sees",
        "conv1.0   Conv2d       16 × 32 × 32         432      442 k     3  frozen",
        "conv1.1   BatchNorm2d  16 × 32 × 32          32          -     3  frozen",
        "conv1.2   ReLU         16 × 32 × 32           -          -     3",
        "conv1.3   Conv2d       16 × 32 × 32       2,304     2.36 M     7  frozen",
        "conv1.4   BatchNorm2d  16 × 32 × 32          32          -     7  frozen",
        "conv1.5   ReLU         16 × 32 × 32           -          -     7",
        "conv1.6   Conv2d       32 × 32 × 32       4,608     4.72 M    11  frozen",
        "bn1       BatchNorm2d  32 × 32 × 32          64          -    11  frozen",
        "act1      ReLU         32 × 32 × 32           -          -    11",
        "maxpool   MaxPool2d    32 × 16 × 16           -          -    15",
        "layer1.0  BasicBlock   32 × 16 × 16      18,560     4.72 M    31  frozen",
        "layer2.0  BasicBlock   48 × 8 × 8        36,384     2.31 M    55  frozen",
        "layer3.0  Bottleneck   192 × 4 × 4       42,432      774 k    71  frozen",
        "── frost line: layer3 " + 53 * "─",
        "layer4.0  BasicBlock   96 × 2 × 2       267,840     1.07 M   167  trainable",
        "head.0    Pool         96                     -          -   all",
        "head.1    Linear       2                    194        192   all  trainable",
        "",
        "total      372,882 parameters in 47 tensors",
        "trainable  268,034 parameters in 11 tensors",
        "frozen     104,848 parameters in 36 tensors",
    ]


def test_tree() -> None:
    lines = tree(summary.of_target(RESNET, as_is=True, depth=summary.ALL, image_px=64))
    assert lines[3:5] == [
        (
            "├─ conv1                                32 × 32 × 32"
            "                            7,408     7.52 M    11  frozen"
        ),
        (
            "│  ├─ 0              Conv2d             16 × 32 × 32"
            "  3 × 3   2       1           432      442 k     3  frozen"
        ),
    ]
    assert lines[-5].split()[:3] == ["└─", "fc", "Linear"]
    assert lines[-3] == "total      469,688 parameters in 47 tensors"


@pytest.mark.parametrize("name", [RESNET, VIT, "keras:MobileNet?weights=none"])
def test_a_network_as_it_is_has_all_its_parameters(name: str) -> None:
    opened = catalog.find(name)
    made = summary.of_target(name, as_is=True)
    own = {id(p): p.numel() for p in opened.module.parameters()}
    assert made.totals.parameters == sum(own.values())
    assert made.totals.tensors == len(own)
    assert made.scores == 1000


def test_every_convolution_has_its_full_name() -> None:
    rows = summary.of_target("timm:resnet50", depth=summary.ALL).rows
    found = layer_rows.only(rows, "conv", "--only")
    module = catalog.find("timm:resnet50?pretrained=false").module
    paths = [path for path, one in module.named_modules() if isinstance(one, nn.Conv2d)]
    # The order is that of the forward pass: a shortcut's convolution runs last.
    assert sorted(row.name for row in found) == sorted(paths)
    assert all(row.window is not None and row.window.what == "conv" for row in found)
    assert {row.kind for row in layer_rows.only(rows, "BatchNorm2d", "")} == {"BatchNorm2d"}
    with pytest.raises(RecipeError, match=r"no layer is of kind 'cov'\. It has: Adap"):
        layer_rows.only(rows, "cov", "--only")


def test_multiply_adds_add_up() -> None:
    traced = catalog.trace(catalog.find("timm:resnet50?pretrained=false"))
    rows = layer_rows.all_layers(traced)
    assert sum(row.multiply_adds for row in rows) == traced.multiply_adds
    # Its paper says 3.8 · 10⁹; this variant has its stride in the 3 × 3 convolution: 4.1 · 10⁹.
    assert 4.08e9 < traced.multiply_adds < 4.1e9


def test_json() -> None:
    made = summary.of_target(RESNET, line="layer3")
    plain = as_json(made)
    assert json.loads(json.dumps(plain)) == plain
    assert plain["rows"][0] == {
        "name": "conv1.0",
        "kind": "Conv2d",
        "shape": [16, 80, 80],
        "parameters": 432,
        "trainable": False,
        "window": {
            "what": "conv",
            "kernel": [3, 3],
            "stride": [2, 2],
            "dilation": [1, 1],
            "padding": [[1, 1], [1, 1]],
            "groups": 1,
        },
        "field_px": [3, 3],
        "sees_all": False,
        "multiply_adds": 2764800,
    }
    assert plain["totals"]["tensors"] == made.totals.tensors


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"target": "timm:test_resnt"}, BackboneError, "Did you mean test_resnet"),
        ({"target": "vgg16"}, BackboneError, "For timm's network write timm:vgg16"),
        ({"line": "layer9"}, LineError, "Did you mean layer4"),
        ({"line": "layer4", "on": "layer3"}, LineError, "lies above 'layer3'"),
        ({"head": "lineal"}, RecipeError, "Did you mean linear"),
        ({"pooling": "mean"}, RecipeError, "head.pooling must be one of avg, max, flatten"),
        ({"targets": "binari"}, RecipeError, "Did you mean binary"),
        ({"targets": "binary", "classes": 5}, RecipeError, "--classes: binary targets tell two"),
        ({"classes": 1}, RecipeError, "--classes: must be 2 or more, not 1."),
        ({"image_px": 3}, RecipeError, "backbone.image_px"),
        ({"layers": [{"type": "con"}]}, RecipeError, "head.layers.0"),
    ],
)
def test_what_does_not_hold_is_said(
    options: dict[str, Any], kind: type[FrostlineError], words: str
) -> None:
    with pytest.raises(kind) as caught:
        summary.of_target(**{"target": RESNET, **options})
    assert words in str(caught.value)


def test_a_runs_own_head_has_its_size(finished_run: FinishedRun) -> None:
    with pytest.raises(RecipeError, match=r"--image-px: .* made for the size it was trained at"):
        summary.of_target(str(finished_run.path), image_px=128)


@pytest.mark.parametrize("head", ["", "linear"])
def test_an_unfinished_run_is_said(head: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("seed = 0\n")
    with pytest.raises(RunError, match="this run is unfinished"):
        summary.of_target(str(tmp_path), head=head)


def test_a_run_that_is_not_there_gets_the_nearest(finished_run: FinishedRun) -> None:
    with pytest.raises(BackboneError, match=r"no such run or model folder\. Did you mean run"):
        summary.of_target(str(finished_run.path) + "s")
