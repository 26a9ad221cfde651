import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from frostline.base.errors import RecipeError
from frostline.images import findings
from frostline.images.rows import Listing, Row
from frostline.images.splits import assign


def row(number: int, label: str = "a", group: str = "", split: str = "") -> Row:
    return Row(f"{number}.png", label, split, digest=f"{number:040x}", group=group)


def listing(rows: list[Row], has_splits: bool = False) -> Listing:
    return Listing(tuple(rows), "somewhere", has_splits=has_splits)


def split_of(given: Listing) -> dict[str, str]:
    return {row.path: row.split for row in given.rows}


def many(count: int, labels: int = 4, seed: int = 0) -> list[Row]:
    chance = random.Random(seed)
    return [row(number, f"class{chance.randrange(labels)}") for number in range(count)]


def test_shares_hold_per_class_on_average() -> None:
    counts = Counter(
        (row.label, row.split) for row in assign(listing(many(4000)), val=0.2, test=0.1).rows
    )
    for number in range(4):
        total = sum(counts[f"class{number}", split] for split in ("train", "val", "test"))
        assert counts[f"class{number}", "val"] / total == pytest.approx(0.2, abs=0.05)
        assert counts[f"class{number}", "test"] / total == pytest.approx(0.1, abs=0.05)


def test_the_split_is_fixed_for_all_time() -> None:
    # Golden: a changed hash would move images between training and validation.
    splits = [row.split for row in assign(listing(many(12)), 0.3, 0.2, seed=7).rows]
    assert " ".join(splits) == ("val val train train train test val train train val train test")
    assert [row.split for row in assign(listing(many(12)), 0.3, 0.2, seed=8).rows] != splits


def test_adding_images_moves_none() -> None:
    for seed in range(20):
        rows = many(200 + seed, seed=seed)
        before = split_of(assign(listing(rows), 0.2, 0.1, seed))
        more = [row(number, f"class{number % 4}") for number in range(1000, 1100)]
        mixed = random.Random(seed).sample(rows + more, len(rows) + 100)
        after = split_of(assign(listing(mixed), 0.2, 0.1, seed))
        assert {path: after[path] for path in before} == before


def test_renaming_and_relabelling_move_none() -> None:
    rows = many(300)
    before = [row.split for row in assign(listing(rows), 0.2, 0.0).rows]
    renamed = [replace(row, path=f"elsewhere/{row.path}") for row in rows]
    assert [row.split for row in assign(listing(renamed), 0.2, 0.0).rows] == before


def test_copies_and_groups_stay_together_through_any_chain() -> None:
    for seed in range(20):
        chance = random.Random(seed)
        rows = [
            replace(
                row(chance.randrange(60), f"class{chance.randrange(3)}"),
                path=f"{number}.png",
                group=chance.choice(["", "", f"g{chance.randrange(25)}"]),
            )
            for number in range(120)
        ]
        done = assign(listing(rows), 0.3, 0.2, seed).rows
        for key in ("digest", "group"):
            sides: dict[str, set[str]] = {}
            for one in done:
                if getattr(one, key):
                    sides.setdefault(getattr(one, key), set()).add(one.split)
            assert all(len(found) == 1 for found in sides.values())


def test_a_group_falls_by_its_name_and_not_by_what_is_in_it() -> None:
    for number in range(50):
        few = assign(listing([row(1000, group=f"g{number}"), *many(50)]), 0.3, 0.0)
        more = [row(1000, group=f"g{number}"), row(1001, group=f"g{number}"), *many(50)]
        assert split_of(few)["1000.png"] == split_of(assign(listing(more), 0.3, 0.0))["1000.png"]


def test_each_class_of_two_is_on_both_sides() -> None:
    for seed in range(200):
        rows = [row(number, f"class{number // 2}") for number in range(8)]
        done = assign(listing(rows), val=0.2, test=0.2, seed=seed)
        for label in done.labels:
            splits = [row.split for row in done.rows if row.label == label]
            assert sorted(splits) == ["train", "val"]


def test_a_class_of_one_is_trained_on() -> None:
    for seed in range(50):
        done = assign(
            listing([row(1, "rare"), *[row(n, "b") for n in range(5, 20)]]), 0.5, 0.3, seed
        )
        assert done.rows[0].split == "train"


def several(labels: list[str], **options: bool) -> Listing:
    rows = [row(number, text) for number, text in enumerate(labels)]
    return Listing(tuple(rows), "somewhere", several=True, **options)


def test_several_labels_fall_by_content_alone() -> None:
    chance = random.Random(0)
    texts = [";".join(name for name in "abc" if chance.random() < 0.4) for _ in range(300)]
    plain = assign(listing([row(number) for number in range(300)]), 0.2, 0.1)
    done = assign(several(texts), 0.2, 0.1)
    assert [one.split for one in done.rows] == [one.split for one in plain.rows]


def test_each_of_several_labels_is_in_train_and_in_val_where_train_can_spare_it() -> None:
    for seed in range(300):
        chance = random.Random(seed)
        texts = [";".join(sorted(chance.sample("abcdef", chance.randrange(4)))) for _ in range(14)]
        done = assign(several(texts), 0.2, 0.2, seed)
        for label in done.labels:
            mine = [one for one in done.rows if label in done.tags(one)]
            splits = {one.split for one in mine}
            assert "train" in splits
            if len(mine) > 1 and "val" not in splits:
                trained = [tag for one in done.of("train") for tag in done.tags(one)]
                for one in mine:
                    assert any(trained.count(tag) == 1 for tag in done.tags(one))


def test_no_class_loses_its_last_training_image_to_another_class() -> None:
    # Both images show a, and only one of them b: it may not be the one that goes to val.
    for seed in range(100):
        done = assign(several(["a;b", "a"]), 0.2, 0.2, seed)
        assert [one.split for one in done.rows] == ["train", "val"]


def test_without_validation_all_train() -> None:
    assert set(split_of(assign(listing(many(40)), 0.0, 0.0)).values()) == {"train"}


def test_a_val_that_is_there_stays() -> None:
    given = listing([row(1, split="train"), row(2, split="val"), row(3, split="test")], True)
    assert assign(given, 0.2, 0.1) == given


def test_train_alone_gives_up_a_share_and_a_test_that_is_there_stays() -> None:
    rows = [row(number, split="train") for number in range(500)]
    rows += [row(number, split="test") for number in range(500, 600)]
    done = assign(listing(rows, True), val=0.2, test=0.2)
    assert all(row.split == "test" for row in done.rows[500:])
    counts = Counter(row.split for row in done.rows[:500])
    assert set(counts) == {"train", "val"}
    assert counts["val"] == pytest.approx(100, abs=30)


def test_images_with_a_problem_have_no_split() -> None:
    rows = [replace(row(1), problem="cut short"), row(2), row(3)]
    done = assign(listing(rows), 0.5, 0.0)
    assert done.rows[0] == rows[0]
    assert sorted(row.split for row in done.usable) == ["train", "val"]


@pytest.mark.parametrize(
    ("val", "test", "message"),
    [
        (-0.1, 0.0, "val: must be a share of the images, at least 0 and below 1, and is -0.1."),
        (1.0, 0.0, "val: must be a share of the images, at least 0 and below 1, and is 1.0."),
        (0.2, 20, "test: must be a share of the images, at least 0 and below 1, and is 20."),
        (float("nan"), 0.0, "val: must be a share of the images, at least 0 and below 1"),
        (0.5, 0.5, "val and test: must leave something to train on, and 0.5 + 0.5 leave nothing."),
    ],
)
def test_shares_out_of_range(val: float, test: float, message: str) -> None:
    with pytest.raises(RecipeError) as error:
        assign(listing(many(4)), val, test)
    assert message in str(error.value)


def lopsided(seed: int, groups: int = 24) -> list[Row]:
    """Groups of very different sizes, each of mostly one class."""
    chance = random.Random(seed)
    rows: list[Row] = []
    for group in range(groups):
        main = f"class{group % 3}"
        for _ in range(chance.choice([2, 5, 9, 30])):
            label = main if chance.random() < 0.8 else f"class{chance.randrange(3)}"
            rows.append(row(len(rows), label, group=f"{seed}-{group}"))
    return rows


def shares(rows: Sequence[Row], split: str) -> dict[str, float]:
    totals = Counter(row.label for row in rows)
    return {
        label: sum(row.split == split for row in rows if row.label == label) / count
        for label, count in totals.items()
    }


@pytest.mark.parametrize("test", [0.0, 0.2])
def test_groups_are_shared_out_evenly(test: float) -> None:
    worst = []
    for seed in range(20):
        rows = assign(listing(lopsided(seed)), 0.2, test).rows
        for split, share in (("val", 0.2), ("test", test)):
            worst.append(max(abs(one - share) for one in shares(rows, split).values()))
    assert max(worst) < 0.12
    assert sum(worst) / len(worst) < 0.04


def test_groups_stay_whole_and_single_images_where_they_fell() -> None:
    grouped, single = lopsided(3), [row(number, "class0") for number in range(5000, 5200)]
    alone = split_of(assign(listing(single), 0.2, 0.1))
    done = assign(listing([*grouped, *single]), 0.2, 0.1)
    sides: dict[str, set[str]] = {}
    for one in done.rows:
        if one.group:
            sides.setdefault(one.group, set()).add(one.split)
    assert all(len(found) == 1 for found in sides.values())
    together = split_of(done)
    assert {path: together[path] for path in alone} == alone


def test_the_order_and_names_of_files_change_no_group() -> None:
    rows = lopsided(5)
    before = {row.digest: row.split for row in assign(listing(rows), 0.2, 0.1).rows}
    mixed = [replace(row, path=f"x{row.path}") for row in random.Random(1).sample(rows, len(rows))]
    after = {row.digest: row.split for row in assign(listing(mixed), 0.2, 0.1).rows}
    assert after == before


def test_shares_of_groups_are_said() -> None:
    done = assign(listing(lopsided(7)), 0.2, 0.1)
    (val, test) = findings.group_shares(done)
    assert val.startswith("groups stay together, 24 of them: val has ")
    assert re.search(r"images, from \d+ of \d+ 'class\d' to \d+ of \d+ 'class\d'\.$", val)
    assert test.startswith("groups stay together, 24 of them: test has ")
    assert findings.group_shares(assign(listing(many(40)), 0.2, 0.1)) == []
    assert set(findings.group_shares(done)) <= set(findings.report_lines(done))
