"""Where activations come from: one pass over the pixels, whatever a recipe thaws later."""

from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from frostline import pipeline, planner
from frostline.activations import engines, extraction, sources
from frostline.activations.engines import Engine
from frostline.activations.extraction import ImageView
from frostline.activations.sources import image_views_of
from frostline.base.console import QUIET, Console
from frostline.base.errors import BackboneError
from frostline.base.paths import cache_folder
from frostline.images import listing as listings
from frostline.images.augment import CENTER, Policy, View
from frostline.model import classifier, heads
from frostline.recipe import BackboneChoice, Compute, Data, HeadChoice, Recipe, Stage, Views
from frostline.run.folder import RunFolder

NETWORK = BackboneChoice("timm:test_resnet?pretrained=false", image_px=48)
FP32 = Compute(device="cpu", precision="fp32", cache="always", engine="eager")
POLICY = Policy(flip=True, crop=0.7)
RECIPE = Recipe(
    backbone=NETWORK,
    compute=FP32,
    data=Data(val=0.3),
    views=Views(count=3, flip=True, crop=0.7),
    stages=(
        Stage(line="top", epochs=3, batch_size=8),
        Stage(line="layer3", epochs=3, batch_size=8),
    ),
)


def run(photos: Path, out: Path, wanted: Recipe = RECIPE, console: Console = QUIET) -> RunFolder:
    return pipeline.train(photos, out, wanted, cache_folder(), console)


def split_sizes(made: RunFolder) -> tuple[int, int]:
    rows = listings.read_csv(made.listing).rows
    return sum(row.split == "train" for row in rows), sum(row.split == "val" for row in rows)


def by_line(made: RunFolder) -> dict[str, dict[str, Any]]:
    return {one["line"]: one for one in made.read_plan()["passes"]}


def network(line: str = "top", precision: torch.dtype = torch.float32) -> classifier.Classifier:
    torch.manual_seed(0)
    opened = pipeline.prepare.open_backbone(NETWORK)
    head = heads.parse("linear", "avg")
    cpu = torch.device("cpu")
    return classifier.assemble(opened, ("blue", "green", "red"), head, line, cpu, precision)


# One pass.


def test_pixels_are_passed_once_and_the_later_line_is_derived(photos: Path, tmp_path: Path) -> None:
    made = run(photos, tmp_path / "run")
    train, val = split_sizes(made)
    assert train + val == 36
    plan = made.read_plan()
    assert plan["rows_computed"] == 36 + 3 * train
    found = by_line(made)
    assert (found["layer3"]["from"], found["pooled"]["from"]) == ("pixels", "layer3")
    assert found["layer3"]["rows_computed"] == found["pooled"]["rows_computed"] == 36 + 3 * train


def test_no_picture_is_opened_twice(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    load = sources.extraction.load

    def counted(path: str, *arguments: Any) -> Any:
        opened.append(path)
        return load(path, *arguments)

    monkeypatch.setattr(sources.extraction, "load", counted)
    # The proof opens some once more, which is its point.
    monkeypatch.setattr(sources, "_difference", lambda *_: 0.0)
    run(photos, tmp_path / "run")
    assert len(opened) == len(set(opened)) == 36


@pytest.mark.parametrize(
    "changed",
    [
        {"head": HeadChoice("mlp:16,dropout=0.1")},
        {"head": HeadChoice("linear", start="random", init="xavier"), "seed": 0},
        {
            "stages": (
                Stage(line="top", epochs=2, lr=0.1, optimizer="sgd", mixup=0.2),
                Stage(line="layer3", epochs=3, lr=1e-4, layer_decay=0.5),
            )
        },
        {"stages": RECIPE.stages[1:]},
        {"views": replace(RECIPE.views, count=2)},
        {"data": Data(val=0.3, targets="auto")},
    ],
    ids=["head", "start", "rates", "stages", "fewer views", "nothing"],
)
def test_a_new_head_or_new_rates_pass_nothing(
    photos: Path, tmp_path: Path, changed: dict[str, Any]
) -> None:
    run(photos, tmp_path / "one")
    words = StringIO()
    made = run(photos, tmp_path / "two", replace(RECIPE, **changed), Console(words, verbose=True))
    assert made.read_plan()["rows_computed"] == 0
    assert all(one["rows_computed"] == 0 for one in made.read_plan()["passes"])
    assert "forward passes below the line: none; all activations were kept\n" in words.getvalue()


def test_one_view_more_computes_one_view_more(photos: Path, tmp_path: Path) -> None:
    train, _ = split_sizes(run(photos, tmp_path / "one"))
    more = replace(
        RECIPE,
        views=replace(RECIPE.views, count=4),
        stages=tuple(replace(stage, epochs=4) for stage in RECIPE.stages),
    )
    words = StringIO()
    made = run(photos, tmp_path / "two", more, Console(words, verbose=True))
    assert made.read_plan()["rows_computed"] == train
    assert f"forward passes below the line: {train}\n" in words.getvalue()


def test_views_that_no_epoch_takes_are_not_made(photos: Path, tmp_path: Path) -> None:
    wanted = replace(
        RECIPE, stages=(replace(RECIPE.stages[0], epochs=2), replace(RECIPE.stages[1], epochs=1))
    )
    made = run(photos, tmp_path / "run", wanted)
    train, val = split_sizes(made)
    assert made.read_plan()["rows_computed"] == 36 + 3 * train
    # The first stage takes two of them; what the probe takes at the top is center.
    assert by_line(made)["pooled"]["rows_computed"] == train + val + 2 * train
    plain = replace(
        RECIPE, stages=tuple(replace(stage, augment=False) for stage in RECIPE.stages), seed=9
    )
    assert run(photos, tmp_path / "plain", plain).read_plan()["rows_computed"] == 36


def test_what_is_derived_is_what_is_computed(photos: Path, tmp_path: Path) -> None:
    model = network()
    listing = listings.scan(photos, QUIET)
    items = image_views_of(listing.usable, (CENTER, View(0, POLICY)))
    base = sources.from_pixels(classifier.recut(model, "layer3"), tmp_path / "cache", QUIET)
    derived = sources.derived(model, base, QUIET)
    direct = sources.from_pixels(model, tmp_path / "cache", QUIET)
    assert derived.prepare(items) == direct.prepare(items) == {}
    one, other = derived.fetch(list(items)), direct.fetch(list(items))
    assert one.shape == other.shape == (72, 96)
    # The earlier line is kept in half precision.
    worst = float((one - other).abs().max() / other.abs().max())
    assert worst < 1e-3
    assert base.computed == derived.computed == direct.computed == 72
    assert derived.key.digest != direct.key.digest
    assert derived.facts()["from"] == "layer3"


def test_deriving_asks_the_line_below_only_for_what_is_missing(
    photos: Path, tmp_path: Path
) -> None:
    model = network()
    listing = listings.scan(photos, QUIET)
    some, every = image_views_of(listing.usable[:10]), image_views_of(listing.usable)

    def fresh() -> tuple[sources.CachedSource, sources.CachedSource]:
        base = sources.from_pixels(classifier.recut(model, "layer3"), tmp_path / "cache", QUIET)
        return base, sources.derived(model, base, QUIET)

    fresh()[1].prepare(some)
    base, derived = fresh()
    derived.prepare(some)
    assert (base.cached, base.computed, derived.cached, derived.computed) == (0, 0, 10, 0)
    derived.prepare(every)
    assert (base.cached, base.computed, derived.cached, derived.computed) == (0, 26, 10, 26)
    with pytest.raises(KeyError):
        base.fetch([b"none of these"])


def test_a_picture_that_cannot_be_read_is_told_by_every_source(
    photos: Path, tmp_path: Path
) -> None:
    bad = photos / "red" / "003.png"
    bad.write_bytes(bad.read_bytes()[:700])
    listing = listings.scan(photos, QUIET)
    items = image_views_of(listing.usable, (CENTER, View(0, POLICY)))
    model = network()
    base = sources.from_pixels(classifier.recut(model, "layer3"), tmp_path / "cache", QUIET)
    want = {row for row, item in items.items() if item.path == str(bad)}
    assert len(want) == 2
    for source in (sources.derived(model, base, QUIET), sources.live_source(model, QUIET)):
        found = source.prepare(items)
        assert set(found) == want
        assert all("truncated" in reason for reason in found.values())
        assert source.prepare(items) == found
        good = [row for row in items if row not in want]
        assert len(source.fetch(good)) == 70


def test_a_line_at_the_pixels_keeps_pixels(photos: Path, tmp_path: Path) -> None:
    wanted = replace(RECIPE, stages=(RECIPE.stages[0], replace(RECIPE.stages[1], line="pixels")))
    made = run(photos, tmp_path / "run", wanted)
    found = by_line(made)
    assert found["pixels"]["from"] == "pixels"
    assert found["pooled"]["from"] == "pixels"
    assert found["pixels"]["row_bytes"] == 3 * 48 * 48


# Views.


@pytest.mark.parametrize("count", [1, 2, 5])
def test_epoch_after_epoch_takes_the_next_view(count: int) -> None:
    wanted = replace(RECIPE, views=Views(count=count, flip=True))
    for epoch in range(1, 12):
        view = planner.view_of("content", epoch, wanted, POLICY)
        assert view == View((epoch - 1) % count, POLICY)


def test_views_go_on_from_stage_to_stage(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[View] = []

    def noted(content: str, epoch: int, *rest: Any) -> View:
        taken.append(view_of(content, epoch, *rest))
        return taken[-1]

    view_of = planner.view_of
    monkeypatch.setattr(planner, "view_of", noted)
    first, second = RECIPE.stages
    stages = (
        replace(first, epochs=1),
        replace(first, steps=4),
        replace(second, augment=False, epochs=5),
        replace(second, epochs=1),
    )
    wanted = replace(RECIPE, views=replace(RECIPE.views, count=4), stages=stages)
    made = run(photos, tmp_path / "run", wanted)
    train, _ = split_sizes(made)
    # Four steps of eight images make two epochs, of which the second is begun only.
    assert -(-4 // -(-train // 8)) == 2
    assert list(dict.fromkeys(view.number for view in taken)) == [0, 1, 2, 3]
    # All were there before training began, at each stage's line those that it takes.
    found = by_line(made)
    assert found["layer3"]["rows_computed"] == 36 + 4 * train
    assert found["pooled"]["rows_computed"] == 36 + 3 * train


def test_refresh_goes_on_from_stage_to_stage() -> None:
    wanted = replace(RECIPE, views=Views(count=2, flip=True, refresh=0.5))
    for epoch in range(1, 9):
        there = planner.view_of("content", epoch, wanted, POLICY, before=3)
        assert there == planner.view_of("content", epoch + 3, wanted, POLICY)


def test_without_augmentation_all_is_center() -> None:
    for views in (
        Views(count=4),
        Views(live=True),
        Views(count=4, preset="none", refresh=0.5),
        Views(count=4, fill="constant"),
    ):
        wanted = replace(RECIPE, views=views)
        policy = planner.policy_of(wanted)
        assert not policy.varies
        for epoch in range(1, 6):
            assert planner.view_of("content", epoch, wanted, policy) == CENTER


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("count", [1, 4])
def test_refresh_replaces_its_share_of_the_views(share: float, count: int) -> None:
    wanted = replace(RECIPE, views=Views(count=count, flip=True, refresh=share))
    contents = [f"{number:040x}" for number in range(400)]
    before, replaced, all_of_them = {}, 0, 0
    seen: dict[str, list[int]] = {content: [] for content in contents}
    for epoch in range(1, 25):
        for content in contents:
            view = planner.view_of(content, epoch, wanted, POLICY).number
            slot = (epoch - 1) % count
            assert view % count == slot
            if (content, slot) in before:
                replaced += before[content, slot] != view
                all_of_them += 1
            before[content, slot] = view
            seen[content].append(view)
    # A slot is looked at once in `count` epochs, and may have been replaced once in between.
    assert replaced / all_of_them == pytest.approx(min(1.0, share * count), abs=0.03)
    for views in seen.values():
        slots = [[view for view in views if view % count == slot] for slot in range(count)]
        assert all(one == sorted(one) for one in slots)


def test_refresh_computes_that_share_of_new_views(photos: Path, tmp_path: Path) -> None:
    stage = Stage(line="layer3", epochs=9, batch_size=8)
    views = Views(count=1, flip=True, crop=0.7, refresh=0.25)
    made = run(photos, tmp_path / "run", replace(RECIPE, views=views, stages=(stage,)))
    train, _ = split_sizes(made)
    # 36 centers, one view of each, and a quarter of them anew in each of eight epochs.
    new = made.read_plan()["rows_computed"] - 36 - train
    assert abs(new - 2 * train) <= train / 2


class Seen:
    """Notes what is asked of live sources."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.items: list[ImageView] = []
        fetch = sources.extraction.LiveActivations.fetch

        def noted(live: Any, rows: Sequence[bytes]) -> torch.Tensor:
            self.items += [live.views[row] for row in rows]
            return fetch(live, rows)

        monkeypatch.setattr(sources.extraction.LiveActivations, "fetch", noted)


@pytest.mark.parametrize("steps", [0, 14], ids=["epochs", "steps"])
def test_live_never_takes_a_view_twice_and_keeps_validation(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    seen = Seen(monkeypatch)
    first = replace(RECIPE.stages[0], steps=steps, epochs=2)
    wanted = replace(
        RECIPE,
        views=Views(live=True, flip=True, crop=0.7),
        compute=replace(FP32, cache="auto"),
        stages=(first, RECIPE.stages[1]),
    )
    words = StringIO()
    made = run(photos, tmp_path / "run", wanted, Console(words, verbose=True))
    train, _ = split_sizes(made)
    pairs = [(item.content, item.view) for item in seen.items]
    assert len(pairs) == len(set(pairs))
    assert all(view != CENTER for _, view in pairs)
    trained = sum(len(line) > 0 for line in made.read_history() if line["kind"] == "train")
    if not steps:
        assert len(pairs) == trained * train == 5 * train
    found = by_line(made)
    assert found["layer3"]["rows_computed"] == 36 + 3 * train
    assert found["pooled"]["rows_computed"] >= 36
    assert "views: new ones in every epoch, computed live, varied by flip, crop 0.7" in (
        words.getvalue()
    )
    again = run(photos, tmp_path / "again", replace(wanted, seed=0))
    assert by_line(again)["layer3"]["rows_kept"] == 36


def test_live_with_an_engine_to_be_chosen_keeps_validation_too(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frostline.planner.measure.AT_LEAST_S", 0.01)
    monkeypatch.setattr("frostline.planner.measure.DISK_BYTES", 1 << 16)
    seen = Seen(monkeypatch)
    wanted = replace(
        RECIPE,
        views=Views(live=True, flip=True, crop=0.7),
        compute=replace(FP32, cache="auto", engine="auto"),
        stages=RECIPE.stages[1:],
    )
    made = run(photos, tmp_path / "run", wanted)
    assert by_line(made)["layer3"]["cache_key"]
    assert all(item.view != CENTER for item in seen.items)


def test_never_keeps_nothing(photos: Path, tmp_path: Path) -> None:
    wanted = replace(RECIPE, compute=replace(FP32, cache="never"))
    made = run(photos, tmp_path / "run", wanted)
    assert not list(cache_folder().rglob("*.safetensors"))
    train, val = split_sizes(made)
    found = by_line(made)
    # Every epoch once, and validation before the first. No stage was kept, so that the final
    # scores are those at the top.
    assert found["layer3"]["rows_computed"] == 3 * (train + val) + val


def test_mixed_and_kept_give_the_same_for_center_views(photos: Path, tmp_path: Path) -> None:
    model = network("layer3")
    listing = listings.scan(photos, QUIET)
    centers, views = (
        image_views_of(listing.usable),
        image_views_of(listing.usable, (View(5, POLICY),)),
    )
    kept = sources.from_pixels(model, tmp_path / "cache", QUIET)
    mixed = sources.MixedSource(kept, sources.live_source(model, QUIET))
    assert mixed.prepare({**centers, **views}) == {}
    assert torch.equal(mixed.fetch(list(centers)), kept.fetch(list(centers)))
    live = mixed.fetch(list(views))
    other = sources.from_pixels(model, tmp_path / "other", QUIET)
    other.prepare(views)
    assert torch.equal(live, other.fetch(list(views)))
    assert mixed.facts()["rows_computed"] == 72


# What changes the bytes changes the key.


def test_the_key_of_derived_activations_names_the_way(tmp_path: Path) -> None:
    model = network()
    direct = sources.cache_key(model)
    ways = {
        sources.derived(
            model, sources.from_pixels(classifier.recut(model, line), tmp_path, QUIET), QUIET
        ).key.digest
        for line in ("layer2", "layer3", "layer4")
    }
    assert len({direct.digest, *ways}) == 4


def test_a_grey_picture_has_its_views_too(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(6):
            pixels = np.random.default_rng(number + 10 * (label == "b")).integers(0, 255, (30, 50))
            Image.fromarray(pixels.astype(np.uint8)).save(
                tmp_path / "photos" / label / f"{number}.png"
            )
    made = run(tmp_path / "photos", tmp_path / "run")
    train, _ = split_sizes(made)
    assert made.read_plan()["rows_computed"] == 12 + 3 * train


# What is not given.


def far(model: classifier.Classifier, factor: float) -> classifier.Classifier:
    """Makes activations too large for float16 from the first layer on."""
    with torch.no_grad():
        model.module.bn1.weight.mul_(factor)  # type: ignore[union-attr, operator]
    return classifier.recut(model, model.line)


@pytest.mark.parametrize(
    ("precision", "factor", "advice"),
    [
        (torch.float32, 1e6, "Choose another --line, or use --precision bf16."),
        (torch.bfloat16, float("nan"), "Use --precision fp32."),
    ],
)
def test_what_is_not_finite_is_not_kept(
    photos: Path, tmp_path: Path, precision: torch.dtype, factor: float, advice: str
) -> None:
    model = far(network("layer1", precision), factor)
    items = image_views_of(listings.scan(photos, QUIET).usable)
    kept = sources.from_pixels(model, tmp_path / "cache", QUIET)
    with pytest.raises(BackboneError, match="must be finite, and those of") as raised:
        kept.prepare(items)
    assert str(raised.value).endswith(advice)
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
    live = sources.live_source(model, QUIET)
    assert live.prepare(items) == {}
    with pytest.raises(BackboneError, match="must be finite"):
        live.fetch(list(items))


def test_sources_of_one_run_look_at_each_picture_once(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "red" / "000.png").write_bytes(b"no picture")
    items = image_views_of(listings.scan_files([photos]).rows)
    looked: list[int] = []
    real = extraction.pixels

    def counting(wanted: Any, *args: Any) -> Any:
        looked.append(len(wanted))
        return real(wanted, *args)

    monkeypatch.setattr(extraction, "pixels", counting)
    checked: dict[str, str] = {}
    model = network("layer1")
    found = [sources.live_source(model, QUIET, checked).prepare(items) for _ in range(2)]
    assert looked == [36]
    assert found[0] == found[1]
    assert len(found[0]) == 1


def test_what_is_derived_must_be_finite_too(photos: Path, tmp_path: Path) -> None:
    model = far(network("layer1"), 1e6)
    base = sources.from_pixels(classifier.recut(model, "pixels"), tmp_path / "cache", QUIET)
    items = image_views_of(listings.scan(photos, QUIET).usable)
    with pytest.raises(BackboneError, match="must be finite"):
        sources.derived(model, base, QUIET).prepare(items)


def test_a_sample_that_is_partly_gone_is_compared_all_the_same(
    photos: Path, tmp_path: Path
) -> None:
    items = image_views_of(listings.scan(photos, QUIET).usable[:6])
    source = sources.from_pixels(network("layer3"), tmp_path / "cache", QUIET)
    source.prepare(items)
    assert source.against_live(items) < 1e-3
    paths = [Path(item.path) for item in items.values()]
    paths[1].unlink()
    assert source.against_live(items) < 1e-3
    for path in paths:
        path.unlink(missing_ok=True)
    assert source.against_live(items) == 0.0


def test_live_sources_forget_the_views_of_past_epochs(photos: Path, tmp_path: Path) -> None:
    rows = listings.scan(photos, QUIET).usable
    centers = image_views_of(rows[:6])
    model = network("layer3")
    plain = sources.live_source(model, QUIET)
    kept = sources.from_pixels(model, tmp_path / "cache", QUIET)
    for source, live in (
        (plain, plain),
        (mixed := sources.MixedSource(kept, sources.live_source(model, QUIET)), mixed.live),
    ):
        source.prepare(centers)
        for epoch in range(4):
            varied = image_views_of(rows[6:], (View(epoch, POLICY),))
            source.prepare(varied)
            assert len(source.fetch(list(varied))) == 30
            assert len(live.activations.views) <= 36
        source.prepare(centers)
        assert len(source.fetch(list(centers))) == 6


def test_what_a_gpu_holds_follows_the_memory_that_it_has_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (8 << 30, 16 << 30))
    assert sources._in_memory_bytes(torch.device("cuda")) == 2 << 30
    assert sources._in_memory_bytes(torch.device("cpu")) == sources.IN_MEMORY_BYTES


def test_what_is_embedded_comes_back_from_a_gpu(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OnGpu:
        def cpu(self) -> str:
            return "on the CPU"

    monkeypatch.setattr(sources.CachedSource, "fetch", lambda *_: OnGpu())
    made = pipeline.embed(NETWORK, photos, ["pooled"], FP32, cache_folder(), QUIET)
    assert (made.whole(), len(made.rows)) == (["on the CPU"], 36)


def test_later_lines_run_with_the_chosen_engine_where_nothing_is_derived(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def make(name: str, eager: Engine, *_: object) -> Engine:
        made.append(name)
        return replace(eager, name=eager.name.replace("eager", name, 1))

    monkeypatch.setattr(engines, "make", make)
    compute = replace(FP32, engine="openvino", derive=False)
    run_of = run(photos, tmp_path / "run", replace(RECIPE, compute=compute))
    found = by_line(run_of)
    assert {one["engine"] for one in found.values()} == {"openvino-cpu-float32-folded"}
    assert {one["from"] for one in found.values()} == {"pixels"}
    assert made == ["openvino", "openvino"]
    made.clear()
    never = replace(compute, cache="never")
    run(photos, tmp_path / "never", replace(RECIPE, compute=never))
    assert made == ["openvino", "openvino"]
