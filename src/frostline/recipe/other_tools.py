"""Words of other tools: those that mean an option of ours are taken, the others are answered."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from frostline.base.errors import FrostlineError

_OPTION = re.compile(r"--?[A-Za-z][\w-]*")
_ASSIGNMENT = re.compile(r"([A-Za-z]\w*)=(.*)", re.DOTALL)
# Where these words are known: in the commands that train, or prepare for it.
COMMANDS = ("train", "plan", "lr-find")

# Options that mean the same, by ours.
_SAME: Mapping[str, tuple[str, ...]] = {
    "--backbone": ("--model", "--arch", "--architecture", "--network", "--net", "--base-model"),
    "--image-px": ("--imgsz", "--img", "--img-size", "--image-size", "--input-size", "--size"),
    "--batch-size": ("--batch", "--bs", "-b", "--train-batch-size"),
    "--epochs": ("--epoch", "--n-epochs", "--num-epochs", "--max-epochs", "-e"),
    "--lr": ("--lr0", "--learning-rate", "--base-lr", "--max-lr"),
    "--weight-decay": ("--wd", "--decay"),
    "--val": ("--val-split", "--validation-split", "--valid-pct", "--val-size"),
    "--test": ("--test-split", "--test-size"),
    "--out": ("--output", "--output-dir", "--out-dir", "--save-dir", "--outdir", "-o"),
    "--time": ("--time-limit", "--max-time"),
    "--tracker": ("--logger", "--report-to"),
    "--optimizer": ("--opt", "--optim"),
    "--seed": ("--random-state", "--random-seed"),
    "--cache-dir": ("--cache-folder",),
}
_TAKEN = {word: ours for ours, words in _SAME.items() for word in words}
# The pictures, which need no option here.
_PHOTOS = ("--data", "--data-dir", "--dataset", "--train-dir", "--source", "--input")
_NO_NEED_OF_WORKERS = "pictures are read on all cores; leave it out."
_RUN = "the run folder is named by --out RUN; without, it is the next free runs/PHOTOS."
_KEEPS = "a finished run is never overwritten; leave --out out for the next free folder."
_DEVICE = "name the device: --device cuda:0, or --device cpu."
_PRECISION = "the type to compute in is chosen for the device; --precision bf16 asks for it."
_AUGMENT = "training pictures are varied by --augment none, light, standard or strong."
_ANSWERS: Mapping[str, str] = {
    "--freeze": "all below the frost line is frozen, and the line is chosen for you; "
    "--line NAME names it, and `frostline lines BACKBONE` lists them.",
    "--unfreeze": "all above the frost line is trained, and the line is chosen for you; "
    "--line NAME names it, and `frostline lines BACKBONE` lists them.",
    "--workers": _NO_NEED_OF_WORKERS,
    "--num-workers": _NO_NEED_OF_WORKERS,
    "-j": _NO_NEED_OF_WORKERS,
    "--name": _RUN,
    "--project": _RUN,
    "--run-name": _RUN,
    "--experiment": _RUN,
    "--exist-ok": _KEEPS,
    "--force": _KEEPS,
    "--overwrite": _KEEPS,
    "--resume": "the same command goes on with a run that was interrupted; leave it out.",
    "--pretrained": "that is how it is; --set backbone.pretrained=false takes random weights.",
    "--class-weights": "rare classes count more with --set stages.0.balance=weights.",
    "--label-smoothing": "write --set stages.0.label_smoothing=0.1.",
    "--dropout": "write --set stages.0.dropout=0.2, or --head mlp:256,dropout=0.5.",
    "--momentum": "SGD's is 0.9; --optimizer sgd takes it.",
    "--patience": "settings are compared, and the best is kept; leave it out.",
    "--early-stopping": "settings are compared, and the best is kept; leave it out.",
    "--warmup": "write --set stages.0.warmup=0.1, the share of all steps.",
    "--warmup-epochs": "write --set stages.0.warmup=0.1, the share of all steps.",
    "--scheduler": "write --set stages.0.schedule=cosine.",
    "--cos-lr": "write --set stages.0.schedule=cosine.",
    "--lrf": "the rate falls to 0; write --set stages.0.schedule=constant against it.",
    "--gpu": _DEVICE,
    "--gpus": _DEVICE,
    "--gpu-id": _DEVICE,
    "--cuda": _DEVICE,
    "--no-cuda": "name the device: --device cpu.",
    "--amp": _PRECISION,
    "--fp16": _PRECISION,
    "--half": _PRECISION,
    "--bf16": "write --precision bf16.",
    "--augmentations": _AUGMENT,
    "--aug": _AUGMENT,
    "--auto-augment": _AUGMENT,
    "--num-classes": "the classes are those of the folders, or of the column label; leave it out.",
    "--classes": "the classes are those of the folders, or of the column label; leave it out.",
    "--task": "pictures are classified, that is all; leave it out.",
    "--dry-run": "`frostline plan PHOTOS` says what train would do.",
    "--save-period": "checkpoints are kept without asking; leave it out.",
    "--plots": "report.html and curves are always written; leave it out.",
}


def hint(name: str) -> str:
    """Returns what to say of a keyword argument of another tool; nothing where it is none.

    Args:
        name: As it is written in Python, such as `img_size`.
    """
    word = f"--{name.replace('_', '-')}"
    if ours := _TAKEN.get(word, ""):
        return f" Here it is {ours.removeprefix('--').replace('-', '_')}."
    return f" Of that word: {_ANSWERS[word]}" if word in _ANSWERS else ""


def understood(typed: Sequence[str], known: Collection[str]) -> tuple[list[str], list[str]]:
    """Returns what was typed in our own words, and a note for each word that was replaced.

    Args:
        typed: What was typed, the command first.
        known: The command's own options, which stay as they are.

    Raises:
        FrostlineError: Where a word of another tool has no counterpart; says what to do.
    """
    if not typed or typed[0] not in COMMANDS:
        return list(typed), []
    words, notes = [typed[0]], []
    for word in _taken_apart(typed[1:], known):
        option, equals, value = word.partition("=")
        if not _OPTION.fullmatch(option) or option in known:
            words.append(word)
            continue
        dashed = "-" + option[1:].replace("_", "-")
        ours = dashed if dashed in known else _TAKEN.get(dashed, "")
        if ours:
            words.append(f"{ours}{equals}{value}")
            notes += [f"{option}: taken as {ours}"] if ours != dashed else []
        elif dashed in _PHOTOS:
            words += [value] if equals else []
            notes.append(f"{option}: not needed; the pictures stand alone: {typed[0]} PHOTOS")
        elif dashed in _ANSWERS:
            raise FrostlineError(f"{option}: not an option here: {_ANSWERS[dashed]}")
        else:
            words.append(word)
    return words, notes


def _taken_apart(typed: Sequence[str], known: Collection[str]) -> Iterator[str]:
    before = ""
    for word in typed:
        # What follows an option is its value, above all of --set KEY=VALUE.
        is_value = before.startswith("--") and "=" not in before
        yield from ([word] if is_value else _parts(word, known))
        before = word


def _parts(word: str, known: Collection[str]) -> list[str]:
    """Takes `epochs=3` apart, which is how some tools are told, where no file is called so."""
    found = _ASSIGNMENT.fullmatch(word)
    if found is None or Path(word).exists():
        return [word]
    option = f"--{found[1].replace('_', '-')}"
    is_word = option in known or option in _TAKEN or option in _PHOTOS or option in _ANSWERS
    return [option, found[2]] if is_word else [word]
