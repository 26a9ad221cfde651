import dataclasses
import math
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from frostline import recipe
from frostline.base.errors import RecipeError
from frostline.recipe import Budget, HeadChoice, Recipe, Stage, Views

STAGE: dict[str, Any] = {"stages": [{}]}
FINITE = "a finite number"

# For each field: values that hold, and for each that does not, the rule it breaks. Text that
# other modules read (a backbone's name, a head, a tracker) is theirs to check.
FIELDS: dict[str, tuple[list[Any], list[tuple[Any, str]]]] = {
    "about": (["", "words"], []),
    "seed": ([0, 2**32 - 1], [(-1, "0 to 4294967295"), (2**32, "0 to 4294967295")]),
    "seeds": ([1, 100], [(0, "1 to 100"), (101, "1 to 100")]),
    "data.val": ([0, 0.99], [(-0.1, "a share in [0, 1)"), (1, "a share in [0, 1)")]),
    "data.test": ([0.0, 0.5], [(-0.1, "a share in [0, 1)"), (math.nan, FINITE)]),
    "data.strict": ([True, False], []),
    "data.targets": (list(recipe.TARGETS), [("multi", "one of")]),
    "data.separator": (["auto", "space", "|", "/"], [("ab", "auto, space"), ("a", "auto, space")]),
    "data.layout": (list(recipe.LAYOUTS), [("class", "one of")]),
    "data.levels": (
        ["auto", "0:4095", "-1000:3000", "uint16=0:4095,float=0:1"],
        [(text, "auto, BLACK:WHITE such as") for text in ("4095", "high=0:1", "0:1;")],
    ),
    "data.max_megapixels": ([0.0, 200.0], [(-1.0, "0 (the decoder's limits) to 65536")]),
    "data.sound": ([True, False], []),
    "data.window_s": ([0.0], [(0.01, "0 (the network's own) or 0.1 to 600"), (601.0, "0 (the")]),
    "backbone.name": (["timm:resnet18"], []),
    "backbone.weights": (["w.safetensors"], []),
    "backbone.partial": ([True, False], []),
    "backbone.image_px": ([0, 16, 4096], [(15, "0 or 16 to 4096"), (4097, "0 or 16 to 4096")]),
    "backbone.pretrained": ([True, False], []),
    "head.spec": (["mlp:256"], []),
    "head.pooling": (list(recipe.POOLINGS), [("avgg", "one of")]),
    "head.start": (list(recipe.STARTS), [("zero", "one of")]),
    "head.probe_views": ([0, 12], [(-1, "0 to 1000"), (1001, "0 to 1000")]),
    "head.init": (list(recipe.INITS), [("he", "one of")]),
    "head.on": (["blocks.3"], []),
    "head.layers": ([[], [{"type": "linear"}]], []),
    "views.count": ([0, 1000], [(-1, "0 (let the planner"), (1001, "0 (let the planner")]),
    "views.live": ([False], []),
    "views.refresh": ([0, 1], [(-0.1, "a share in [0, 1]"), (1.1, "a share in [0, 1]")]),
    "views.preset": (list(recipe.PRESETS), [("mild", "one of")]),
    "views.flip": ([True, False], []),
    "views.rotate": ([0, 180], [(-1, "degrees in [0, 180]"), (181, "degrees in [0, 180]")]),
    "views.shift": ([0, 1], [(-0.1, "a share in [0, 1]"), (1.1, "a share in [0, 1]")]),
    "views.shear": ([0, 1], [(-0.1, "a share in [0, 1]"), (1.1, "a share in [0, 1]")]),
    "views.zoom": ([0, 0.9], [(-0.1, "a share in [0, 0.9]"), (1, "a share in [0, 0.9]")]),
    "views.crop": ([0.01, 1], [(0, "a share in (0, 1]"), (1.1, "a share in (0, 1]")]),
    "views.color": ([0, 1], [(-0.1, "a share in [0, 1]"), (1.1, "a share in [0, 1]")]),
    "views.fill": (list(recipe.FILLS), [("black", "one of")]),
    "views.gain": ([0.0], [(41.0, "decibels in [0, 40]")]),
    "views.noise": ([0.0], [(1.1, "a share in [0, 1]")]),
    "views.masks": ([0.0], [(0.6, "a share in [0, 0.5]")]),
    "compute.device": (["cuda:1"], [("gpu", "auto, cpu, cuda or cuda:N")]),
    "compute.precision": (list(recipe.PRECISIONS), [("fp16", "one of")]),
    "compute.cache": (list(recipe.CACHES), [("alwys", "one of")]),
    "compute.engine": (list(recipe.ENGINES), [("onnx", "one of")]),
    "compute.derive": ([True, False], []),
    "compute.pass_line": (["", "layer2"], []),
    "budget.disk_gib": ([0.1], [(0, "above 0"), (-1, "above 0"), (math.inf, FINITE)]),
    "budget.memory_gib": ([0.1], [(0, "above 0"), (-1, "above 0")]),
    "budget.time_min": ([0.1], [(0, "above 0"), (-1, "above 0")]),
    "search.enabled": ([True, False], []),
    "search.candidates": ([0, 100], [(-1, "0 (as many as"), (101, "0 (as many as")]),
    "search.folds": ([0, 1, 2, 100], [(-1, "0 (where images are few)"), (101, "0 (where")]),
    "search.fixed": ([[], ["epochs", "lr"]], []),
    "watch.trackers": ([[], ["tensorboard", "mlflow"]], []),
    "watch.histograms": ([False], []),
    "predict.flip": ([True, False], []),
    "stages.0.line": (["top", "85%", 3], [("", "a line's name"), (" ", "a line's name")]),
    "stages.0.epochs": ([1, 1000], [(0, "at least 1")]),
    "stages.0.steps": ([0, 10], [(-1, "at least 0")]),
    "stages.0.lr": (
        [1e-7, 99],
        [(0, "above 0 and below 100"), (100, "above 0 and below 100"), (math.nan, FINITE)],
    ),
    "stages.0.suffix_lr": ([1e-3, 10], [(0, "in (0, 10]"), (10.1, "in (0, 10]")]),
    "stages.0.layer_decay": ([0.1, 1], [(0, "in (0, 1]"), (1.1, "in (0, 1]")]),
    "stages.0.optimizer": (list(recipe.OPTIMIZERS), [("adamx", "one of")]),
    "stages.0.schedule": (list(recipe.SCHEDULES), [("onecycle", "one of")]),
    "stages.0.warmup": ([0, 0.9], [(-0.1, "a share in [0, 1)"), (1, "a share in [0, 1)")]),
    "stages.0.weight_decay": ([0, 0.5], [(-0.1, "at least 0"), (math.inf, FINITE)]),
    "stages.0.batch_size": ([1, 512], [(0, "at least 1")]),
    "stages.0.accumulate": ([1, 8], [(0, "at least 1")]),
    "stages.0.clip": ([0, 5], [(-0.1, "at least 0")]),
    "stages.0.ema": ([0, 0.999], [(-0.1, "in [0, 1)"), (1, "in [0, 1)")]),
    "stages.0.stop_after": ([0, 1], [(-1, "0 to "), (1001, "0 to ")]),
    "stages.0.patience": ([0, 5], [(-1, "at least 0")]),
    "stages.0.label_smoothing": ([0, 0.9], [(-0.1, "in [0, 1)"), (1, "in [0, 1)")]),
    "stages.0.batch_norm": (["frozen", "train"], [("freeze", "one of")]),
    "stages.0.dropout": ([0, 0.9], [(-0.1, "in [0, 1)"), (1, "in [0, 1)")]),
    "stages.0.balance": (list(recipe.BALANCES), [("weight", "one of")]),
    "stages.0.mixup": (
        [0, 0.001, 10],
        [(value, "0, or in [0.001, 10]") for value in (-0.1, 10.1, 1e-46)],
    ),
    "stages.0.noise": ([0, 10], [(-0.1, "in [0, 10]"), (10.1, "in [0, 10]")]),
    "stages.0.augment": ([True, False], []),
    "stages.0.select": (list(recipe.SELECTS), [("first", "one of")]),
}
GOOD = [(key, value) for key, (good, _) in FIELDS.items() for value in good]
BAD = [(key, value, rule) for key, (_, bad) in FIELDS.items() for value, rule in bad]


def nested(key: str, value: Any) -> dict[str, Any]:
    *outer, last = [part for part in key.split(".") if part != "0"]
    inner = {last: value}
    if outer:
        return {outer[0]: [inner] if outer[0] == "stages" else inner}
    return inner


def message(values: dict[str, Any], where: str = "mine.toml") -> str:
    with pytest.raises(RecipeError) as raised:
        recipe.from_dict(values, where)
    return str(raised.value)


def loading(name: str, *settings: str) -> str:
    with pytest.raises(RecipeError) as raised:
        recipe.load(name, settings)
    return str(raised.value)


def leaves(kind: type, at: str = "") -> list[str]:
    found = []
    for item in dataclasses.fields(kind):
        if item.name == "stages":
            found += leaves(Stage, "stages.0.")
        elif dataclasses.is_dataclass(item.type):
            found += leaves(item.type, f"{item.name}.")  # type: ignore[arg-type]
        else:
            found.append(f"{at}{item.name}")
    return found


def test_the_table_names_every_field_of_every_part() -> None:
    assert list(FIELDS) == leaves(Recipe)


@pytest.mark.parametrize(("key", "value"), GOOD)
def test_a_value_in_range_holds_and_round_trips(key: str, value: Any) -> None:
    made = recipe.from_dict(nested(key, value), "mine.toml")
    assert recipe.from_dict(tomllib.loads(recipe.to_toml(made)), "again") == made
    place: Any = made
    for part in key.split("."):
        place = place[int(part)] if part.isdecimal() else getattr(place, part)
    want = tuple(value) if isinstance(value, list) else value
    assert place == (str(want) if key.endswith("line") else want)


@pytest.mark.parametrize(("key", "value", "rule"), BAD)
def test_a_value_out_of_range_is_named_with_its_key_and_rule(
    key: str, value: Any, rule: str
) -> None:
    said = message(nested(key, value))
    assert said.startswith(f"mine.toml: {key} must be {rule}")
    assert f"not {value!r}." in said


@pytest.mark.parametrize("key", FIELDS)
def test_a_value_of_the_wrong_type_is_named_with_its_key(key: str) -> None:
    good = FIELDS[key][0][0]
    wrong = 0.5 if isinstance(good, bool | int | str | list) and key not in _NUMBERS else "x"
    said = message(nested(key, wrong))
    what = {
        bool: f"true or false, not {wrong!r}",
        str: f"text, not {wrong!r}",
        list: "a list of",
    }.get(type(good), f"a number, not {wrong!r}" if key in _NUMBERS else "a whole number, not 0.5")
    assert said.startswith(f"mine.toml: {key} must be {what}")


_NUMBERS = {
    *("data.max_megapixels", "data.window_s", "views.gain", "views.noise", "views.masks"),
    *("data.val", "data.test", "views.refresh", "views.rotate", "views.shift", "views.shear"),
    *("views.zoom", "views.crop", "views.color", "budget.disk_gib", "budget.memory_gib"),
    *("budget.time_min", "stages.0.lr", "stages.0.suffix_lr", "stages.0.layer_decay"),
    *("stages.0.warmup", "stages.0.weight_decay", "stages.0.clip", "stages.0.ema"),
    *("stages.0.label_smoothing", "stages.0.dropout", "stages.0.mixup", "stages.0.noise"),
}


def test_true_is_no_number() -> None:
    assert "seed must be a whole number, not True." in message({"seed": True})
    assert "data.val must be a number, not True." in message({"data": {"val": True}})


def test_the_table_of_a_recipe_says_what_each_name_could_be() -> None:
    assert message(nested("compute.cache", "alwys")) == (
        "mine.toml: compute.cache must be one of auto, always, never, not 'alwys'."
        " Did you mean always?"
    )
    assert message(nested("stages.0.schedule", "onecycle")) == (
        "mine.toml: stages.0.schedule must be one of cosine, one-cycle, step, constant, "
        "not 'onecycle'. Did you mean one-cycle?"
    )


@pytest.mark.parametrize("name", recipe.builtin())
def test_every_builtin_recipe_loads_and_round_trips(name: str, tmp_path: Path) -> None:
    made = recipe.load(name)
    assert made.about
    assert recipe.from_dict(tomllib.loads(recipe.to_toml(made)), name) == made
    recipe.write(made, tmp_path / "recipe.toml")
    assert recipe.read(tmp_path / "recipe.toml") == made
    assert recipe.load(str(tmp_path / "recipe.toml")) == made


def test_the_builtin_recipes_are_these_and_the_default_comes_first() -> None:
    assert recipe.builtin() == ("thaw", "classic", "full", "quick", "scratch")
    assert recipe.load("quick").stages == ()
    assert [stage.line for stage in recipe.load("thaw").stages] == ["auto"]
    assert recipe.load("full").stages[0].line == "pixels"
    assert not recipe.load("scratch").backbone.pretrained


def test_classic_is_the_textbook_s() -> None:
    made = recipe.load("classic")
    assert made.head == HeadChoice("mlp:256,dropout=0.5", "flatten", "random", init="xavier")
    assert made.backbone.image_px == 150
    assert made.views.policy() == {
        "flip": True,
        "rotate": 40.0,
        "shift": 0.2,
        "shear": 0.2,
        "zoom": 0.2,
        "fill": "edge",
    }
    assert [stage.epochs for stage in made.stages] == [30, 100]
    assert made.stages[1].lr == 1e-5


def test_every_default_is_written_out_and_what_is_open_is_left_out() -> None:
    written = tomllib.loads(recipe.to_toml(Recipe(stages=(Stage(),))))
    assert set(written["stages"][0]) == {f.name for f in dataclasses.fields(Stage)} - {"dropout"}
    assert set(written) == {f.name for f in dataclasses.fields(Recipe)}
    assert written["budget"] == {}
    assert "rotate" not in written["views"]
    set_ones = Recipe(budget=Budget(disk_gib=2.0), views=Views(rotate=5.0, flip=False))
    written = tomllib.loads(recipe.to_toml(set_ones))
    assert written["budget"] == {"disk_gib": 2.0}
    assert (written["views"]["rotate"], written["views"]["flip"]) == (5.0, False)


def test_a_path_that_is_not_utf_8_round_trips(tmp_path: Path) -> None:
    made = recipe.from_dict({"backbone": {"weights": "w\udcff.pt"}}, "mine.toml")
    recipe.write(made, tmp_path / "r.toml")
    assert recipe.read(tmp_path / "r.toml") == made


def test_the_recipe_s_own_defaults_hold() -> None:
    recipe.validate(Recipe(stages=(Stage(),)))
    assert recipe.from_dict({}, "empty") == Recipe()


def test_validate_names_every_problem_at_once() -> None:
    with pytest.raises(RecipeError) as raised:
        recipe.validate(Recipe(seed=-1, stages=(Stage(epochs=0), Stage(lr=-1.0))))
    assert str(raised.value) == (
        "recipe: 3 problems: (1) seed must be 0 to 4294967295, not -1. "
        "(2) stages.0.epochs must be at least 1, not 0. "
        "(3) stages.1.lr must be above 0 and below 100, not -1.0."
    )


def test_several_mistakes_in_one_file_are_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'sede = 3\n[data]\nval = "much"\n[head]\nspce = "linear"\n'
        "[[stages]]\nlr = -1\n[[stages]]\nepoch = 4\nwarmup = 2.0\n"
    )
    with pytest.raises(RecipeError) as raised:
        recipe.read(path)
    assert str(raised.value) == (
        f"{path}: 6 problems: (1) sede is not a key of a recipe. Did you mean seed? "
        "(2) data.val must be a number, not 'much'. "
        "(3) head.spce is not a key of a recipe. Did you mean spec? "
        "(4) stages.1.epoch is not a key of a recipe. Did you mean epochs? "
        "(5) stages.0.lr must be above 0 and below 100, not -1.0. "
        "(6) stages.1.warmup must be a share in [0, 1), not 2.0."
    )


def test_two_values_out_of_range_are_counted() -> None:
    said = message({"seed": -1, "data": {"val": 3}})
    assert said == (
        "mine.toml: 2 problems: (1) seed must be 0 to 4294967295, not -1. "
        "(2) data.val must be a share in [0, 1), not 3.0."
    )


def test_a_stage_keeps_its_number_where_one_before_it_is_no_table() -> None:
    said = message({"stages": [5, {"lr": 0}]})
    assert said == (
        "mine.toml: 2 problems: (1) stages.0 must be a table. "
        "(2) stages.1.lr must be above 0 and below 100, not 0.0."
    )


def test_tables_and_lists_are_told_apart() -> None:
    assert message({"data": 3}) == "mine.toml: data must be a table."
    assert message({"stages": {"lr": 1}}) == "mine.toml: stages must be a list of tables."
    assert message({"head": {"layers": [3]}}) == "mine.toml: head.layers.0 must be a table."
    assert message({"head": {"layers": "x"}}) == "mine.toml: head.layers must be a list of tables."
    assert message({"watch": {"trackers": "mlflow"}}) == (
        "mine.toml: watch.trackers must be a list of text."
    )
    assert message({"watch": {"trackers": [True]}}) == (
        "mine.toml: watch.trackers.0 must be text, not True."
    )


def test_batch_norms_are_not_trained_on_one_image() -> None:
    assert message({"stages": [{"batch_size": 2, "batch_norm": "train"}]}) == (
        "mine.toml: stages.0.batch_size must be at least 3 where batch norms are trained, not 2."
    )
    layers = [{"type": "norm", "kind": "batch"}, {"type": "linear"}]
    assert message({"head": {"layers": layers}, "stages": [{"batch_size": 2}]}) == (
        "mine.toml: stages.0.batch_size must be at least 3 where head.layers has a batch norm, "
        "not 2."
    )


def test_shares_may_not_take_everything() -> None:
    assert message({"data": {"val": 0.5, "test": 0.5}}) == (
        "mine.toml: data.val + data.test must be below 1, not 1.0."
    )


def test_live_views_cannot_be_kept() -> None:
    values = {"views": {"live": True}, "compute": {"cache": "always"}}
    assert message(values) == (
        "mine.toml: views.live makes new views in every epoch, which compute.cache = "
        '"always" cannot store. Leave one of them out.'
    )
    assert recipe.from_dict({"views": {"live": True, "preset": "light"}}, "x").views.live


@pytest.mark.parametrize(
    ("views", "words"),
    [
        ({"live": True}, "views.live makes new views in every epoch, and nothing varies them. "),
        (
            {"live": True, "preset": "light", "refresh": 0.5},
            "views.refresh replaces cached views, and ",
        ),
    ],
)
def test_views_that_would_do_nothing_are_refused(views: dict[str, Any], words: str) -> None:
    assert message({"views": views}).startswith(f"mine.toml: {words}")


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("900%", "a share from 0% to 100%"),
        ("-5%", "a share from 0% to 100%"),
        ("last 0 blocks", "last N blocks, with N from 1 on"),
        ("last zwei blocks", "last N blocks, with N from 1 on"),
    ],
)
def test_words_for_lines_are_checked(line: str, rule: str) -> None:
    said = message({"stages": [{"line": line}]})
    assert said == f"mine.toml: stages.0.line must be {rule}, not {line!r}."


@pytest.mark.parametrize(
    ("lines", "holds"),
    [
        (("pixels", "top"), False),
        (("pixels", "blocks.2"), False),
        (("pixels", "auto"), False),
        (("pixels", "pixels"), True),
        (("pixels", "0 %"), True),
        (("pixels", "0"), True),
        (("last 2 blocks", "last 1 block"), False),
        (("last 1 block", "last 2 blocks"), True),
        (("last 1 block", "top"), False),
        (("last 1 block", "blocks.2"), True),
        (("blocks.2", "last 1 block"), True),
        # Whatever comes near the end may be the top itself, and two shares the same line.
        (("pooled", "top"), True),
        (("-1", "top"), True),
        (("85%", "90%"), True),
    ],
)
def test_lines_that_go_up_are_told_as_far_as_words_tell(
    lines: tuple[str, str], holds: bool
) -> None:
    stages = [{"line": line} for line in lines]
    if holds:
        recipe.from_dict({"stages": stages}, "mine.toml")
        return
    assert message({"stages": stages}) == (
        f"mine.toml: stages.1.line must not lie above that of stages.0, {lines[0]!r}, and "
        f"{lines[1]!r} does: what was thawed is not frozen again."
    )


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        (
            [{"type": "linear"}, {"type": "flatten"}],
            (
                "the probe is put in place of the head's last layer, which must be linear; here "
                "it is flatten. Leave it out"
            ),
        ),
        (
            [{"type": "linear", "bias": False}],
            (
                "the probe has a bias, and the head's last layer has bias = false. Leave one of "
                "them out"
            ),
        ),
    ],
)
def test_a_probe_needs_a_last_layer_that_it_can_be_put_in(
    layers: list[dict[str, Any]], words: str
) -> None:
    said = message({"head": {"layers": layers, "start": "probe"}})
    assert said == f'mine.toml: head.start: {words}, or write start = "random".'


def test_more_blocks_than_any_network_has_are_no_line() -> None:
    lines = [{"line": f"last {'9' * 5000} blocks"}, {"line": "top"}]
    assert "stages.0.line must be last N blocks" in message({"stages": lines})


def test_a_layer_that_is_no_table_is_told() -> None:
    head = recipe.HeadChoice(layers=("linear",))  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match=r"head\.layers\.0 must be a table, not 'linear'"):
        recipe.validate(Recipe(head=head))


@pytest.mark.parametrize("width", ["65537", "9" * 11, "9" * 5000])
def test_a_width_is_no_larger_than_a_layer_s(width: str) -> None:
    said = message({"head": {"spec": f"mlp:{width}"}})
    assert "must be a width from 1 to 65536, or dropout=P with P in [0, 1)." in said
    recipe.from_dict({"head": {"spec": "mlp:65536"}}, "mine.toml")


@pytest.mark.parametrize("text", ["seed = 1" + "0" * 5000, "about = " + "[" * 3000 + "]" * 3000])
def test_a_file_beyond_python_is_no_recipe(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=r"mine\.toml: cannot be read as TOML: "):
        recipe.read(path)
    # As a setting it is taken for text.
    with pytest.raises(RecipeError, match=r"data\.val must be a number"):
        recipe.load("thaw", [f"data.val={text.partition(' = ')[2]}"])


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("lr", "stages.0.lr"),
        ("val", "data.val"),
        ("rotate", "views.rotate"),
        ("flip", "views.flip, predict.flip"),
    ],
)
def test_a_key_without_its_table_is_told_where_it_stands(key: str, meant: str) -> None:
    assert message({key: 1}) == f"mine.toml: {key} is not a key of a recipe. Did you mean {meant}?"


@pytest.mark.parametrize("views", [{"flip": False}, {"crop": 1.0}, {"fill": "edge"}, {}])
def test_live_views_must_vary(views: dict[str, Any]) -> None:
    assert "and nothing varies them" in message({"views": {**views, "live": True}})
    recipe.from_dict({"views": {**views, "live": True, "rotate": 3.0}}, "mine.toml")


def test_a_head_a_tracker_and_a_stage_are_found_fault_with_at_once() -> None:
    said = message(
        {
            "head": {"spec": "mlp:0"},
            "watch": {"trackers": ["nosuch"], "histograms": True},
            "stages": [{"batch_size": 10**20}],
        }
    )
    assert said.startswith(
        "mine.toml: 4 problems: (1) head.spec: '0' in 'mlp:0' must be a width from 1 to "
    )
    assert "watch.trackers.0 must be one of tensorboard, aim" in said
    assert "watch.histograms: only TensorBoard takes them" in said
    assert said.endswith("stages.0.batch_size must be at most 1,000,000, not 1" + "0" * 20 + ".")


@pytest.mark.parametrize(
    ("setting", "key", "want"),
    [
        ("seed=7", "seed", 7),
        ("stages.0.lr=1e-5", "stages.0.lr", 1e-5),
        ("stages.0.lr=1", "stages.0.lr", 1.0),
        (" stages.0.epochs = 9 ", "stages.0.epochs", 9),
        ("stages.0.line=blocks.5", "stages.0.line", "blocks.5"),
        ("stages.0.line=last 2 blocks", "stages.0.line", "last 2 blocks"),
        ("stages.0.line=85%", "stages.0.line", "85%"),
        ("stages.0.line=12", "stages.0.line", "12"),
        ('stages.0.line="12"', "stages.0.line", "12"),
        (
            "backbone.name=timm:vgg16?pad_type=same&a=b",
            "backbone.name",
            "timm:vgg16?pad_type=same&a=b",
        ),
        ("backbone.pretrained=false", "backbone.pretrained", False),
        ("views.flip=true", "views.flip", True),
        ("budget.disk_gib=2", "budget.disk_gib", 2.0),
        ("watch.trackers=['mlflow', 'tensorboard']", "watch.trackers", ("mlflow", "tensorboard")),
        ("stages=[]", "stages", ()),
        ("stages=[{line='top', lr=0.5}]", "stages", (Stage(line="top", lr=0.5),)),
        ("head={spec='mlp:8'}", "head", HeadChoice(spec="mlp:8")),
        ("head.layers=[{type='linear'}]", "head.layers", ({"type": "linear"},)),
        ("about=", "about", ""),
    ],
)
def test_single_values_can_be_set(setting: str, key: str, want: Any) -> None:
    place: Any = recipe.load("thaw", [setting])
    for part in key.split("."):
        place = place[int(part)] if part.isdecimal() else getattr(place, part)
    assert place == want


def test_settings_come_one_after_the_other() -> None:
    made = recipe.load(
        "quick",
        ["stages=[{}, {}]", "stages.1.lr=0.5", "head.layers=[{}]", "head.layers.0.type=linear"],
    )
    assert made.stages == (Stage(), Stage(lr=0.5))
    assert made.head.layers == ({"type": "linear"},)


def test_values_that_are_given_go_before_the_recipe_s_and_settings_before_these() -> None:
    given = {"seed": 3, "data.val": 0.5, "stages.0.line": "90%"}
    made = recipe.load("thaw", ["seed=4"], given)
    assert (made.seed, made.data.val, made.stages[0].line) == (4, 0.5, "90%")
    assert given["seed"] == 3
    with pytest.raises(RecipeError, match=r"recipe thaw, --set: stages\.7\.lr: stages has 1"):
        recipe.load("thaw", [], {"stages.7.lr": 1.0})


@pytest.mark.parametrize(
    ("settings", "want"),
    [
        (["seed"], "recipe thaw, --set: 'seed' must be KEY=VALUE, such as stages.0.lr=1e-3."),
        (["=3"], "recipe thaw, --set: '=3' must be KEY=VALUE, such as stages.0.lr=1e-3."),
        (["a..b=3"], "recipe thaw, --set: 'a..b=3' must be KEY=VALUE, such as stages.0.lr=1e-3."),
        (
            ["stages.2.lr=1"],
            "recipe thaw, --set: stages.2.lr: stages has 1 entry (0), not '2'.",
        ),
        (
            ["stages.-1.lr=1", "stages.x=1"],
            (
                "recipe thaw, --set: 2 problems: (1) stages.-1.lr: stages has 1 entry (0), "
                "not '-1'. (2) stages.x: stages has 1 entry (0), not 'x'."
            ),
        ),
        (
            ["about.x=1"],
            "recipe thaw, --set: about.x: about is not a table.",
        ),
        (
            ["stages.0.learning_rate=1"],
            "recipe thaw: stages.0.learning_rate is not a key of a recipe.",
        ),
        (
            ["stages.0.epoch=1"],
            "recipe thaw: stages.0.epoch is not a key of a recipe. Did you mean epochs?",
        ),
        (["haed.spec=x"], "recipe thaw: haed is not a key of a recipe. Did you mean head?"),
        (["seed=1.5"], "recipe thaw: seed must be a whole number, not 1.5."),
        (["stages.0.lr="], "recipe thaw: stages.0.lr must be a number, not ''."),
        (["seed.x=1"], "recipe thaw: seed must be a whole number, not {'x': 1}."),
        (["stages.0.lr=inf"], "recipe thaw: stages.0.lr must be a finite number, not inf."),
    ],
)
def test_a_setting_that_cannot_be_is_said(settings: list[str], want: str) -> None:
    assert loading("thaw", *settings) == want


def test_a_stage_that_a_recipe_does_not_have_cannot_be_set() -> None:
    assert loading("quick", "stages.0.lr=1") == (
        "recipe quick, --set: stages.0.lr: stages has 0 entries (none), not '0'."
    )


def test_an_unknown_recipe_gets_the_nearest_name() -> None:
    assert loading("thwa") == (
        "thwa: no recipe of that name; there are thaw, classic, full, quick, scratch. "
        "Did you mean thaw? A file's name ends in .toml."
    )


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    assert loading(f"{tmp_path}/none.toml") == f"{tmp_path}/none.toml: no such recipe file."
    bad = tmp_path / "bad.toml"
    bad.write_text("seed = \n")
    assert loading(str(bad)).startswith(f"{bad}: cannot be read as TOML: Invalid value")
    assert loading(str(tmp_path)).startswith(f"{tmp_path}: cannot be read as TOML: ")
    bad.write_bytes(b"seed = \xff\n")
    assert loading(str(bad)).startswith(f"{bad}: cannot be read as TOML: ")


def test_a_file_beside_is_read_without_a_dot_or_a_slash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine").write_text("seed = 4\n")
    assert recipe.load("mine").seed == 4


def test_differences_name_key_and_both_values() -> None:
    one = recipe.from_dict({"stages": [{"lr": 0.1}]}, "x")
    other = recipe.from_dict({"seed": 3, "stages": [{"lr": 0.2}]}, "x")
    assert recipe.differences(one, other) == ["seed: 0 and 3", "stages.0.lr: 0.1 and 0.2"]
    assert recipe.differences(one, one) == []


def test_differences_say_what_is_not_set_and_which_stages_there_are() -> None:
    one = Recipe(views=Views(rotate=5.0))
    other = Recipe(budget=Budget(disk_gib=1.0))
    assert recipe.differences(one, other) == [
        "views.rotate: 5.0 and not set",
        "budget.disk_gib: not set and 1.0",
    ]
    more = Recipe(stages=(Stage(), Stage(line="auto")))
    found = recipe.differences(Recipe(stages=(Stage(),)), more)
    assert found[0] == "stages.1.line: not set and 'auto'"
    assert all(line.startswith("stages.1.") for line in found)


# Options of a stage.


def test_options_of_a_stage_change_the_default_and_fix_what_a_search_would_vary() -> None:
    plain = recipe.load("thaw")
    made = recipe.compose(None, stage={"epochs": 3, "optimizer": "sgd"})
    assert made.search == dataclasses.replace(plain.search, fixed=("epochs",))
    assert made.stages == (dataclasses.replace(plain.stages[0], epochs=3, optimizer="sgd"),)
    assert made.views == plain.views
    assert recipe.compose("thaw", stage={"epochs": 3, "optimizer": "sgd"}) == made
    all_of_them = recipe.compose(None, stage={"lr": 0.01, "line": "pixels", "epochs": 1})
    assert all_of_them.search.fixed == ("line", "epochs", "lr")
    shape = recipe.compose(None, given={"head.spec": "mlp:8", "views.preset": "light", "seed": 1})
    assert shape.search.fixed == ("views", "head")
    assert recipe.compose("quick", given={"head.spec": "mlp:8"}).search.fixed == ()


def test_options_of_a_stage_change_any_recipe_with_one() -> None:
    made = recipe.compose("scratch", stage={"epochs": 2})
    assert (made.stages[0].epochs, made.search.fixed) == (2, ())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("quick", "--suffix-lr: recipe quick has no stage, only a new last layer"),
        ("classic", "--suffix-lr: does not say which of the 2 stages of recipe classic is meant"),
    ],
)
def test_options_of_a_stage_need_one(name: str, said: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(said)):
        recipe.compose(name, stage={"suffix_lr": 1.0})


def test_a_search_can_fix_only_what_it_varies() -> None:
    said = message({"search": {"fixed": ["dropout"]}})
    assert "search.fixed must be one of line, epochs, lr, suffix_lr, weight_decay, " in said
    assert "views, head, not 'dropout'" in said
