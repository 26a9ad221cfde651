"""fastai's `fine_tune` on a folder with `train/` and `val/`, or on a table: our command's rival.

Runs in its own environment (`pip install fastai timm`), never in Frostline's:

    python benchmarks/rival_fastai.py PHOTOS --weights FOLDER --epochs 1

PHOTOS may also be a CSV file with full paths: path, label, split (train, val, and perhaps test);
with --several a cell holds any number of labels, with `;` between them. --predictions FILE writes
what is predicted for val and test, in the columns of Frostline's `predictions.csv`.

Prints one JSON line: accuracy on `val`, and the seconds of the fit alone and of all after imports.
"""

import argparse
import csv
import json
import time
from pathlib import Path

import pandas
import torch
from fastai.vision.all import (
    CategoryBlock,
    ColReader,
    ColSplitter,
    DataBlock,
    DataLoaders,
    ImageBlock,
    ImageDataLoaders,
    Learner,
    MultiCategoryBlock,
    Normalize,
    Resize,
    accuracy,
    set_seed,
    vision_learner,
)
from safetensors.torch import load_file

THRESHOLD = 0.5
# fastai passes these to timm itself.
FASTAIS_OWN = ("in_chans", "num_classes", "global_pool")


def loaders_of(args: argparse.Namespace, facts: dict) -> DataLoaders:
    """Returns fastai's loaders of the pictures in train and val."""
    varied = {
        "item_tfms": Resize(args.size),
        "batch_tfms": Normalize.from_stats(facts["mean"], facts["std"]),
    }
    speed = {"bs": 64, "num_workers": torch.get_num_threads()}
    if args.photos.is_dir():
        return ImageDataLoaders.from_folder(
            args.photos, train="train", valid="val", **varied, **speed
        )
    table = pictures_of(args.photos)
    table = table[table["split"] != "test"].reset_index(drop=True)
    target = MultiCategoryBlock if args.several else CategoryBlock
    block = DataBlock(
        blocks=(ImageBlock, target),
        get_x=ColReader("path"),
        get_y=ColReader("label", label_delim=";" if args.several else None),
        splitter=ColSplitter("is_val"),
        **varied,
    )
    return block.dataloaders(table, **speed)


def pictures_of(path: Path) -> pandas.DataFrame:
    """Returns the table, with a column `is_val`; an empty label stays an empty text."""
    table = pandas.read_csv(path, dtype=str, keep_default_na=False)
    return table.assign(is_val=table["split"] == "val")


def exact_match(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Returns the share of pictures with every label right."""
    return ((logits.sigmoid() >= THRESHOLD) == targets.bool()).all(1).float().mean()


def write_predictions(learner: Learner, args: argparse.Namespace) -> None:
    """Predicts val and test of the table, once each."""
    table = pictures_of(args.photos)
    names = list(learner.dls.vocab)
    with args.predictions.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["split", "path", "label", "predicted", *(f"p:{name}" for name in names)])
        for split in ("val", "test"):
            part = table[table["split"] == split].reset_index(drop=True)
            with learner.no_bar():
                said, _ = learner.get_preds(dl=learner.dls.test_dl(part))
            for row, values in zip(part.itertuples(), said.tolist(), strict=True):
                likely = [name for name, p in zip(names, values, strict=True) if p >= THRESHOLD]
                best = names[values.index(max(values))]
                predicted = ";".join(likely) if args.several else best
                out.writerow([split, row.path, row.label, predicted, *values])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--weights", type=Path, required=True, help="a timm model folder")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--several", action="store_true", help="labels of one picture")
    parser.add_argument("--predictions", type=Path, help="of a table; where they are written")
    args = parser.parse_args()
    begun = time.perf_counter()
    set_seed(args.seed)
    config = json.loads((args.weights / "config.json").read_text())
    facts = config["pretrained_cfg"]
    loaders = loaders_of(args, facts)
    learner = vision_learner(
        loaders,
        config["architecture"],
        pretrained=False,
        normalize=False,
        metrics=exact_match if args.several else accuracy,
        **{key: value for key, value in config["model_args"].items() if key not in FASTAIS_OWN},
    )
    state = load_file(args.weights / "model.safetensors")
    body = learner.model[0].model
    wanted = {name: tensor for name, tensor in state.items() if name in body.state_dict()}
    missing = body.load_state_dict(wanted, strict=False).missing_keys
    assert not missing, missing
    learner.freeze()
    fit = time.perf_counter()
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(args.epochs)
    done = time.perf_counter()
    score = float(learner.validate()[1])
    if args.predictions:
        write_predictions(learner, args)
    print(
        json.dumps(
            {
                "rival": f"fastai fine_tune({args.epochs})",
                "accuracy": score,
                "fit_s": round(done - fit, 2),
                "total_s": round(time.perf_counter() - begun, 2),
            }
        )
    )


if __name__ == "__main__":
    main()
