from dataclasses import replace
from pathlib import Path

import pytest

from frostline.activations.cache.key import CacheKey, row_id

KEY = CacheKey(
    architecture="resnet50",
    line="layer3",
    prefix="ab" * 20,
    preprocessing={"height_px": 224, "mean": [0.5, 0.5, 0.5]},
    views="1",
    compute="eager-cpu-bfloat16-folded",
    storage="bfloat16",
    shape=(1024, 14, 14),
)


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": "resnet51"},
        {"line": "layer2"},
        {"prefix": "cd" * 20},
        {"preprocessing": {"height_px": 256, "mean": [0.5, 0.5, 0.5]}},
        {"preprocessing": {"height_px": 224, "mean": [0.5, 0.5, 0.4]}},
        {"views": "2"},
        {"compute": "eager-cpu-float32-folded"},
        {"storage": "float16"},
        {"shape": (1024, 7, 28)},
    ],
)
def test_everything_that_changes_the_bytes_changes_the_key(change: dict) -> None:
    assert replace(KEY, **change).digest != KEY.digest


def test_the_order_of_facts_does_not_matter() -> None:
    turned = {"mean": [0.5, 0.5, 0.5], "height_px": 224}
    assert replace(KEY, preprocessing=turned).digest == KEY.digest


def test_a_row_is_the_content_and_the_view() -> None:
    rows = {row_id("aa", "center"), row_id("aa", "augmented-1"), row_id("bb", "center")}
    assert len(rows) == 3
    assert all(len(row) == 20 for row in rows)


def test_the_folder_tells_a_person_what_it_holds() -> None:
    folder = replace(KEY, line="blocks_5_add").folder(Path("cache"))
    assert folder.name.startswith("resnet50-blocks-5-add-")
