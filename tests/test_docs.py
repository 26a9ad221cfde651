"""The docs say what is so: their commands and examples run, their tables name what there is.

Commands and examples run with tiny pictures and networks of random weights in place of those that
would have to be downloaded. Everything else is taken as it stands in the page.
"""

import dataclasses
import importlib.util
import json
import re
import runpy
import shlex
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import torch
from PIL import Image

import frostline
from conftest import ROOT, make_photos, settled
from frostline import recipe
from frostline.cli import main
from frostline.cli.parser import make_parser
from frostline.images import augment
from frostline.model.heads import LAYERS, layers_from
from frostline.model.summary import of_target
from frostline.networks import catalog
from frostline.networks.registry import kind_of
from frostline.recipe import toml
from frostline.recipe.head_layers import LayerSpec
from frostline.sound import policies as sounds
from frostline.training import trackers
from sound_files import make_sounds, tone, write

DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(DOCS.glob("*.md")),
]
TINY = "timm:test_efficientnet?pretrained=false"
# Networks that a page may name, and what runs instead.
STAND_INS = {
    r"timm:(resnet50|vgg16)(\?pretrained=false)?(?![\w.])": "timm:test_resnet?pretrained=false",
    # Its lines have the same names.
    r"torchvision:vgg16\?dropout=0.2": "torchvision:mobilenet_v3_small?pretrained=false",
    r"torchvision:resnet50": "torchvision:resnet18?pretrained=false",
}
FENCE = re.compile(
    r"(?:<!-- (?P<note>[^\n]*) -->\n)?```(?P<kind>\w*)\n(?P<text>.*?)```\n", re.DOTALL
)
COMMAND = re.compile(r"(?:^|&& )(frostline\b[^\n]*?)(?= && | +# |$)", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block, and the words of the comment right above it."""

    kind: str
    text: str
    note: str

    @property
    def commands(self) -> list[list[str]]:
        """The arguments of each `frostline …` in it."""
        if self.kind != "sh":
            return []
        joined = self.text.replace("\\\n", " ")
        return [shlex.split(found[1])[1:] for found in COMMAND.finditer(joined)]


def blocks(page: Path) -> list[Block]:
    found = FENCE.finditer(page.read_text("utf-8"))
    return [Block(one["kind"], one["text"], one["note"] or "") for one in found]


def tables(page: Path) -> dict[str, list[list[str]]]:
    """The cells of each table of a page, by the heading above it, heads and rules left out."""
    found: dict[str, list[list[str]]] = {}
    heading = ""
    for line in page.read_text("utf-8").splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ").replace("`", "")
        elif line.startswith("| "):
            cells = [cell.strip() for cell in line.split("|")[1:-1]]
            found.setdefault(heading, []).append(cells)
    return {name: rows[2:] for name, rows in found.items()}


def named(rows: list[list[str]]) -> set[str]:
    return {row[0].strip("`") for row in rows}


def stood_in(text: str) -> str:
    for pattern, instead in STAND_INS.items():
        text = re.sub(pattern, instead, text)
    return text


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with what the pages speak of: pictures, weights, a recipe."""
    monkeypatch.chdir(tmp_path)
    for device in catalog.DEFAULTS:
        monkeypatch.setitem(catalog.DEFAULTS, device, TINY)
    make_photos(tmp_path / "photos", {"cats": 16, "dogs": 16})
    make_photos(tmp_path / "other_photos", {"cats": 6, "dogs": 6}, side_px=40)
    make_photos(tmp_path / "folder", {"inside": 2})
    Image.open(tmp_path / "photos/cats/000.png").save(tmp_path / "new.jpg")
    network = catalog.find("timm:test_resnet?pretrained=false").module
    state = network.state_dict()
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, "weights.pth")
    from safetensors.torch import save_file

    below = {key: value for key, value in state.items() if not key.startswith("fc.")}
    save_file(below, tmp_path / "backbone.safetensors")
    Path("recipe.toml").write_text(recipe_of_ones_own())
    write_labels(tmp_path / "labels.csv")
    monkeypatch.setattr(toml, "_with_settings", partial(shortened, toml._with_settings))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path
    torch.set_num_threads(threads)


def shortened(
    made: Callable[..., recipe.Recipe],
    values: dict[str, Any],
    where: str,
    settings: Any,
    given: Any,
) -> recipe.Recipe:
    """Makes a recipe with short stages on a tiny network, that leaves little to be measured."""
    for stage in values.get("stages", []):
        stage["epochs"] = 1
    # One candidate is as good as many to see a command work.
    values.setdefault("search", {}).setdefault("candidates", 1)
    network = values.setdefault("backbone", {})
    network |= {"image_px": 64, "name": TINY} if "name" in network else {"image_px": 64}
    is_live = values.get("views", {}).get("live") or (given or {}).get("views.live")
    chosen = {"engine": "eager"} if is_live else {"engine": "eager", "cache": "always"}
    values["compute"] = {**chosen, **values.get("compute", {})}
    return made(values, where, settings, given)


def write_labels(path: Path) -> None:
    """Writes the CSV that the recipes page shows, and pictures for it."""
    (table,) = [block.text for block in blocks(DOCS / "recipes.md") if block.kind == "csv"]
    path.write_text(table)
    for number, line in enumerate(table.splitlines()[1:]):
        picture = path.parent / line.partition(",")[0]
        picture.parent.mkdir(exist_ok=True)
        Image.new("RGB", (48, 48), (number * 30, 90, 200 - number * 20)).save(picture)


def recipe_of_ones_own() -> str:
    return next(b.text for b in blocks(DOCS / "recipes.md") if b.kind == "toml" and not b.note)


@pytest.mark.parametrize("name", ["README.md", "docs/recipes.md", "docs/python.md"])
def test_what_a_page_shows_runs(name: str, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for block in blocks(ROOT / name):
        if block.kind == "python":
            exec(compile(stood_in(block.text), name, "exec"), names)
        for arguments in Block(block.kind, stood_in(block.text), block.note).commands:
            if arguments != ["demo"] and not block.note.startswith("not run"):
                assert main(arguments) == 0, (arguments, capsys.readouterr().err)


def test_the_commands_page_runs_and_prints_the_keys_it_shows(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = 0
    for block in blocks(DOCS / "commands.md"):
        for arguments in Block(block.kind, stood_in(block.text), block.note).commands:
            if not block.note.startswith("not run"):
                assert main(arguments) == 0, (arguments, capsys.readouterr().err)
        if block.kind == "json":
            (_, command) = block.note.split("keys of: frostline ")
            capsys.readouterr()
            assert main(shlex.split(stood_in(command))) == 0
            told, got = json.loads(block.text), json.loads(capsys.readouterr().out)
            if "asked" in told:
                # A whole recipe: the page leaves it out, and says so.
                got["asked"] = {}
            assert keys(told) == keys(got), command
            shown += 1
    assert shown == 10


def keys(value: Any) -> Any:
    """What a JSON value is made of, less what it holds."""
    if isinstance(value, dict):
        return {key: keys(part) for key, part in value.items()}
    return [keys(value[0])] if isinstance(value, list) and value else type(value) in (list, dict)


def test_the_sound_page_runs(desk: Path, assets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_sounds(desk / "sounds", each=10)
    make_sounds(desk / "other_sounds", each=3)
    for name in ("song.mp3", "street.wav"):
        write(desk / name, np.concatenate([tone(300.0), tone(2000.0, 2.0)]))
    tagger = assets / "weights/music_tagger_crnn/music_tagger_crnn_weights_tensorflow.h5"
    for file in (tagger, assets / "weights/files/yamnet_spectra_in.tflite"):
        (desk / file.name).symlink_to(file)
    for block in blocks(DOCS / "sound.md"):
        for arguments in block.commands:
            if arguments[0] == "train":
                # A network that hears has one size.
                size = ["--image-px", "0"] if "--backbone" in arguments else []
                arguments = [*arguments[:2], *settled(*arguments[2:]), *size]
            assert main(arguments) == 0, (arguments, capsys.readouterr().err)


def test_the_presets_of_sounds_are_those_of_the_code() -> None:
    rows = tables(DOCS / "sound.md")["Views"]
    assert [row[0].strip("`") for row in rows] == list(sounds.PRESETS)
    for name, *cells in rows:
        policy = sounds.PRESETS[name.strip("`")]
        assert cells == [f"{value:g}" for value in astuple(policy)], name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_in_a_page_is_one(page: Path) -> None:
    for block in blocks(page):
        for arguments in block.commands:
            make_parser().parse_args(arguments)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)\s]+)\)", page.read_text("utf-8")):
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        assert there.is_file(), f"{page.name} links to {target}, which is not there"
        if there.suffix != ".md":
            continue
        headings = re.findall(r"^#+ (.+)$", there.read_text("utf-8"), re.MULTILINE)
        slugs = [re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings]
        assert not anchor or anchor in slugs, f"{page.name} links to {target}: no such heading"


def test_help_texts_and_recipe_are_those_of_the_code() -> None:
    update = runpy.run_path(str(DOCS / "update.py"))
    written = set()
    for page in DOCS.glob("*.md"):
        text = page.read_text("utf-8")
        written |= set(re.findall(r"<!-- written by docs/update\.py: (.+?) -->", text))
        # How lines are broken is up to each version of Python.
        assert update["updated"](text).split() == text.split(), "run: python docs/update.py"
    assert written == set(update["parts"]())


def test_readme_starts_with_the_two_commands() -> None:
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    commands = [line for line in lines if line.startswith("pip install")]
    assert commands == ["pip install . && frostline demo", "pip install '.[test]' && pytest"]
    assert lines.index(commands[1]) < 30


def test_every_key_of_a_recipe_is_explained_with_its_default() -> None:
    told = tables(DOCS / "recipes.md")
    parts = dict(recipe_parts(recipe.Recipe, "At the top")) | {"[[head.layers]]": LayerSpec}
    assert parts.keys() == {name for name in told if name == "At the top" or name.startswith("[")}
    for heading, part in parts.items():
        rows = told[heading]
        fields = [one for one in dataclasses.fields(part) if not is_part(part, one.name)]
        assert [row[0].strip("`") for row in rows] == [one.name for one in fields], heading
        for row, one in zip(rows, fields, strict=True):
            assert default_of(row[1]) == one.default, (heading, one.name)


def default_of(cell: str) -> Any:
    """What the cell of a table says of a default, as the recipe holds it."""
    if cell in ("", "not set"):
        return None if cell else dataclasses.MISSING
    value = tomllib.loads(f"x = {cell.strip('`')}")["x"]
    return tuple(value) if isinstance(value, list) else value


def is_part(kind: type, name: str) -> bool:
    hint = get_type_hints(kind)[name]
    listed = get_args(hint)[0] if get_origin(hint) is tuple else hint
    return dataclasses.is_dataclass(listed)


def recipe_parts(kind: type, heading: str) -> Iterator[tuple[str, type]]:
    yield heading, kind
    for name, hint in get_type_hints(kind).items():
        if dataclasses.is_dataclass(hint):
            yield f"[{name}]", hint  # type: ignore[misc]
        elif is_part(kind, name):
            yield f"[[{name}]]", get_args(hint)[0]


@pytest.mark.parametrize(
    ("heading", "key", "values"),
    [
        ("[data]", "targets", recipe.TARGETS),
        ("[head]", "pooling", recipe.POOLINGS),
        ("[head]", "start", recipe.STARTS),
        ("[head]", "init", recipe.INITS),
        ("[[head.layers]]", "type", LAYERS),
        ("[views]", "preset", recipe.PRESETS),
        ("[views]", "fill", recipe.FILLS),
        ("[compute]", "precision", recipe.PRECISIONS),
        ("[compute]", "cache", recipe.CACHES),
        ("[compute]", "engine", recipe.ENGINES),
        ("[watch]", "trackers", ("tensorboard", *trackers.TRACKERS)),
        ("[[stages]]", "optimizer", recipe.OPTIMIZERS),
        ("[[stages]]", "schedule", recipe.SCHEDULES),
        ("[[stages]]", "balance", recipe.BALANCES),
    ],
)
def test_every_choice_of_a_recipe_is_named(heading: str, key: str, values: tuple[str, ...]) -> None:
    (row,) = [row for row in tables(DOCS / "recipes.md")[heading] if row[0] == f"`{key}`"]
    assert re.findall(r"`(.+?)`", row[2]) == list(values)


def test_the_presets_are_those_of_the_code() -> None:
    rows = tables(DOCS / "recipes.md")["The presets"]
    assert [row[0].strip("`") for row in rows] == list(augment.PRESETS)
    for name, *cells in rows:
        policy = augment.PRESETS[name.strip("`")]
        shown = [str(value).lower() if type(value) is bool else value for value in astuple(policy)]
        assert cells == [value if type(value) is str else f"{value:g}" for value in shown], name


def test_each_recipe_that_is_shipped_has_its_place() -> None:
    text = (DOCS / "recipes.md").read_text("utf-8")
    part = text.partition("## Those that come with it\n")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^### (\w+)$", part, re.MULTILINE)) == sorted(recipe.builtin())
    for name in recipe.builtin():
        section = part.partition(f"### {name}\n")[2].partition("\n### ")[0]
        assert "--recipe " + name in section or name == recipe.DEFAULT


OWN = [b.text for b in blocks(DOCS / "recipes.md") if b.kind == "toml" and not b.note]


@pytest.mark.parametrize("text", OWN, ids=lambda text: " ".join(text.split())[:40])
def test_every_recipe_of_ones_own_holds_and_fits_the_network(text: str) -> None:
    found = recipe.from_dict(tomllib.loads(text), "docs/recipes.md")
    layers_from(found.head.layers)
    for stage in found.stages:
        made = of_target(
            found.backbone.name or catalog.DEFAULTS["cpu"],
            line="85%" if stage.line == "auto" else stage.line,
            head="" if found.head.layers else found.head.spec,
            layers=found.head.layers,
            on=found.head.on,
        )
        assert made.totals.trainable_tensors


def test_the_recipe_with_layers_trains(desk: Path) -> None:
    (text,) = [text for text in OWN if "layers" in text]
    made = recipe.from_dict(tomllib.loads(text), "docs/recipes.md")
    short = dataclasses.replace(
        made,
        # Its map at this line is as large as that of the network in the page.
        backbone=recipe.BackboneChoice(name=TINY, image_px=112),
        compute=recipe.Compute(cache="always", engine="eager"),
        stages=(recipe.Stage(line="top", epochs=1),),
    )
    run = frostline.train("photos/", out="runs/layers", recipe=short)
    assert run.metrics["stages"][0]["trained_tensors"] == 4
    assert run.predict(["new.jpg"])[0].label in ("cats", "dogs")


def test_every_option_that_a_recipe_names_is_one() -> None:
    helped = (DOCS / "commands.md").read_text("utf-8")
    for option in re.findall(r"`(--[\w-]+)`", (DOCS / "recipes.md").read_text("utf-8")):
        assert f" {option} " in helped or f"[{option}" in helped, option


def test_every_public_name_has_a_heading_and_an_example() -> None:
    text = (DOCS / "python.md").read_text("utf-8")
    sections = dict(re.findall(r"^## `frostline\.(\w+)`\n(.*?)(?=^## |\Z)", text, re.M | re.DOTALL))
    assert sections.keys() == set(frostline.__all__)
    assert all("```python\n" in section for section in sections.values())


def test_every_argument_of_train_is_explained() -> None:
    import inspect

    parameters = inspect.signature(frostline.train).parameters.values()
    rows = tables(DOCS / "python.md")["frostline.train"]
    assert [row[0].strip("`") for row in rows] == [one.name for one in parameters]
    for row, one in zip(rows, parameters, strict=True):
        default = "" if one.default is one.empty else repr(one.default)
        assert row[1].strip("`") == default, one.name


def test_every_dependency_has_a_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    def names(given: list[str]) -> set[str]:
        return {re.split(r"[<>=~!;]", one)[0].strip() for one in given}

    told = tables(DOCS / "dependencies.md")
    assert named(told["Dependencies"]) == names(project["dependencies"])
    assert {(row[0].strip("`"), row[1].strip("`")) for row in told["Extras"]} == {
        (extra, name)
        for extra, given in project["optional-dependencies"].items()
        for name in names(given)
    }


def test_the_layers_are_those_that_are_held() -> None:
    spec = importlib.util.spec_from_file_location("layers", ROOT / "tests" / "test_layers.py")
    assert spec is not None
    assert spec.loader is not None
    held = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(held)
    (tree,) = [block.text for block in blocks(DOCS / "design.md") if block.text.startswith("L0")]
    told: list[set[str]] = []
    for line in tree.splitlines():
        if line.startswith("L"):
            told.append(set())
            assert line.split()[0] == f"L{len(told) - 1}"
        name = line[5:].split()[0]
        told[-1].add(name.removesuffix("/").removesuffix(".py"))
    assert told == [set(names) for names in held.LAYERS]


def test_the_files_page_names_what_is_written(desk: Path) -> None:
    told = tables(DOCS / "files.md")
    linear, many, labels = Path("runs/linear"), Path("runs/mlp"), Path("runs/labels")
    more = ["--no-search", "--epochs", "1", "--tracker", "tensorboard", "--cache", "auto"]
    assert main(["train", "photos", "--out", str(linear), *more]) == 0
    assert (
        main(
            [
                "train",
                "photos",
                "--out",
                str(many),
                "--no-search",
                "--epochs",
                "1",
                "--head",
                "mlp:8",
            ]
        )
        == 0
    )
    assert main(["train", "labels.csv", "--out", str(labels), "--recipe", "quick"]) == 0

    def read(path: Path) -> Any:
        return json.loads(path.read_text("utf-8"))

    in_run = {f"{path.name}/" if path.is_dir() else path.name for path in linear.iterdir()}
    # None of these runs searches.
    assert named(told["A run folder"]) == in_run | {"search.json"}
    assert [row[0].strip("`") for row in told["listing.csv"]] == head_of(labels / "listing.csv")
    assert head_of(labels / "listing.csv") == [
        *head_of(linear / "listing.csv"),
        "label_count",
    ]
    fixed = [name for name in head_of(linear / "predictions.csv") if not name.startswith("p:")]
    assert [row[0].strip("`") for row in told["predictions.csv"]] == [*fixed, "p:NAME"]
    assert named(told["plan.json"]) == read(linear / "plan.json").keys()
    (proof,) = read(linear / "metrics.json")["stages"]
    assert named(told["metrics.json"]) == proof.keys()
    scored = read(linear / "metrics.json")["cross_validation"]
    assert named(told["Cross-validation"]) == scored.keys() | {"groups"}
    several = read(labels / "metrics.json")["val"]
    assert named(told["Of several labels"]) - several.keys() == set()
    assert several.keys() - read(linear / "metrics.json")["val"].keys() == {
        "mean_average_precision"
    }
    history = (linear / "history.jsonl").read_text("utf-8").splitlines()
    assert named(told["history.jsonl"]) == {key for line in history for key in json.loads(line)}
    configs = [read(run / "model/config.json")["frostline"] for run in (linear, many)]
    # None of these runs hears sounds.
    in_folders = {key for one in configs for key in one} | {"spectrogram"}
    assert named(told["The model folder"]) == in_folders
    other = catalog.find("torchvision:shufflenet_v2_x0_5?weights=none")
    written = kind_of("torchvision").configuration(other.module, other.record, [])
    of_keras = {"graph", "classifier"}
    assert named(told["Of another kind than timm's"]) - of_keras == written["frostline"].keys()
    folder = next((desk / "cache").glob("*/key.json")).parent
    assert named(told["key.json"]) == read(folder / "key.json").keys()
    assert named(told["Chunks"]) == names_in_chunk(next(folder.glob("*.safetensors")))


def head_of(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()[0].split(",")


def names_in_chunk(path: Path) -> set[str]:
    import safetensors

    with safetensors.safe_open(path, framework="np") as opened:
        return set(opened.keys())


def test_the_changelog_has_the_version() -> None:
    assert f"## [{frostline.__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")
