"""Help, shell completion, and the words of other tools."""

import argparse
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import make_photos
from frostline.base.errors import FrostlineError
from frostline.cli import completion, main
from frostline.cli.parser import make_parser
from frostline.recipe.other_tools import understood

Capture = pytest.CaptureFixture[str]


def printed(capsys: Capture, *words: str, status: int = 0) -> str:
    assert main(list(words)) == status
    return capsys.readouterr().out


@pytest.mark.parametrize("words", [(), ("help",), ("--help",)])
def test_help_on_all_commands_is_by_need(capsys: Capture, words: tuple[str, ...]) -> None:
    shown = printed(capsys, *words)
    titles = ("every day:", "look closer:", "for experts:", "options:", "examples:")
    places = [shown.index(title) for title in titles]
    assert places == sorted(places)
    assert places[0] < shown.index("  predict ") < places[1] < shown.index("  plan ") < places[2]


@pytest.mark.parametrize("command", ["recipe", "cache", "weights"])
def test_a_command_without_its_action_tells_what_there_is(capsys: Capture, command: str) -> None:
    assert printed(capsys, command).startswith(f"usage: frostline {command} ")


def test_help_on_train_is_short_and_all_of_it_is_to_be_had(capsys: Capture) -> None:
    short = printed(capsys, "help", "train")
    assert short == printed(capsys, "train", "--help") == printed(capsys, "train", "-h")
    options = [line.split()[0] for line in short.splitlines() if line.startswith("  --")]
    assert "--out" in options
    assert len(options) <= 14
    assert "frostline train --help-all" in short
    whole = printed(capsys, "train", "--help-all")
    assert "--weight-decay" in whole
    assert "--weight-decay" not in short


def test_every_option_of_a_strange_word_names_its_command(capsys: Capture) -> None:
    assert main(["lines", "timm:resnet50", "--nonsense"]) == 2
    assert capsys.readouterr().err.endswith("See frostline lines --help.\n")
    assert main(["help", "trian"]) == 2
    assert "Did you mean train?" in capsys.readouterr().err


# Completion.


def test_completion_knows_every_command_option_and_choice() -> None:
    root = completion.described(make_parser())
    for script in (completion.bash(root), completion.zsh(root), completion.fish(root)):
        for words in ("lr-find", "help-all", "inspect", "multilabel", "openvino", "weight-decay"):
            assert words in script, words


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("frostline pre", ["predict"]),
        ("frostline recipe ch", ["check"]),
        ("frostline train --weight-", ["--weight-decay"]),
        ("frostline train photos --cache al", ["always"]),
        ("frostline cache list --js", ["--json"]),
        ("frostline train pho", []),
    ],
)
def test_bash_completes(tmp_path: Path, typed: str, offered: list[str]) -> None:
    script = tmp_path / "frostline.bash"
    script.write_text(completion.bash(completion.described(make_parser())))
    words = typed.split(" ")
    ask = (
        f"source {script}; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; "
        'COMPREPLY=(); _frostline; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout.split() == offered
    assert done.stderr == ""


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_read_their_script(tmp_path: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    script = tmp_path / "script"
    root = completion.described(make_parser())
    script.write_text({"zsh": completion.zsh, "fish": completion.fish}[shell](root))
    subprocess.run([shell, "-n", str(script)], check=True)


def test_completion_is_printed(capsys: Capture) -> None:
    assert "complete -o default" in printed(capsys, "completion", "bash")
    assert main(["completion", "tcsh"]) == 2
    assert "invalid choice: 'tcsh'" in capsys.readouterr().err


# The words of other tools.


def known_to(command: str) -> set[str]:
    for action in make_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            return {s for one in action.choices[command]._actions for s in one.option_strings}
    raise AssertionError


@pytest.mark.parametrize(
    ("typed", "ours"),
    [
        ("train photos --model timm:x", "train photos --backbone timm:x"),
        ("train photos --imgsz=320 --batch 8", "train photos --image-px=320 --batch-size 8"),
        ("train photos --lr0 0.1 --n_epochs 3", "train photos --lr 0.1 --epochs 3"),
        ("train --data photos", "train photos"),
        ("train --data=photos", "train photos"),
        ("train data=photos model=timm:x", "train photos --backbone timm:x"),
        ("plan photos --weight_decay 0.1", "plan photos --weight-decay 0.1"),
        ("train photos --set seed=3 --out epochs=3", "train photos --set seed=3 --out epochs=3"),
        ("train photos --set=epochs=3", "train photos --set=epochs=3"),
        ("predict run --model x", "predict run --model x"),
    ],
)
def test_words_of_other_tools_are_taken_for_ours(typed: str, ours: str) -> None:
    words = typed.split()
    assert understood(words, known_to(words[0]))[0] == ours.split()


def test_what_was_taken_for_what_is_said(tmp_path: Path, capsys: Capture) -> None:
    photos = make_photos(tmp_path / "photos", {"blue": 1})
    assert main(["train", str(photos), "--model", "timm:test_resnet", "--data_dir", "x"]) == 2
    said = capsys.readouterr().err
    assert "unrecognized arguments: x" in said
    assert main(["train", str(photos), "--model", "timm:test_resnet"]) == 2
    assert "--model: taken as --backbone\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("--freeze 10", "all below the frost line is frozen"),
        ("--workers 4", "pictures are read on all cores"),
        ("--name x", "the run folder is named by --out RUN"),
        ("--project x", "the run folder is named by --out RUN"),
        ("--exist-ok", "a finished run is never overwritten"),
        ("--resume", "the same command goes on"),
        ("--class_weights auto", "--set stages.0.balance=weights"),
        ("patience=5", "settings are compared"),
        ("--gpu 0", "--device cuda:0"),
    ],
)
def test_words_without_a_counterpart_are_answered(capsys: Capture, words: str, answer: str) -> None:
    assert main(["train", "photos", *words.split()]) == 2
    said = capsys.readouterr().err
    assert said.startswith("frostline: --")
    assert answer in said
    assert said.count("\n") == 1


def test_what_answers_advise_is_there() -> None:
    from frostline import recipe
    from frostline.recipe import other_tools

    options = known_to("train")
    assert set(other_tools._SAME) <= options
    assert not set(other_tools._TAKEN) & options
    assert not set(other_tools._ANSWERS) & options
    for answer in other_tools._ANSWERS.values():
        for setting in (word.rstrip(".,;") for word in answer.split("--set ")[1:]):
            recipe.load("thaw", [setting.split()[0].rstrip(".,;")])


def test_a_word_that_nobody_knows_stays_for_the_parser() -> None:
    assert understood(["train", "x", "--nonsense"], known_to("train"))[0][-1] == "--nonsense"
    with pytest.raises(FrostlineError, match="--freeze: not an option here"):
        understood(["train", "x", "--freeze=10"], known_to("train"))
