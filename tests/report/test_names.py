"""What pages call pictures."""

import os
from pathlib import Path

from frostline.report.names import short_names


def test_folders_that_all_share_are_left_out() -> None:
    paths = ["/users/me/set/val/ants/1.jpg", "/users/me/set/val/bees/1.jpg"]
    assert list(short_names(paths).values()) == ["ants/1.jpg", "bees/1.jpg"]
    assert short_names(["/users/me/a.jpg"]) == {"/users/me/a.jpg": "a.jpg"}
    assert short_names([]) == {}


def test_where_nothing_is_shared_folders_stay_untold() -> None:
    found = short_names(["/users/me/a.jpg", "/mnt/disk/b.jpg"])
    assert list(found.values()) == ["a.jpg", "b.jpg"]


def test_relative_paths_are_of_the_working_directory() -> None:
    absolute = str(Path.cwd() / "x" / "b.jpg")
    found = short_names(["x/a.jpg", absolute])
    assert found == {"x/a.jpg": "a.jpg", absolute: "b.jpg"}
    assert os.sep not in "".join(found.values())
