"""`frostline.train` as Python users call it."""

from pathlib import Path
from typing import Any

import pytest

import frostline
from frostline.base.console import QUIET
from frostline.base.errors import RecipeError
from frostline.recipe import Recipe

SMALL: dict[str, Any] = {
    "recipe": "quick",
    "backbone": "timm:test_resnet?pretrained=false",
    "image_px": 64,
    "device": "cpu",
    "cache": "always",
    "engine": "eager",
    "folds": 1,
    "console": QUIET,
}


def test_without_out_each_run_has_a_folder_of_its_own(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos.parent)
    assert frostline.train("photos", **SMALL).path == Path("runs/photos")
    again = frostline.train(photos, val=0.3, **SMALL)
    assert again.path == Path("runs/photos-2")
    assert again.metrics["val"]["n"] == 12


def test_an_interrupted_run_is_gone_on_with(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos.parent)
    made = frostline.train(photos, **SMALL)
    (made.path / "metrics.json").unlink()
    assert frostline.train(photos, **SMALL).path == made.path


def test_a_frame_has_no_name(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = pytest.importorskip("pandas")
    monkeypatch.chdir(photos.parent)
    paths = sorted(photos.glob("*/*.png"))
    frame = pandas.DataFrame({"path": paths, "label": [path.parent.name for path in paths]})
    made = frostline.train(frame, **SMALL)
    assert made.path == Path("runs/run")
    assert made.evaluate(frame)["n"] == 36


@pytest.mark.parametrize("call", [frostline.train, frostline.plan, frostline.lr_find])
def test_a_misspelt_option_is_told_before_anything_is_done(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match=r"no option is called backbon\. Did you mean backbone\?"):
        call("nowhere", backbon="timm:resnet18")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("more", "words"),
    [({"epochs": 2}, "^epochs: goes with a recipe"), ({"settings": "seed=1"}, "^settings: goes")],
)
def test_a_whole_recipe_stands_alone(more: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        frostline.train("photos", recipe=Recipe(), **more)


def test_options_change_a_plan(photos: Path) -> None:
    found = frostline.plan(photos, **SMALL | {"seed": 5, "settings": {"data.val": 0.5}})
    assert (found.recipe.seed, found.recipe.data.val) == (5, 0.5)
