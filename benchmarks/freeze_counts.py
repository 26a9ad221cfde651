"""What is trained of VGG16, counted as textbooks do: `frostline summary` against their figures.

    python benchmarks/freeze_counts.py

No weights are needed.
"""

import json

from common import FROSTLINE, bar, run, table

SMALL = ["--image-px", "150", "--head", "mlp:256", "--targets", "binary"]
# At 256 px timm's fully connected layers would give a map of 2 × 2, so the head's place is named.
LARGE = ["--image-px", "256", "--head", "mlp:4096,4096", "--classes", "5", "--on", "features"]
TENSORS, ALL, TRAINED = "trainable_tensors", "parameters", "trainable_parameters"
CASES = [
    ("150 px, flatten-256-1, all trained", SMALL, "pixels", TENSORS, 30),
    ("150 px, flatten-256-1, base frozen", SMALL, "top", TENSORS, 4),
    ("150 px, flatten-256-1, from the fifth block on", SMALL, "last 1 block", TENSORS, 10),
    ("256 px, 4096-4096-5, parameters", LARGE, "pixels", ALL, 165_738_309),
    ("256 px, 4096-4096-5, base frozen", LARGE, "top", TRAINED, 151_023_621),
    ("256 px, 4096-4096-5, after the fourth block", LARGE, "features.23", TRAINED, 158_103_045),
]


def main() -> None:
    rows = []
    right = 0
    for name, options, line, what, expected in CASES:
        command = [*FROSTLINE, "summary", "timm:vgg16", "--pooling", "flatten", "--json"]
        totals = json.loads(run([*command, *options, "--line", line]).out)["totals"]
        got = totals[what]
        words = what.replace("_", " ")
        same = "yes" if got == expected else "NO"
        right += got == expected
        rows.append([name, words, f"{got:,}", f"{expected:,}", same, f"{got / expected:.6f}", 1])
    table(["VGG16", "what", "counted", "textbook", "equal", "ratio", "runs"], rows)
    told = f"{right} of {len(CASES)}"
    bar("VGG16's tensors and parameters", "the textbook's", told, right == len(CASES))


if __name__ == "__main__":
    main()
