"""fastai's `fine_tune` on a folder with `train/` and `val/`: the rival of our whole command.

Runs in its own environment (`pip install fastai timm`), never in Frostline's:

    python benchmarks/rival_fastai.py PHOTOS --weights FOLDER --epochs 1

Prints one JSON line: accuracy on `val`, and the seconds of the fit alone and of all after imports.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from fastai.vision.all import (
    ImageDataLoaders,
    Normalize,
    Resize,
    accuracy,
    set_seed,
    vision_learner,
)
from safetensors.torch import load_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--weights", type=Path, required=True, help="a timm model folder")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=224)
    args = parser.parse_args()
    begun = time.perf_counter()
    set_seed(args.seed)
    config = json.loads((args.weights / "config.json").read_text())
    facts = config["pretrained_cfg"]
    loaders = ImageDataLoaders.from_folder(
        args.photos,
        train="train",
        valid="val",
        bs=64,
        item_tfms=Resize(args.size),
        batch_tfms=Normalize.from_stats(facts["mean"], facts["std"]),
        num_workers=torch.get_num_threads(),
    )
    learner = vision_learner(
        loaders,
        config["architecture"],
        pretrained=False,
        normalize=False,
        metrics=accuracy,
        **config["model_args"],
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
