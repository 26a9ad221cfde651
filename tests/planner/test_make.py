"""The planner with made-up rates: what it works out, what it chooses, and what it says."""

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch

from frostline import pipeline, planner, recipe
from frostline.activations import engines, sources
from frostline.activations.cache import chunks
from frostline.activations.engines import Engine
from frostline.activations.extraction import ImageView
from frostline.base.console import QUIET, Console
from frostline.base.errors import BackboneError, DiskError, RecipeError
from frostline.base.paths import cache_folder
from frostline.model import classifier
from frostline.model.classifier import Classifier
from frostline.pipeline import planning
from frostline.pipeline.prepare import make_request, prepare
from frostline.planner import Plan, measure
from frostline.planner import options as planner_options
from frostline.planner import throughput as planner_rates
from frostline.planner.measure import DiskThroughput, StepCost
from frostline.planner.options import PlanInputs
from frostline.planner.throughput import check_engine, line_choices
from frostline.planner.views import epochs_of, most_epochs
from frostline.recipe import BackboneChoice, Budget, Compute, Data, Recipe, Search, Stage, Views
from frostline.run.folder import RunFolder
from frostline.training.state import TrainSettings, step_count

NETWORK = BackboneChoice("timm:test_resnet?pretrained=false", image_px=48)
AUTO = Compute(device="cpu", precision="fp32", engine="eager")
KIB = 1 / 2**20
RECIPE = Recipe(
    backbone=NETWORK,
    compute=AUTO,
    data=Data(val=0.25),
    views=Views(flip=True),
    stages=(Stage(line="top", epochs=4), Stage(line="layer3", epochs=6)),
)
# Of layer3 at 48 pixels in half precision, and of the pooled vector in full.
BYTES = {"layer3": 96 * 6 * 6 * 2, "pooled": 96 * 4}


class Throughput:
    """What the planner is told instead of what it would measure: seconds an image."""

    def __init__(self) -> None:
        self.center_s = 0.010
        self.view_s = 0.012
        self.decode_s = 0.004
        self.derive_s = 0.001
        self.step = StepCost(0.002, 0.0005)
        self.disk = DiskThroughput(1e6, 1e8)

    def rows_per_s(self, model: Classifier, items: Sequence[ImageView]) -> float:
        return 1 / (self.center_s if items[0].view == sources.CENTER else self.view_s)


@pytest.fixture
def throughput(monkeypatch: pytest.MonkeyPatch) -> Throughput:
    told = Throughput()
    monkeypatch.setattr(measure, "rows_per_s", told.rows_per_s)
    monkeypatch.setattr(measure, "decoded_per_s", lambda *_: 1 / told.decode_s)
    monkeypatch.setattr(measure, "derived_s", lambda *_: told.derive_s)
    monkeypatch.setattr(measure, "step", lambda *_: told.step)
    monkeypatch.setattr(measure, "disk", lambda _: told.disk)
    return told


def plan(photos: Path, wanted: Recipe = RECIPE, console: Console = QUIET) -> Plan:
    return pipeline.plan(photos, wanted, cache_folder(), console)


def options(found: Plan) -> dict[tuple[bool, int], dict[str, Any]]:
    return {(one["keep"], one["views"]): one for one in found.facts["options"]}


def row_bytes(found: Plan) -> int:
    return int(found.facts["row_bytes"])


# What it works out.


def counts(photos: Path, wanted: Recipe = RECIPE) -> tuple[int, int]:
    from frostline.images import listing as listings
    from frostline.images import splits

    listing = listings.scan(photos, QUIET)
    listing = splits.assign(listing, wanted.data.val, wanted.data.test, wanted.seed)
    return len(listing.of("train")), len(listing.of("val"))


def test_the_estimate_is_what_one_works_out_by_hand(photos: Path, throughput: Throughput) -> None:
    wanted = replace(RECIPE, head=replace(RECIPE.head, start="random"))
    found = plan(photos, wanted)
    train, val = counts(photos)
    size = row_bytes(found)
    # At layer3, and derived from that at the top: all views, and of validation the center.
    rows, derived = train + val + 4 * train, val + 4 * train
    room = rows * size + derived * BYTES["pooled"]
    first = 36 * 0.010 + 4 * train * 0.012 + derived * 0.001 + room / 1e6
    steps = 10 * (train * 0.002 + val * 0.0005)
    epochs = steps + (train + val) * (4 * BYTES["pooled"] + 6 * size) / 1e8
    kept = options(found)[True, 4]
    assert kept["new_bytes"] == kept["memory_bytes"] == room
    assert kept["first_pass_s"] == pytest.approx(first, abs=1e-3)
    assert kept["epoch_s"] == pytest.approx(epochs / 10, abs=1e-3)
    assert kept["total_s"] == pytest.approx(first + epochs, abs=2e-3)
    live = options(found)[False, 4]
    # The first stage goes on from layer3 to the top in every epoch.
    epochs = steps + 10 * (train * 0.012 + val * 0.010) + 4 * (train + val) * 0.001
    assert live["new_bytes"] == live["memory_bytes"] == 0
    assert live["first_pass_s"] == pytest.approx(36 * 0.004, abs=1e-3)
    assert live["epoch_s"] == pytest.approx(epochs / 10, abs=1e-3)
    assert live["total_s"] == pytest.approx(36 * 0.004 + epochs, abs=2e-3)


def test_engines_of_later_lines_count_where_they_run_from_pixels(
    photos: Path, throughput: Throughput, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_setup(seconds: float) -> dict[tuple[bool, int], dict[str, Any]]:
        real = planner_rates._measure

        def slow(*args: Any) -> Any:
            return replace(real(*args), setup_s=seconds)

        with monkeypatch.context() as patch:
            patch.setattr(planner_rates, "_measure", slow)
            return options(plan(photos))

    free, dear = with_setup(0.0), with_setup(3.0)
    # One later line: the top, where the first stage and the probe are.
    assert dear[False, 4]["total_s"] - free[False, 4]["total_s"] == pytest.approx(3.0)
    assert dear[True, 4] == free[True, 4]


def test_a_probe_alone_takes_one_pass(photos: Path, throughput: Throughput) -> None:
    found = plan(photos, replace(RECIPE, stages=()))
    (only,) = found.facts["options"]
    first = 36 * 0.010 + 36 * row_bytes(found) / 1e6
    assert only["first_pass_s"] == pytest.approx(first, abs=1e-3)
    assert only["total_s"] == pytest.approx(first, abs=2e-3)


def test_the_probe_needs_what_is_derived_for_it(photos: Path, throughput: Throughput) -> None:
    wanted = replace(RECIPE, stages=RECIPE.stages[1:])
    with_probe = options(plan(photos, wanted))[True, 4]["total_s"]
    random = replace(wanted, head=replace(wanted.head, start="random"))
    without = options(plan(photos, random))[True, 4]["total_s"]
    each = 0.001 + BYTES["pooled"] / 1e6
    assert with_probe - without == pytest.approx(36 * each, abs=2e-3)


def test_a_probe_on_what_is_not_kept_goes_on_to_the_top(
    photos: Path, throughput: Throughput
) -> None:
    wanted = replace(RECIPE, stages=RECIPE.stages[1:], compute=replace(AUTO, cache="never"))
    with_probe = options(plan(photos, wanted))[False, 4]["total_s"]
    random = replace(wanted, head=replace(wanted.head, start="random"))
    without = options(plan(photos, random))[False, 4]["total_s"]
    assert with_probe - without == pytest.approx(36 * 0.011, abs=2e-3)


def test_a_stage_of_center_views_pays_for_no_other(photos: Path, throughput: Throughput) -> None:
    wanted = replace(RECIPE, stages=RECIPE.stages[1:], compute=replace(AUTO, cache="never"))
    plain = replace(wanted, stages=(replace(wanted.stages[0], augment=False),))
    train, _ = counts(photos)
    varied_s = options(plan(photos, wanted))[False, 4]["epoch_s"]
    (only,) = plan(photos, plain).facts["options"]
    assert varied_s - only["epoch_s"] == pytest.approx(train * 0.002, abs=2e-3)


def test_live_with_a_probe_passes_each_picture_once(photos: Path, throughput: Throughput) -> None:
    views, stage = Views(flip=True, live=True), Stage(line="layer3", epochs=1)
    wanted = replace(RECIPE, views=views, stages=(stage,), compute=replace(AUTO, engine="auto"))
    found = plan(photos, wanted)
    (only,) = found.facts["options"]
    room = 36 * (row_bytes(found) + BYTES["pooled"])
    assert only["new_bytes"] == room
    assert only["first_pass_s"] == pytest.approx(36 * 0.011 + room / 1e6, abs=1e-3)


def test_without_deriving_later_lines_are_computed_from_pixels(
    photos: Path, throughput: Throughput
) -> None:
    head = replace(RECIPE.head, start="random")
    derived = options(plan(photos, replace(RECIPE, head=head)))[True, 4]
    compute = replace(AUTO, derive=False)
    direct = options(plan(photos, replace(RECIPE, head=head, compute=compute)))[True, 4]
    train, val = counts(photos)
    more = val * 0.010 + 4 * train * 0.012
    assert direct["first_pass_s"] - derived["first_pass_s"] == pytest.approx(more, abs=1e-3)
    assert direct["new_bytes"] == derived["new_bytes"]


def test_memory_is_bounded_line_by_line(
    photos: Path, throughput: Throughput, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "IN_MEMORY_BYTES", 5000)
    assert options(plan(photos))[True, 4]["memory_bytes"] == 2 * 5000


def test_break_even_counts_what_comes_first_in_both_ways(
    photos: Path, throughput: Throughput
) -> None:
    words = StringIO()
    found = options(plan(photos, console=Console(words, verbose=True)))
    kept, anew = found[True, 4], found[False, 4]
    more = kept["first_pass_s"] - anew["first_pass_s"]
    even = more / (anew["epoch_s"] - kept["epoch_s"])
    assert f"  {even:.1f} epochs  " in next(
        line for line in words.getvalue().splitlines() if "4 views" in line
    )
    # The probe alone costs more where nothing is kept.
    throughput.decode_s = 1.0
    words = StringIO()
    plan(photos, console=Console(words, verbose=True))
    assert words.getvalue().count("  0.0 epochs  ") == 3


def test_what_is_made_of_pixels_that_are_kept_is_counted_too(
    photos: Path, throughput: Throughput
) -> None:
    stages = (RECIPE.stages[0], replace(RECIPE.stages[1], line="pixels"))
    random = replace(RECIPE, head=replace(RECIPE.head, start="random"))
    both = options(plan(photos, replace(random, stages=stages)))[True, 4]
    alone = options(plan(photos, replace(random, stages=stages[1:])))[True, 4]
    train, val = counts(photos)
    read_s = BYTES["pooled"] / 1e8
    epochs = 4 * (train * (0.002 + read_s) + val * (0.0005 + read_s))
    derived = (val + 4 * train) * (0.001 + BYTES["pooled"] / 1e6)
    assert both["total_s"] - alone["total_s"] == pytest.approx(epochs + derived, abs=3e-3)


def test_views_that_are_replaced_take_room_and_time_too(
    photos: Path, throughput: Throughput
) -> None:
    views = replace(RECIPE.views, count=2)
    plain = options(plan(photos, replace(RECIPE, views=views)))[True, 2]
    found = plan(photos, replace(RECIPE, views=replace(views, refresh=0.25)))
    train, _ = counts(photos)
    # Of ten epochs the first has none, the second a quarter, each other one half of its views.
    first, second = round((0.25 + 2 * 0.5) * train), round(6 * 0.5 * train)
    room = (first + second) * row_bytes(found) + first * BYTES["pooled"]
    fresh_s = (first + second) * 0.012 + first * 0.001 + room / 1e6
    got = options(found)[True, 2]
    assert got["new_bytes"] - plain["new_bytes"] == room
    assert got["total_s"] - plain["total_s"] == pytest.approx(fresh_s, abs=2e-3)
    assert got["first_pass_s"] == plain["first_pass_s"]


def test_what_refresh_was_estimated_to_take_is_what_it_takes(
    photos: Path, tmp_path: Path, throughput: Throughput
) -> None:
    views = Views(count=2, flip=True, crop=0.7, refresh=0.3)
    stage = Stage(line="layer3", epochs=7, batch_size=8)
    head = replace(RECIPE.head, start="random")
    wanted = replace(settled(RECIPE), views=views, stages=(stage,), head=head)
    asked = replace(wanted, compute=replace(AUTO, cache="auto"))
    found = plan(photos, asked)
    made = pipeline.train(photos, tmp_path / "run", wanted, cache_folder(), QUIET)
    taken = made.read_plan()["rows_computed"] * row_bytes(found)
    assert options(found)[True, 2]["new_bytes"] == pytest.approx(taken, rel=0.1)


def test_what_is_kept_already_costs_nothing(
    photos: Path, tmp_path: Path, throughput: Throughput
) -> None:
    before = options(plan(photos))[True, 4]
    pipeline.train(photos, tmp_path / "run", settled(RECIPE), cache_folder(), QUIET)
    after = options(plan(photos))[True, 4]
    assert before["new_bytes"] > 0
    assert after["new_bytes"] == 0
    assert after["first_pass_s"] == 0
    assert after["total_s"] < before["total_s"]


def test_of_what_is_derived_only_what_is_not_kept_costs(
    photos: Path, tmp_path: Path, throughput: Throughput
) -> None:
    only = replace(settled(RECIPE), stages=RECIPE.stages[1:])
    pipeline.train(photos, tmp_path / "run", only, cache_folder(), QUIET)
    train, _ = counts(photos)
    # The probe has left the center views at the top.
    found = options(plan(photos))[True, 4]
    assert found["new_bytes"] == 4 * train * BYTES["pooled"]
    each = 0.001 + BYTES["pooled"] / 1e6
    assert found["first_pass_s"] == pytest.approx(4 * train * each, abs=1e-3)


def settled(wanted: Recipe) -> Recipe:
    return replace(
        wanted,
        compute=replace(AUTO, cache="always"),
        views=replace(wanted.views, count=4),
    )


def test_steps_are_counted_as_epochs(photos: Path, throughput: Throughput) -> None:
    train, _ = counts(photos)
    stage = Stage(line="layer3", steps=10 * train, batch_size=1)
    by_steps = options(plan(photos, replace(RECIPE, stages=(stage,))))[True, 4]
    by_epochs = options(plan(photos, replace(RECIPE, stages=(Stage(line="layer3", epochs=10),))))
    assert by_steps["total_s"] == pytest.approx(by_epochs[True, 4]["total_s"], abs=2e-3)
    assert by_steps["epoch_s"] == pytest.approx(by_epochs[True, 4]["epoch_s"], abs=2e-3)


@pytest.mark.parametrize(
    ("steps", "images", "batch_size", "accumulate", "epochs"),
    [(10, 20, 8, 1, 10 / 3), (10, 20, 8, 2, 5.0), (1, 20, 8, 2, 0.5), (4, 20, 32, 8, 4.0)],
)
def test_steps_make_as_many_epochs_as_training_takes(
    steps: int, images: int, batch_size: int, accumulate: int, epochs: float
) -> None:
    stage = Stage(steps=steps, batch_size=batch_size, accumulate=accumulate)
    assert epochs_of(stage, images) == pytest.approx(epochs)
    how = TrainSettings(
        epochs=most_epochs(stage, images), batch_size=batch_size, accumulate=accumulate
    )
    assert step_count(images, replace(how, epochs=how.epochs - 1)) < steps
    assert step_count(images, how) >= steps


# What it chooses.


def test_what_pays_is_kept_and_what_does_not_is_not(photos: Path, throughput: Throughput) -> None:
    words = StringIO()
    found = plan(photos, console=Console(words, verbose=True))
    assert (found.keep, found.recipe.compute.cache, found.recipe.views.count) == (True, "always", 4)
    assert found.facts["why"] == "soonest with 4 views"
    assert "<- chosen: soonest with 4 views\n" in words.getvalue()
    assert plan(photos, replace(RECIPE, views=Views())).facts["why"] == "soonest"
    # A prefix that costs nothing, and a disk that is slow.
    throughput.center_s = throughput.view_s = 1e-5
    throughput.disk = DiskThroughput(1e4, 1e5)
    words = StringIO()
    found = plan(photos, console=Console(words, verbose=True))
    assert (found.keep, found.recipe.compute.cache) == (False, "never")
    assert found.facts["why"] == "not kept: recomputing is faster"
    assert "<- chosen: not kept: recomputing is faster\n" in words.getvalue()


@pytest.mark.parametrize(("cache", "keep"), [("always", True), ("never", False)])
def test_what_was_asked_for_is_done_whatever_is_faster(
    photos: Path, throughput: Throughput, cache: str, keep: bool
) -> None:
    for cheap in (False, True):
        if cheap:
            throughput.center_s = throughput.view_s = 1e-5
            throughput.disk = DiskThroughput(1e4, 1e5)
        found = plan(photos, replace(RECIPE, compute=replace(AUTO, cache=cache)))
        assert found.keep is keep
        assert found.facts["why"] == f"cache {cache} was asked for"


def test_as_many_views_as_the_disk_may_take(photos: Path, throughput: Throughput) -> None:
    train, val = counts(photos)
    size = row_bytes(plan(photos))
    kept = replace(RECIPE, compute=replace(AUTO, cache="always"))
    for count in (4, 2, 1):
        room = (train + val + count * train) * (size + BYTES["pooled"])
        budget = Budget(disk_gib=(room + 100) / 2**30)
        # Recomputing has the most views and is never out of room, but takes longer.
        for wanted in (kept, RECIPE):
            found = plan(photos, replace(wanted, budget=budget))
            assert found.keep
            assert found.recipe.views.count == found.facts["views"] == count
            assert found.facts["estimate"]["new_bytes"] == room
    short = replace(kept, budget=Budget(disk_gib=(room - 100) / 2**30))
    with pytest.raises(RecipeError, match=r"budget: nothing fits within disk .* Raise it, choose"):
        plan(photos, short)


def test_without_room_nothing_is_kept(photos: Path, throughput: Throughput) -> None:
    words = StringIO()
    found = plan(
        photos, replace(RECIPE, budget=Budget(disk_gib=1 * KIB)), Console(words, verbose=True)
    )
    assert not found.keep
    assert found.facts["why"] == "not kept: the budget has no room"
    assert "<- chosen: not kept: the budget has no room\n" in words.getvalue()


@pytest.mark.parametrize("cache", ["always", "auto"])
def test_a_line_to_be_chosen_moves_up_where_the_disk_is_small(
    photos: Path, throughput: Throughput, cache: str
) -> None:
    stages = (RECIPE.stages[0], replace(RECIPE.stages[1], line="auto"))
    kept = replace(RECIPE, compute=replace(AUTO, cache=cache), stages=stages)
    found = plan(photos, kept)
    assert found.facts["lines"] == ["pooled", "layer1"]
    train, _ = counts(photos)
    # Less than the center views alone at layer1, more than all at the top.
    assert 36 * row_bytes(found) > (36 + 4 * train) * BYTES["pooled"] + 2000
    room = ((36 + 4 * train) * BYTES["pooled"] + 1000) / 2**30
    words = StringIO()
    small = plan(photos, replace(kept, budget=Budget(disk_gib=room)), Console(words, verbose=True))
    assert small.recipe.stages[1].line != "layer1"
    assert row_bytes(small) < row_bytes(found)
    assert small.facts["estimate"]["new_bytes"] <= room * 2**30
    assert "auto" not in [stage.line for stage in small.recipe.stages]
    assert small.keep


def test_no_line_moves_up_where_recomputing_is_sooner_anyway(
    photos: Path, throughput: Throughput
) -> None:
    throughput.center_s = throughput.view_s = 1e-5
    throughput.disk = DiskThroughput(1e4, 1e5)
    wanted = replace(RECIPE, stages=(replace(RECIPE.stages[1], line="auto"),))
    found = plan(photos, replace(wanted, budget=Budget(disk_gib=1 * KIB)))
    assert not found.keep
    assert found.recipe.stages[0].line == "layer1"
    assert found.facts["why"] == "not kept: recomputing is faster"
    assert {one["line"] for one in found.facts["options"]} == {"layer1"}


def test_no_line_moves_above_that_of_an_earlier_stage(photos: Path, throughput: Throughput) -> None:
    ready = prepare(make_request(photos, RECIPE, cache_folder(), QUIET))
    model, listing = ready.model, ready.listing
    names = ("layer4", "auto", "layer2", "auto")
    stages = tuple(Stage(line=name) for name in names)
    wanted = replace(RECIPE, stages=stages)
    policy = planner.policy_of(wanted)
    case = PlanInputs(
        model, listing, wanted, policy, cache_folder(), QUIET, DiskThroughput(1.0, 1.0)
    )
    by_name = {line.name: line for line in model.traced.lines}
    lines = tuple(by_name[name] for name in ("layer4", "layer2", "layer2", "layer1"))
    found = list(line_choices(case, lines))
    assert found[0] == lines
    assert len(found) > 1
    for placed in found:
        assert all(one.index >= other.index for one, other in itertools.pairwise(placed))
        assert (placed[0], placed[2]) == (lines[0], lines[2])
    assert found[-1] == (lines[0], lines[0], lines[2], lines[2])


def test_what_the_disk_has_free_is_a_limit_too(photos: Path, throughput: Throughput) -> None:
    wanted = replace(RECIPE, stages=RECIPE.stages[1:])
    needs = options(plan(photos, wanted))
    throughput.disk = replace(throughput.disk, free=needs[True, 2]["new_bytes"])
    assert plan(photos, wanted).recipe.views.count == 2
    throughput.disk = replace(throughput.disk, free=100)
    found = plan(photos, wanted)
    assert not found.keep
    assert found.facts["why"] == "not kept: the disk has no room"
    always = replace(wanted, compute=replace(AUTO, cache="always"))
    with pytest.raises(DiskError, match=r"the activations need .* and the disk has 100 bytes free"):
        plan(photos, always)
    budget = replace(always, budget=Budget(time_min=60.0))
    with pytest.raises(RecipeError, match=r"60 min .*, the 100 bytes that the disk has free"):
        plan(photos, budget)


def test_what_a_budget_refuses_is_computed_anew_with_a_warm_cache_too(
    photos: Path, tmp_path: Path, throughput: Throughput
) -> None:
    words = StringIO()
    wanted = replace(RECIPE, stages=RECIPE.stages[1:])
    pipeline.train(photos, tmp_path / "run", wanted, cache_folder(), QUIET)
    tiny = replace(wanted, budget=Budget(disk_gib=KIB), seed=5)
    found = plan(photos, tiny, Console(words))
    assert not found.keep
    assert "Activations are not kept: the budget has no room\n" in words.getvalue()


def test_what_is_told_of_a_budget_are_the_needs_of_one_way(
    photos: Path, throughput: Throughput
) -> None:
    found = options(plan(photos))
    few, anew = found[True, 1], found[False, 4]
    room = few["new_bytes"] / 2**30
    short = Budget(disk_gib=0.9 * room, time_min=0.9 * few["total_s"] / 60)
    with pytest.raises(RecipeError) as raised:
        plan(photos, replace(RECIPE, budget=short))
    assert f"(needs {few['new_bytes'] / 1024:.3g} KiB)" in str(raised.value)
    assert f"(needs {few['total_s']:.3g} s)" in str(raised.value)
    # Nearly no disk: what is nearest keeps nothing.
    with pytest.raises(RecipeError) as raised:
        plan(photos, replace(RECIPE, budget=replace(short, disk_gib=KIB / 1024)))
    assert "(needs 0 bytes)" in str(raised.value)
    assert f"(needs {anew['total_s']:.3g} s)" in str(raised.value)


def test_a_budget_of_time(photos: Path, throughput: Throughput) -> None:
    total = plan(photos).facts["estimate"]["total_s"]
    enough = replace(RECIPE, budget=Budget(time_min=(total + 0.1) / 60))
    assert plan(photos, enough).facts["estimate"]["total_s"] == total
    little = replace(RECIPE, budget=Budget(time_min=total / 3 / 60))
    with pytest.raises(RecipeError, match="nothing fits within time"):
        plan(photos, little)


def test_a_search_keeps_more_views_where_there_is_time_for_them(
    photos: Path, throughput: Throughput, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = (Stage(line="layer3", epochs=15),)
    wanted = replace(RECIPE, stages=stages, search=Search(enabled=True))
    found = plan(photos, wanted)
    assert found.recipe.views.count == found.facts["views"] == 12
    # The disk decides here too.
    room = options(found)[True, 8]["new_bytes"]
    short = replace(wanted, budget=Budget(disk_gib=room / 2**30))
    assert plan(photos, short).recipe.views.count == 8
    # So many bytes are nothing that a user who asked for nothing expects.
    monkeypatch.setattr(planner_options, "MORE_VIEWS_BYTES", room)
    assert plan(photos, wanted).recipe.views.count == 8
    # Without a search, and where a pass takes long, there are as many as usual.
    assert plan(photos, replace(RECIPE, stages=stages)).recipe.views.count == 4
    throughput.view_s = 1.0
    found = plan(photos, wanted)
    assert found.recipe.views.count == planner.USUAL_VIEWS
    assert options(found)[True, 12]["first_pass_s"] > planning.SEARCH_AND_PASS_S
    # What was asked for is done, however long it takes.
    asked = replace(wanted, views=replace(wanted.views, count=12))
    assert plan(photos, asked).recipe.views.count == 12


@pytest.mark.parametrize(("minutes", "count"), [(1.0, 1), (3.0, 4), (30.0, 12)])
def test_a_given_time_decides_how_many_views_are_kept(
    photos: Path, throughput: Throughput, minutes: float, count: int
) -> None:
    stages = (Stage(line="layer3", epochs=15),)
    budget, searched = Budget(time_min=minutes), Search(enabled=True)
    wanted = replace(RECIPE, stages=stages, search=searched, budget=budget)
    # One view of each of 27 images takes eleven seconds.
    throughput.center_s = throughput.view_s = 0.4
    assert plan(photos, wanted).recipe.views.count == count


def test_without_augmentation_there_is_one_view(photos: Path, throughput: Throughput) -> None:
    found = plan(photos, replace(RECIPE, views=Views()))
    assert found.recipe.views.count == 1
    room = 36 * (row_bytes(found) + BYTES["pooled"])
    assert options(found)[True, 1]["new_bytes"] == room
    # What stands at the edges varies nothing by itself.
    filled = plan(photos, replace(RECIPE, views=Views(fill="constant")))
    assert filled.recipe.views.count == 1
    assert options(filled)[True, 1]["new_bytes"] == room


def test_views_are_counted_over_all_stages(photos: Path, throughput: Throughput) -> None:
    stages = tuple(replace(stage, epochs=2) for stage in RECIPE.stages)
    assert plan(photos, replace(RECIPE, stages=stages)).recipe.views.count == 4
    plain = (replace(stages[0], augment=False), stages[1])
    assert plan(photos, replace(RECIPE, stages=plain)).recipe.views.count == 2
    by_steps = (Stage(line="layer3", steps=3, batch_size=1000),)
    assert plan(photos, replace(RECIPE, stages=by_steps)).recipe.views.count == 2


def test_the_run_goes_on_with_the_engine_that_was_made(
    photos: Path, tmp_path: Path, throughput: Throughput, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def make(name: str, eager: Engine, *_: object) -> Engine:
        made.append(name)
        return eager

    monkeypatch.setattr(engines, "make", make)
    compute = replace(AUTO, cache="always", engine="openvino")
    for name, wanted in (("measured", RECIPE), ("settled", settled(RECIPE))):
        one = replace(wanted, compute=compute)
        pipeline.train(photos, tmp_path / name, one, cache_folder(), QUIET)
        assert made == ["openvino"], name
        made.clear()


# What it leaves to nobody.


def test_what_was_chosen_is_written_out_and_gives_the_run_again(
    photos: Path, tmp_path: Path, throughput: Throughput, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = (
        Stage(line="top", epochs=2, batch_size=8, lr=0.01),
        Stage(line="auto", epochs=2, batch_size=8, lr=0.01),
    )
    wanted = replace(
        RECIPE,
        head=replace(RECIPE.head, start="random"),
        stages=stages,
        views=Views(preset="light"),
    )
    first = pipeline.train(photos, tmp_path / "one", wanted, cache_folder(), QUIET)
    resolved = recipe.read(first.recipe)
    assert resolved.compute.cache in ("always", "never")
    assert resolved.compute.engine == "eager"
    assert resolved.views.count == 4
    assert resolved.views.flip is True
    assert [stage.line for stage in resolved.stages] == ["top", "layer1"]

    def measured(*_: object) -> Any:
        raise AssertionError("it measured")

    for name in ("rows_per_s", "step", "disk", "derived_s", "decoded_per_s"):
        monkeypatch.setattr(measure, name, measured)
    for cache in (cache_folder(), tmp_path / "fresh"):
        out = tmp_path / f"again-{cache.name}"
        again = pipeline.train(photos, out, resolved, cache, QUIET)
        assert recipe.read(again.recipe) == resolved
        for name in ("model/model.safetensors", "metrics.json", "predictions.csv", "recipe.toml"):
            assert (first.path / name).read_bytes() == (out / name).read_bytes(), name
    said = json.loads(first.plan.read_text())
    assert said["asked"]["stages"][1]["line"] == "auto"
    assert said["measured"]["epoch_s"] > 0


def test_what_is_not_derived_is_given_again_too(
    photos: Path, tmp_path: Path, throughput: Throughput
) -> None:
    throughput.disk = DiskThroughput(1e6, 1e3)
    stages = (
        Stage(line="top", epochs=2, batch_size=8, lr=0.01),
        Stage(line="layer3", epochs=2, batch_size=8, lr=0.01),
    )
    compute = replace(AUTO, cache="always")
    head = replace(RECIPE.head, start="random")
    wanted = replace(RECIPE, stages=stages, head=head, compute=compute, views=Views(preset="light"))
    first = pipeline.train(photos, tmp_path / "one", wanted, cache_folder(), QUIET)
    assert first.read_plan()["derive"] is False
    resolved = recipe.read(first.recipe)
    again = pipeline.train(photos, tmp_path / "again", resolved, tmp_path / "fresh", QUIET)
    one, other = first.model / "model.safetensors", again.model / "model.safetensors"
    assert one.read_bytes() == other.read_bytes()


def test_nothing_is_measured_where_all_was_asked_for(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(*_: object) -> Any:
        raise AssertionError("it measured")

    for name in ("rows_per_s", "step", "disk", "derived_s", "decoded_per_s"):
        monkeypatch.setattr(measure, name, measured)
    found = plan(photos, settled(RECIPE))
    assert found.facts["why"] == "all was asked for"
    assert found.facts["measured_s"] == 0
    with pytest.raises(AssertionError, match="it measured"):
        plan(photos, replace(settled(RECIPE), budget=Budget(disk_gib=1.0)))


@pytest.mark.parametrize(
    ("scale", "engine", "words"),
    [
        (
            1e6,
            "eager",
            r"must be finite, .* Choose another --line, or use --precision bf16\.",
        ),
        (1.0, "openvino", r"differ from those in float32 by .* Use --engine eager\."),
    ],
)
def test_what_an_engine_gives_on_the_sample_must_hold(
    photos: Path, throughput: Throughput, scale: float, engine: str, words: str
) -> None:
    ready = prepare(make_request(photos, RECIPE, cache_folder(), QUIET))
    model, listing = ready.model, ready.listing
    with torch.no_grad():
        model.module.bn1.weight.mul_(scale)  # type: ignore[union-attr, operator]
    base = classifier.recut(model, "layer1")
    if engine != "eager":
        own = base.engine.module
        assert own is not None
        name = base.engine.name.replace("eager", engine, 1)
        other = replace(base.engine, name=name, runner=lambda x: 1.1 * own(x))
        base = replace(base, engine=other)
    policy = planner.policy_of(RECIPE)
    case = PlanInputs(
        model, listing, RECIPE, policy, cache_folder(), QUIET, DiskThroughput(1.0, 1.0)
    )
    with pytest.raises(BackboneError, match=words):
        check_engine(case, base)


@pytest.mark.parametrize(
    ("change", "keep"),
    [
        (lambda one: replace(one, views=Views(live=True, flip=True)), True),
        (
            lambda one: replace(
                one, views=Views(live=True, flip=True), compute=replace(AUTO, cache="never")
            ),
            False,
        ),
    ],
    ids=["auto", "never"],
)
@pytest.mark.parametrize("engine", ["auto", "eager"])
def test_live_keeps_validation_unless_told_not_to(
    photos: Path,
    throughput: Throughput,
    change: Callable[[Recipe], Recipe],
    keep: bool,
    engine: str,
) -> None:
    wanted = change(RECIPE)
    wanted = replace(wanted, compute=replace(wanted.compute, engine=engine))
    found = plan(photos, wanted)
    assert found.keep is keep
    assert Plan(found.recipe, found.facts).keep is keep


def test_a_run_that_is_gone_on_with_keeps_its_plan(
    photos: Path, tmp_path: Path, throughput: Throughput, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "write_metrics", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            pipeline.train(photos, out, RECIPE, cache_folder(), QUIET)
    before = recipe.read(RunFolder(out).recipe)
    throughput.center_s = throughput.view_s = 1e-5
    throughput.disk = DiskThroughput(1e4, 1e5)
    made = pipeline.train(photos, out, RECIPE, cache_folder(), QUIET)
    assert recipe.read(made.recipe) == before
    assert made.read_plan()["cache"] == "always"


def test_bytes_are_those_that_are_written(
    photos: Path, tmp_path: Path, throughput: Throughput
) -> None:
    found = plan(photos)
    pipeline.train(photos, tmp_path / "run", found.recipe, cache_folder(), QUIET)
    model_rows = [
        chunk
        for folder in cache_folder().iterdir()
        if folder.is_dir()
        for chunk in chunks.rows_in(folder)
    ]
    train, _ = counts(photos)
    # At layer3, and derived from it at the top.
    assert len(model_rows) == 2 * (36 + 4 * train)
