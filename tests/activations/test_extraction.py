from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from frostline.activations import extraction
from frostline.activations.extraction import ImageView
from frostline.base.errors import ListingError
from frostline.images import augment, decode
from frostline.images.augment import CENTER, Policy, View
from frostline.images.preprocessing import Preprocessing

HOW = Preprocessing(height_px=32, width_px=32)
POLICY = Policy(flip=True, rotate=30.0, zoom=0.2)
VIEWS = (CENTER, *(View(number, POLICY) for number in range(1, 4)))


@pytest.fixture
def files(photos: Path) -> list[str]:
    return sorted(str(path) for path in photos.rglob("*.png"))


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with each decoding; threads may append to it."""
    counted: list[int] = []
    real = decode.decode

    def counting(data: bytes, *rest: object) -> decode.Decoded:
        counted.append(len(data))
        return real(data, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(decode, "decode", counting)
    return counted


def centers(files: list[str]) -> list[ImageView]:
    return [ImageView(path) for path in files]


def varied(files: list[str]) -> list[ImageView]:
    return [ImageView(path, f"content of {path}", view) for path in files for view in VIEWS]


def flat(
    results: Iterator[extraction.LoadedBatch],
) -> tuple[list[int], list[Tensor], dict[int, str]]:
    positions, made, problems = [], [], {}
    for good, batch, bad in results:
        positions += good
        made += [] if batch is None else list(batch)
        problems |= bad
    return positions, made, problems


def test_every_image_comes_once_in_order(files: list[str]) -> None:
    positions, made, problems = flat(extraction.pixels(centers(files), HOW, batch_size=5))
    assert positions == list(range(len(files)))
    assert not problems
    for path, image in zip(files, made, strict=True):
        assert torch.equal(image, augment.load(path, HOW, [CENTER], "")[0])


def test_batches_are_of_the_size_that_was_asked_for(files: list[str]) -> None:
    results = list(extraction.pixels(centers(files), HOW, batch_size=5))
    assert [len(positions) for positions, _, _ in results] == [5] * 7 + [1]


def test_what_cannot_be_read_is_named_and_nothing_stands_for_it(files: list[str]) -> None:
    Path(files[3]).write_bytes(b"")
    Path(files[4]).unlink()
    results = list(extraction.pixels(centers(files[:6]), HOW, batch_size=4))
    assert [positions for positions, _, _ in results] == [[0, 1, 2], [5]]
    assert sorted(index for _, _, problems in results for index in problems) == [3, 4]


def test_a_batch_of_only_unreadable_images_has_no_pixels(tmp_path: Path) -> None:
    (tmp_path / "no.jpg").write_text("text")
    run = lambda pixels: pixels.float()  # noqa: E731
    items = [ImageView(str(tmp_path / "no.jpg"))]
    assert next(extraction.pixels(items, HOW))[:2] == ([], None)
    for on_cpu in (True, False):
        (result,) = extraction.activations(items, HOW, run, on_cpu)
        assert result == ([], None, {0: "not an image"})


def test_views_of_one_picture_come_from_one_decoding_in_order(
    files: list[str], decodings: list[int]
) -> None:
    items = varied(files[:6])
    # A PNG is decoded whole for any view: once is enough for all of them.
    positions, made, problems = flat(extraction.pixels(items, HOW, batch_size=7))
    assert len(decodings) <= 6 * len({augment.source_px(HOW, v.policy) for v in VIEWS})
    assert positions == list(range(24))
    assert not problems
    for item, got in zip(items, made, strict=True):
        (want,) = augment.load(item.path, HOW, [item.view], item.content)
        assert torch.equal(got, want)
    assert not torch.equal(made[1], made[2])
    assert torch.equal(made[0], augment.load(files[0], HOW, [CENTER], "")[0])


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_views_of_one_policy_need_one_decoding_a_picture(
    files: list[str], decodings: list[int], batch_size: int
) -> None:
    items = [ImageView(path, path, view) for path in files[:6] for view in VIEWS[1:]]
    positions, _, _ = flat(extraction.pixels(items, HOW, batch_size=batch_size))
    assert positions == list(range(18))
    assert len(decodings) == 6


@pytest.mark.parametrize(("batch_size", "want"), [(1, [4] * 6), (5, [8] * 3), (8, [8] * 3)])
def test_batches_keep_a_picture_s_views_together(
    files: list[str], batch_size: int, want: list[int]
) -> None:
    results = list(extraction.pixels(varied(files[:6]), HOW, batch_size=batch_size))
    assert [len(positions) for positions, _, _ in results] == want
    assert all(positions[0] % 4 == 0 for positions, _, _ in results)


def test_views_that_do_not_follow_each_other_are_made_all_the_same(files: list[str]) -> None:
    items = [ImageView(path, path, view) for view in VIEWS for path in files[:3]]
    positions, made, _ = flat(extraction.pixels(items, HOW, batch_size=4))
    assert positions == list(range(12))
    ordered = flat(extraction.pixels(sorted(items, key=lambda i: i.path), HOW))[1]
    assert torch.equal(torch.stack(made[::3]), torch.stack(ordered[:4]))


def test_an_unreadable_picture_gives_a_problem_for_each_of_its_views(files: list[str]) -> None:
    Path(files[1]).write_bytes(b"text")
    Path(files[2]).unlink()
    positions, made, problems = flat(extraction.pixels(varied(files[:4]), HOW, batch_size=5))
    assert positions == [0, 1, 2, 3, 12, 13, 14, 15]
    assert len(made) == 8
    assert sorted(problems) == list(range(4, 12))
    assert {problems[index] for index in range(4, 8)} == {"not an image"}
    assert len({problems[index] for index in range(8, 12)}) == 1


@pytest.mark.parametrize("on_cpu", [True, False])
def test_activations_are_what_the_engine_makes_of_the_pixels(
    files: list[str], on_cpu: bool
) -> None:
    items = varied(files[:3])
    run = lambda pixels: pixels.float().mean((2, 3))  # noqa: E731
    positions, made, _ = flat(extraction.activations(items, HOW, run, on_cpu, batch_size=4))
    assert positions == list(range(12))
    want = torch.stack(flat(extraction.pixels(items, HOW))[1])
    torch.testing.assert_close(torch.stack(made), run(want))


def test_whoever_stops_early_leaves_no_threads_behind(files: list[str]) -> None:
    loaded = extraction.pixels(centers(files), HOW, batch_size=2)
    next(loaded)
    loaded.close()  # type: ignore[attr-defined]


def test_torch_s_threads_are_as_many_afterwards(files: list[str]) -> None:
    before = torch.get_num_threads()
    flat(extraction.pixels(centers(files[:4]), HOW, batch_size=2))
    assert torch.get_num_threads() == before


def test_no_items_make_no_batches() -> None:
    assert list(extraction.pixels([], HOW)) == []


@pytest.mark.parametrize("on_cpu", [True, False])
def test_live_activations_are_those_of_the_engine(files: list[str], on_cpu: bool) -> None:
    items = {bytes([index]): item for index, item in enumerate(varied(files[:4]))}
    live = extraction.LiveActivations(
        HOW, lambda pixels: pixels.float().mean((1, 2, 3)), on_cpu, items
    )
    got = live.fetch([bytes([7]), bytes([2]), bytes([7])])
    want = flat(extraction.pixels([items[bytes([index])] for index in (7, 2, 7)], HOW))[1]
    torch.testing.assert_close(got, torch.stack([image.float().mean() for image in want]))
    Path(files[0]).unlink()
    with pytest.raises(ListingError) as raised:
        live.fetch([bytes([2])])
    assert str(raised.value).startswith(f"{files[0]}: could be read before, and now cannot: ")


def test_live_takes_new_views_as_they_come(files: list[str]) -> None:
    live = extraction.LiveActivations(HOW, lambda pixels: pixels.float(), True)
    assert live.views == {}
    live.views[b"a"] = ImageView(files[0])
    assert torch.equal(live.fetch([b"a"])[0], augment.load(files[0], HOW, [CENTER], "")[0].float())


@pytest.mark.parametrize("on_cpu", [True, False])
def test_live_decodes_on_every_core_and_feeds_a_gpu_at_once(
    files: list[str], monkeypatch: pytest.MonkeyPatch, on_cpu: bool
) -> None:
    monkeypatch.setattr("frostline.base.machine.cores", lambda: 2)
    loaded: list[int] = []
    load = extraction._load

    def noted(views: Sequence[ImageView], *rest: Any, **more: Any) -> extraction.LoadedBatch:
        loaded.append(len(views))
        return load(views, *rest, **more)

    monkeypatch.setattr(extraction, "_load", noted)
    ran: list[int] = []

    def run(pixels: torch.Tensor) -> torch.Tensor:
        ran.append(len(pixels))
        return pixels.float()

    items = {bytes([index]): ImageView(path) for index, path in enumerate(files[:6])}
    got = extraction.LiveActivations(HOW, run, on_cpu, items).fetch(list(items))
    assert len(got) == 6
    assert loaded == [3, 3]
    assert ran == ([3, 3] if on_cpu else [6])
