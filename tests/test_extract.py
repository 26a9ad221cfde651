from pathlib import Path

import pytest
import torch

from frostline import extract
from frostline.data.views import load_center
from frostline.errors import ListingError
from frostline.preprocessing import Preprocessing

HOW = Preprocessing(height_px=32, width_px=32)


@pytest.fixture
def files(photos: Path) -> list[str]:
    return sorted(str(path) for path in photos.rglob("*.png"))


def test_every_image_comes_once_in_order(files: list[str]) -> None:
    seen = []
    for positions, pixels, problems in extract.pixels(files, HOW, batch_size=5):
        assert not problems
        assert pixels is not None
        for position, image in zip(positions, pixels, strict=True):
            assert torch.equal(image, load_center(files[position], HOW)[0])
        seen += positions
    assert seen == list(range(len(files)))


def test_what_cannot_be_read_is_named_and_nothing_stands_for_it(files: list[str]) -> None:
    Path(files[3]).write_bytes(b"")
    Path(files[4]).unlink()
    results = list(extract.pixels(files[:6], HOW, batch_size=4))
    assert [positions for positions, _, _ in results] == [[0, 1, 2], [5]]
    assert sorted(index for _, _, problems in results for index in problems) == [3, 4]


def test_a_batch_of_only_unreadable_images_has_no_pixels(tmp_path: Path) -> None:
    (tmp_path / "no.jpg").write_text("text")
    assert next(extract.pixels([str(tmp_path / "no.jpg")], HOW))[1] is None


def test_whoever_stops_early_leaves_no_threads_behind(files: list[str]) -> None:
    loaded = extract.pixels(files, HOW, batch_size=2)
    next(loaded)
    loaded.close()


@pytest.mark.parametrize("on_cpu", [True, False])
def test_live_activations_are_those_of_the_engine(files: list[str], on_cpu: bool) -> None:
    paths = {bytes([index]): path for index, path in enumerate(files)}
    live = extract.Live(paths, HOW, lambda pixels: pixels.float().mean((1, 2, 3)), on_cpu)
    got = live.fetch([bytes([7]), bytes([2])])
    want = [load_center(files[index], HOW)[0].float().mean() for index in (7, 2)]
    torch.testing.assert_close(got, torch.stack(want))
    Path(files[2]).unlink()
    with pytest.raises(ListingError, match="could be read before, and now cannot"):
        live.fetch([bytes([2])])
