"""The model card: what lies beside the weights, for whoever finds the folder later."""

import json

from frostline import recipe
from frostline.files import write_text
from frostline.runfolder import RunFolder

_USE = """\
## Use

    frostline predict PATH picture.jpg
"""
_TIMM = """\
    model = timm.create_model("local-dir:PATH", pretrained=True).eval()

gives the same network in timm; its `pretrained_cfg` holds preprocessing and class names.
"""
_BARE = """\
    model = timm.create_model("local-dir:PATH", pretrained=True, num_classes=0).eval()

gives the bare backbone in timm. The head, which timm cannot express, lies in `head.safetensors`.
"""


def write(run: RunFolder) -> None:
    """Writes `model/README.md` from what the run folder holds.

    Raises:
        RunError: Where the run is unfinished.
        DiskError: Where it cannot be written.
    """
    config = json.loads((run.model / "config.json").read_text("utf-8"))
    made = recipe.read(run.recipe)
    labels = config["label_names"]
    licence = config["pretrained_cfg"].get("license")
    front = ["---", "library_name: timm", "pipeline_tag: image-classification"]
    front += [f"license: {licence}"] if licence else []
    lines = [
        *front,
        "---",
        "",
        f"# {run.path.resolve().name}",
        "",
        f"Tells {len(labels)} classes apart: {', '.join(labels[:50])}"
        + (", …" if len(labels) > 50 else "."),
        "",
        f"Made with Frostline from `{made.backbone.name}` ({config['architecture']}), "
        f"head `{made.head.spec}` with {made.head.pooling} pooling. "
        + ("" if licence else "The backbone does not state a licence for its weights."),
        "",
        "## Scores",
        "",
        "| split | images | accuracy | 95 % interval | log-loss | macro F1 |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for split, found in run.read_metrics().items():
        low, high = found["accuracy_ci95"]
        lines.append(
            f"| {split} | {found['n']} | {found['accuracy']:.4f} | {low:.3f} to {high:.3f} | "
            f"{found['log_loss']:.4f} | {found['macro_f1']:.4f} |"
        )
    lines += ["", "The head was chosen on `val`; only `test` is free of that choice.", "", _USE]
    lines.append(_BARE if "head" in config["frostline"] else _TIMM)
    write_text(run.model / "README.md", "\n".join(lines))
