"""The model card: what lies beside the weights, for whoever finds the folder later."""

from collections.abc import Mapping
from typing import Any

from frostline import recipe
from frostline.base.files import write_text
from frostline.base.paths import without_folders
from frostline.images.nouns import nouns_of
from frostline.networks import folder_config
from frostline.networks.folder_config import ModelFolder
from frostline.report import facts
from frostline.run.folder import RunFolder
from frostline.scores.sentences import doubts, has_several, verdict

_USE = """\
## Use

    frostline predict PATH {what}
"""
_TIMM = """\
    model = timm.create_model("local-dir:PATH", pretrained=True).eval()

gives the same network in timm; its `pretrained_cfg` holds preprocessing and class names.
"""
_BARE = """\
    model = timm.create_model("local-dir:PATH", pretrained=True, num_classes=0).eval()

gives the bare backbone in timm. The head, which timm cannot express, lies in `head.safetensors`.
"""
_MODULE = """\
    network = frostline.backbone("dir:PATH").module

gives the network of {library} in Python{bare}.
"""


def write(run: RunFolder) -> None:
    """Writes `model/README.md` from what the run folder holds.

    Raises:
        RunError: Where the run is unfinished.
        DiskError: Where it cannot be written.
    """
    folder = folder_config.read(run.model, str(run.model))
    made = recipe.read(run.recipe)
    labels = folder.config["label_names"]
    licence = folder.licence
    task = "audio" if made.data.sound else "image"
    front = ["---", f"library_name: {folder.kind}", f"pipeline_tag: {task}-classification"]
    front += [f"license: {licence}"] if licence else []
    scores = run.read_scores()
    several = folder.block.get("targets") == "multilabel" or any(map(has_several, scores.values()))
    told = "Says which of" if several else "Tells"
    nouns = nouns_of(made.data.sound)
    use = _USE.format(what=nouns.plain.upper())
    which = f"classes are in a {nouns.plain}" if several else "classes apart"
    lines = [
        *front,
        "---",
        "",
        f"# {run.path.resolve().name}",
        "",
        f"{told} {len(labels)} {which}: {', '.join(labels[:50])}"
        + (", …" if len(labels) > 50 else "."),
        "",
        f"Made with Frostline from `{without_folders(made.backbone.name)}` "
        f"({folder.architecture}), "
        f"head: {facts.head(made.head)}. "
        + ("" if licence else "The backbone does not state a licence for its weights."),
        "",
        "## Scores",
        "",
        *_sentences(scores, nouns.plain),
        "",
        *_scores(scores, several, nouns.term),
    ]
    lines += ["", "The head was chosen on `val`; only `test` is free of that choice.", "", use]
    lines.append(_use(folder))
    write_text(run.model / "README.md", "\n".join(lines))


def _use(folder: ModelFolder) -> str:
    bare = "head" in folder.block
    if folder.kind == "timm":
        return _BARE if bare else _TIMM
    note = ", without the head, which lies in `head.safetensors`" if bare else ""
    return _MODULE.format(library=folder.kind, bare=note)


def _sentences(scores: Mapping[str, Mapping[str, Any]], noun: str) -> list[str]:
    return [
        f"On `{split}`: {' '.join([verdict(found), *doubts(found, noun=noun)])}"
        for split, found in scores.items()
    ]


def _scores(scores: Mapping[str, Mapping[str, Any]], several: bool, term: str) -> list[str]:
    """Returns the table of scores as lines of Markdown."""
    heads = ["split", f"{term}s", "exact match" if several else "accuracy", "95 % interval"]
    heads += ["mAP"] if several else []
    rows = [[*heads, "log-loss", "macro F1"]]
    rows.append(["---"] * len(rows[0]))
    for split, found in scores.items():
        low, high = found["accuracy_ci95"]
        row = [split, str(found["n"]), _shown(found["accuracy"]), f"{low:.3f} to {high:.3f}"]
        row += [_shown(found["mean_average_precision"])] if several else []
        rows.append([*row, _shown(found["log_loss"]), _shown(found["macro_f1"])])
    return [f"| {' | '.join(row)} |" for row in rows]


def _shown(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4f}"
