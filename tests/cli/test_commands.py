"""The commands around training, as they are typed: plan, recipe, summary, lr-find, trackers."""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from frostline import api, recipe
from frostline.base.errors import FrostlineError
from frostline.cli import main
from frostline.run.folder import RunFolder

NAME = "timm:test_resnet?pretrained=false"
NETWORK = ("--backbone", NAME, "--image-px", "48", "--device", "cpu", "--precision", "fp32")
SETTLED = (*NETWORK, "--engine", "eager", "--cache", "always", "--views", "2", "--val", "0.3")
SMALL = """
[head]
start = "random"

[[stages]]
line = "top"
epochs = 2
batch_size = 8
lr = 0.01

[[stages]]
line = "layer3"
epochs = 2
batch_size = 8
lr = 0.003
"""

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def typed(*words: object) -> list[str]:
    return [str(word) for word in words]


def shown(capsys: Capture, *words: object) -> tuple[str, str]:
    """Runs a command that must succeed; returns its result and what it says."""
    capsys.readouterr()
    status = main(typed(*words))
    got = capsys.readouterr()
    assert status == 0, got.err
    return got.out, got.err


def refused(capsys: Capture, *words: object) -> str:
    """Runs a command that must fail; returns its one line."""
    capsys.readouterr()
    assert main(typed(*words)) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    (line,) = [line for line in err.splitlines() if line.startswith("frostline: ")]
    assert err.endswith(line + "\n")
    return line.removeprefix("frostline: ")


# Help.


@pytest.mark.parametrize(
    "command",
    ["plan", "recipe", "recipe list", "recipe show", "recipe check", "lr-find", "summary"],
)
def test_help_imports_nothing_heavy(command: str) -> None:
    check = (
        "import sys; from frostline.cli import main; "
        f"status = main({[*command.split(), '--help']!r}); "
        "heavy = {'torch', 'timm', 'sklearn', 'numpy', 'PIL', 'openvino'} & set(sys.modules); "
        "sys.exit(repr(heavy) if heavy else status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: frostline {command} ")


@pytest.mark.parametrize("words", [("list",), ("show", "thaw"), ("check", "classic")])
def test_recipe_imports_nothing_heavy(words: Sequence[str]) -> None:
    check = (
        "import sys; from frostline.cli import main; "
        f"status = main(['recipe', *{list(words)!r}]); "
        "sys.exit(status or any(name in sys.modules for name in ('torch', 'timm')))"
    )
    assert subprocess.run([sys.executable, "-c", check], stdout=subprocess.DEVNULL).returncode == 0


# Recipes.


def test_recipes_are_listed(capsys: Capture) -> None:
    out, _ = shown(capsys, "recipe", "list")
    names = [line.split()[0] for line in out.splitlines()[1:]]
    assert names[0] == "thaw"
    assert set(names) == {"thaw", "classic", "full", "quick", "scratch"}
    listed = json.loads(shown(capsys, "recipe", "list", "--json")[0])
    assert [one["name"] for one in listed] == names
    assert all(one["about"] for one in listed)


@pytest.mark.parametrize("name", recipe.builtin())
def test_what_is_shown_is_the_recipe(name: str, tmp_path: Path, capsys: Capture) -> None:
    out, _ = shown(capsys, "recipe", "show", name)
    (tmp_path / "shown.toml").write_text(out)
    assert recipe.read(tmp_path / "shown.toml") == recipe.load(name)
    again, _ = shown(capsys, "recipe", "show", tmp_path / "shown.toml")
    assert again == out


def test_a_value_that_was_set_is_shown(capsys: Capture) -> None:
    out, _ = shown(capsys, "recipe", "show", "thaw", "--set", "stages.0.lr=1e-5")
    assert "lr = 1e-05" in out
    out, _ = shown(capsys, "recipe", "check", "thaw", "--set", "stages.0.lr=1e-5")
    assert out == "thaw: holds; stages at auto\n"


def test_a_recipe_with_several_mistakes_has_them_all_named(
    tmp_path: Path, photos: Path, capsys: Capture
) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(
        'sed = 1\n[data]\nval = 2.0\n[views]\nfil = "edge"\nzoom = "much"\n'
        '[[stages]]\nlr = -1.0\noptimizer = "adamv"\n[[stages]]\nepochs = 0\nbatch_size = 1.5\n'
    )
    want = (
        "sed is not a key of a recipe. Did you mean seed",
        "data.val must be a share in [0, 1), not 2.0.",
        "views.fil is not a key of a recipe. Did you mean fill",
        "views.zoom must be a number, not 'much'.",
        "stages.0.lr must be above 0 and below 100, not -1.0.",
        "stages.0.optimizer must be one of adamw, adam, sgd, rmsprop, not 'adamv'. Did you mean",
        "stages.1.epochs must be at least 1, not 0.",
        "stages.1.batch_size must be a whole number, not 1.5.",
    )
    for words in (("recipe", "check", path), ("recipe", "show", path)):
        line = refused(capsys, *words)
        assert str(path) in line
        for problem in want:
            assert problem in line
    line = refused(capsys, "train", photos, "--out", tmp_path / "run", "--recipe", path)
    assert all(problem in line for problem in want)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            'head.layers = [{ type = "pool", kind = "avg", kernel = 9 }, { type = "linear" }]',
            "head.layers.0 (pool 9 × 9): does not fit",
        ),
        ('[[stages]]\nline = "layer9"', "stages.0.line: "),
        ('[[stages]]\nline = "layer2"\n[[stages]]\nline = "layer4"', "stages.1.line: "),
    ],
)
def test_what_only_the_network_can_tell_names_the_file_too(
    text: str, words: str, tmp_path: Path, photos: Path, capsys: Capture
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    for command in (("train", photos, "--out", tmp_path / "run"), ("plan", photos)):
        line = refused(capsys, *command, "--recipe", path, *NETWORK)
        assert line.startswith(f"{path}: {words}")
    with pytest.raises(FrostlineError, match=re.escape(f"{path}: {words}")):
        api.train(
            photos, out=tmp_path / "run", recipe=str(path), settings=[f"backbone.name={NAME}"]
        )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ("--recipe", "thwa"),
            "thwa: no recipe of that name; there are thaw, classic, full, quick, scratch. Did you",
        ),
        (("--recipe", "none.toml"), "none.toml: no such recipe file."),
        (
            ("--recipe", "classic", "--line", "layer3"),
            "--line: does not say which of the 2 stages of recipe classic is meant. Write --set",
        ),
        (
            ("--recipe", "quick", "--suffix-lr", "1"),
            "--suffix-lr: recipe quick has no stage, only a new last layer, which has none.",
        ),
        (
            ("--set", "nonsense"),
            "recipe thaw, --set: 'nonsense' must be KEY=VALUE, such as stages.0.lr=1e-3.",
        ),
        (
            ("--set", "stages.7.lr=1"),
            "recipe thaw, --set: stages.7.lr: stages has 1 entry (0), not '7'.",
        ),
        (("--set", "stages.0.rate=1"), "recipe thaw: stages.0.rate is not a key of a recipe."),
        (("--set", "stages.0.lr=fast"), "recipe thaw: stages.0.lr must be a number, not 'fast'."),
        (("--disk", "lots"), "--disk: must be a number with its unit (4GiB, 500MB), not 'lots'."),
        (("--disk", "5"), "--disk: must be a number with its unit (4GiB, 500MB), not '5'."),
        (
            ("--time", "5parsecs"),
            "--time: must be a number with its unit (90s, 10m, 2h), not '5parsecs'.",
        ),
        (
            ("--live", "--cache", "always"),
            "recipe thaw: views.live makes new views in every epoch, which compute.cache = ",
        ),
        (("--engine", "opnvino"), "argument --engine: invalid choice: 'opnvino' (choose from "),
        (
            ("--tracker", "tensorbord"),
            (
                "recipe thaw: watch.trackers.0 must be one of tensorboard, aim, clearml, comet_ml, "
                "dvclive, mlflow, swanlab, trackio, wandb, not 'tensorbord'. Did you mean tensor"
            ),
        ),
    ],
)
def test_a_slip_of_the_pen(
    photos: Path, tmp_path: Path, capsys: Capture, words: Sequence[str], line: str
) -> None:
    said = refused(capsys, "train", photos, "--out", tmp_path / "run", *SETTLED, *words)
    assert said.startswith(line)
    assert not (tmp_path / "run" / "recipe.toml").exists()


@pytest.mark.parametrize(
    ("budget", "unit"),
    [(("--disk", "1KB"), "bytes"), (("--time", "1s"), "s"), (("--memory", "1MB"), "KiB")],
)
def test_a_budget_nothing_fits_in(
    photos: Path,
    small: Path,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    budget: Sequence[str],
    unit: str,
) -> None:
    monkeypatch.setattr("frostline.planner.measure.AT_LEAST_S", 0.01)
    words = ("--recipe", small, *SETTLED, *budget)
    if budget[0] == "--time":
        words = (*words, "--set", "stages.1.epochs=100000")
    line = refused(capsys, "train", photos, "--out", tmp_path / "run", *words)
    assert line.startswith(f"budget: nothing fits within {budget[0][2:]} ")
    assert f" {unit} (needs " in line
    assert line.endswith("Raise it, choose a later line, fewer views or fewer epochs.")


# The plan.


@pytest.fixture
def quick_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frostline.planner.measure.AT_LEAST_S", 0.01)
    monkeypatch.setattr("frostline.planner.measure.DISK_BYTES", 1 << 16)


def test_plan_says_what_train_would_choose(
    photos: Path, small: Path, tmp_path: Path, capsys: Capture, quick_measures: None
) -> None:
    words = ("plan", photos, "--recipe", small, *NETWORK, "--augment", "light", "--val", "0.3")
    out, err = shown(capsys, *words)
    assert out == ""
    head = next(line for line in err.splitlines() if "break-even" in line)
    names = "way storage bytes first pass per epoch break-even total"
    assert " ".join(head.split()) == names
    assert err.count("<- chosen: ") == 1
    assert "keep at layer3, 2 views (eager)" in err
    assert "recompute from layer3 (eager)" in err
    assert "engine eager-cpu-float32-folded: agrees with float32 to " in err
    facts = json.loads(shown(capsys, *words, "--json")[0])
    assert facts["line"] == "layer3"
    assert facts["lines"] == ["pooled", "layer3"]
    assert {"estimate", "options", "rates", "disk", "why", "engine", "views", "cache"} <= set(facts)
    assert {
        "line",
        "engine",
        "views",
        "keep",
        "storage",
        "new_bytes",
        "first_pass_s",
        "epoch_s",
    } <= (set(facts["estimate"]))
    assert not (tmp_path / "run").exists()


def test_plan_refuses_what_train_would(
    photos: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frostline.training.trackers.find_spec", lambda name: None)
    assert "wandb is not installed" in refused(capsys, "plan", photos, "--tracker", "wandb")
    (photos / "red" / "text.jpg").write_text("I am no picture.")
    line = refused(capsys, "plan", photos, *NETWORK, "--strict")
    assert "1 image cannot be read (--strict)" in line


def test_plan_trains_nothing_and_keeps_nothing(
    photos: Path, small: Path, tmp_path: Path, capsys: Capture, quick_measures: None
) -> None:
    cache = tmp_path / "own-cache"
    shown(capsys, "plan", photos, "--recipe", small, *NETWORK, "--cache-dir", cache)
    assert not list(cache.rglob("*.safetensors"))


# Summary.


def test_summary_of_a_backbone_and_of_a_run(
    photos: Path, small: Path, tmp_path: Path, capsys: Capture
) -> None:
    out, _ = shown(capsys, "summary", NAME, "--image-px", 48, "--line", "layer3", "--classes", 3)
    assert "layer4" in out
    found = json.loads(
        shown(
            capsys, "summary", NAME, "--image-px", 48, "--line", "layer3", "--classes", 3, "--json"
        )[0]
    )
    assert found
    train(capsys, photos, small, tmp_path / "run")
    out, _ = shown(capsys, "summary", tmp_path / "run")
    assert "layer4" in out
    # What the run counted as trained is what its summary counts.
    proof = RunFolder(tmp_path / "run").read_metrics()["stages"][-1]
    assert f"{proof['trained_parameters']:,}" in out
    assert f"{proof['frozen_parameters']:,}" in out


def train(capsys: Capture, photos: Path, small: Path, out: Path, *more: object) -> str:
    words = ("train", photos, "--out", out, "--recipe", small, *SETTLED, *more)
    return shown(capsys, *words)[1]


# The learning-rate finder.


def test_lr_find_draws_and_suggests(
    photos: Path, small: Path, tmp_path: Path, capsys: Capture
) -> None:
    stem = tmp_path / "found"
    words = ("lr-find", photos, "--recipe", small, *SETTLED, "--out", stem, "--steps", 40)
    out, err = shown(capsys, *words)
    assert out.startswith("suggested rate of the head: ")
    assert err.endswith(f"{stem}.png and {stem}.svg: the losses\n")
    assert (tmp_path / "found.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert "<svg" in (tmp_path / "found.svg").read_text()
    found = json.loads(shown(capsys, *words, "--stage", 0, "--json")[0])
    assert list(found) == ["rates", "losses", "suggestion", "rule"]
    assert found["rates"][0] == pytest.approx(1e-7)
    assert len(found["rates"]) == len(found["losses"]) <= 40
    assert found["suggestion"] in found["rates"]
    again = json.loads(shown(capsys, *words, "--stage", 0, "--json")[0])
    assert again == found


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (("--stage", 9), "--stage: the recipe has 2 stages, counted from 0; got 9."),
        (("--stage", -1), "--stage: the recipe has 2 stages, counted from 0; got -1."),
        (("--steps", 3), "lr-find: steps must be 20 or more, got 3. 100 is a good number."),
        (("--start", 1, "--end", 0.1), "lr-find: the rates must rise from above 0, got 1 to 0.1."),
    ],
)
def test_lr_find_of_what_is_not_there(
    photos: Path, small: Path, tmp_path: Path, capsys: Capture, more: Sequence[Any], line: str
) -> None:
    words = ("lr-find", photos, "--recipe", small, *SETTLED, "--out", tmp_path / "found")
    assert refused(capsys, *words, *more).startswith(line)
    assert not (tmp_path / "found.png").exists()


# Watching.


def test_a_run_has_its_curves(photos: Path, small: Path, tmp_path: Path, capsys: Capture) -> None:
    err = train(capsys, photos, small, tmp_path / "run", "--verbose")
    assert (tmp_path / "run" / "curves.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert "<svg" in (tmp_path / "run" / "curves.svg").read_text()
    assert "  epoch 2/2: train loss " in err


def test_tensorboard_gets_scalars_and_histograms_of_what_is_frozen_unchanged(
    photos: Path, small: Path, tmp_path: Path, capsys: Capture
) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(capsys, photos, small, tmp_path / "run", "--tracker", "tensorboard", "--histograms")
    run = RunFolder(tmp_path / "run")
    events = reader.EventAccumulator(str(run.tensorboard), size_guidance={"histograms": 0})
    events.Reload()
    history = run.read_history()
    for name in ("train_loss", "val_accuracy", "lr"):
        got = [(event.step, event.value) for event in events.Scalars(name)]
        want = [(step, pytest.approx(line[name])) for step, line in enumerate(history, 1)]
        assert got == want
    changed = set()
    names = [tag for tag in events.Tags()["histograms"] if tag.startswith("weights/")]
    for name in names:
        seen = [event.histogram_value for event in events.Histograms(name)]
        assert len(seen) == 4
        # Its first two are of the first stage, which trains the head alone.
        if any(one != seen[0] for one in seen):
            changed.add(name)
        if "backbone" in name:
            assert seen[0] == seen[1], name
    assert changed
    assert all("layer4" in name or "head" in name for name in changed)
    assert any("layer4" in name for name in changed)
    assert any("layer1" in name for name in names)
    gradients = [tag for tag in events.Tags()["histograms"] if tag.startswith("gradients/")]
    assert gradients
    assert all("layer4" in name or "head" in name for name in gradients)


def test_json_is_metrics_json(photos: Path, small: Path, tmp_path: Path, capsys: Capture) -> None:
    words = ("train", photos, "--out", tmp_path / "run", "--recipe", small, *SETTLED, "--json")
    out, _ = shown(capsys, *words)
    assert json.loads(out) == json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert list(json.loads(out)) == ["val", "stages"]
