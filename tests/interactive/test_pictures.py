"""What a Python user may give to `predict`, and what is refused."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import frostline
from conftest import FinishedRun
from frostline.base.errors import ListingError, RecipeError
from frostline.interactive.finished_run import Run
from frostline.interactive.pictures import as_files


@pytest.fixture(scope="module")
def run(finished_run: FinishedRun) -> Run:
    return frostline.open_run(finished_run.path)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_a_path_a_folder_and_lists_of_them(run: Run, finished_run: FinishedRun) -> None:
    path = finished_run.picture
    expected = run.predict([path])[0]
    assert list(run.predict(path)) == [expected]
    assert list(run.predict(str(path))) == [expected]
    assert list(run.predict(path for path in [path])) == [expected]
    assert list(run.predict(np.array([str(path)]))) == [expected]
    assert len(run.predict(finished_run.photos)) == 36
    assert len(run.predict([finished_run.photos / "red", path])) == 13


def test_a_picture_in_memory_is_read_as_its_file(run: Run, finished_run: FinishedRun) -> None:
    path = finished_run.picture
    (expected,) = run.predict(path)
    array = pixels(path)
    forms: list[Any] = [
        Image.open(path),
        Image.fromarray(array),
        array,
        array / 255,
        (array / 255).astype(np.float32),
        np.dstack([array, np.full(array.shape[:2], 255, np.uint8)]),
        torch.from_numpy(array.copy()),
        np.asfortranarray(array),
    ]
    for form in forms:
        (alone,) = run.predict(form)
        assert alone.top == expected.top
    together = run.predict([*forms, path])
    assert {one.label for one in together} == {expected.label}
    # In larger batches sums go in another order.
    assert [one.probability for one in together] == pytest.approx([expected.probability] * 9)
    assert together[0].path == str(path)
    assert [one.path for one in together[1:3]] == ["[1]", "[2]"]


def test_grey_arrays(run: Run) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (40, 50), np.uint8)
    (flat,) = run.predict(grey)
    assert run.predict(grey[:, :, None])[0].top == flat.top
    assert run.predict(np.dstack([grey] * 3))[0].top == flat.top


def test_sixteen_bits_keep_their_levels(run: Run, tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (40, 50), np.uint16)
    path = tmp_path / "deep.png"
    Image.fromarray(deep).save(path)
    (of_file,) = run.predict(path)
    assert run.predict(deep)[0].top == of_file.top
    assert run.predict(Image.fromarray(deep))[0].top == of_file.top
    assert not run.predict(np.dstack([deep] * 3))[0].problem


def test_a_turned_photograph_is_turned(run: Run, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (30, 60, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned.png"
    Image.fromarray(values).save(path, exif=exif)
    assert run.predict(Image.open(path))[0].top == run.predict(path)[0].top


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "F", "I"]
)
def test_every_mode_of_pillow_is_taken(run: Run, mode: str) -> None:
    image = Image.new("RGB", (32, 24), (200, 10, 60))
    made = image.convert("P").convert("PA") if mode == "PA" else None
    made = Image.new("LAB", (32, 24), (90, 1, 2)) if mode == "LAB" else made
    (said,) = run.predict(made or image.convert(mode))
    assert said.label
    assert not said.problem


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (7, "pictures: int is no picture"),
        (None, "pictures: NoneType is no picture"),
        (b"\x89PNG", "pictures: bytes is no picture"),
        ({"a": 1}, "pictures: dict is no picture"),
        ([], "pictures: the list is empty"),
        ([[1, 2]], "[0]: list is no picture"),
        (np.zeros((2, 20, 20, 3), np.uint8), "but a batch. Give a list of them: list(array)"),
        (np.zeros((3, 20, 20), np.uint8), "channels come last. Write array.transpose(1, 2, 0)"),
        (torch.zeros(3, 20, 20), "channels come last"),
        (np.zeros(20, np.uint8), "shape [20] is no picture"),
        (np.zeros((20, 20, 2), np.uint8), "must be [height, width] or [height, width, 3]"),
        (np.zeros((0, 20, 3), np.uint8), "shape [0, 20, 3] is no picture"),
        (np.zeros((20, 20, 3), np.int64), "not int64. Where the values are from 0 to 255"),
        (np.zeros((20, 20), bool), "not bool"),
        (np.full((20, 20, 3), 255.0), "floats must lie from 0 (black) to 1 (white)"),
        (np.full((20, 20), np.nan), "go from nan to nan"),
        (np.full((20, 20), -0.5), "go from -0.5"),
        (Image.new("RGB", (0, 10)), "has no pixels"),
    ],
)
def test_what_is_no_picture_is_refused_in_a_line(run: Run, given: Any, words: str) -> None:
    with pytest.raises(ListingError) as caught:
        run.predict(given)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    if not isinstance(given, list):
        with pytest.raises(ListingError, match=r"^(\[0\]|pictures): "):
            run.predict([given])


def test_a_truncated_image_is_refused(run: Run) -> None:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    cut = Image.open(io.BytesIO(buffer.getvalue()[:2000]))
    with pytest.raises(ListingError, match="cannot be read"):
        run.predict(cut)


def test_a_frame_is_refused_and_its_column_taken(run: Run, finished_run: FinishedRun) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"path": [str(finished_run.picture)], "label": ["red"]})
    with pytest.raises(ListingError, match=r"Give that of paths: frame\.path"):
        run.predict(frame)
    assert list(run.predict(frame["path"])) == list(run.predict(finished_run.picture))


@pytest.mark.parametrize("top_k", ["x", 0, -1, 1.5, True, None])
def test_top_k_is_checked(run: Run, finished_run: FinishedRun, top_k: Any) -> None:
    with pytest.raises(RecipeError, match=r"^top_k: must be a whole number from 1 on"):
        run.predict(finished_run.picture, top_k=top_k)


def test_files_that_stand_for_pictures_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with as_files([np.zeros((4, 4), np.uint8), "a.jpg"]) as (paths, held):
        assert paths[0].is_file()
        assert list(held) == [str(paths[0])]
        assert paths[1] == Path("a.jpg")
    assert not list(tmp_path.iterdir())
