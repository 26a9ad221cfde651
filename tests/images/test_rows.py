"""Labels as they are stored and as they are shown."""

from frostline.images.rows import join_tags, shown_label, split_tags


def test_several_labels_are_one_text_and_come_apart_again() -> None:
    assert split_tags(" dog; cat;;dog ") == ("cat", "dog")
    assert split_tags(join_tags(["dog", "cat"])) == ("cat", "dog")


def test_labels_are_shown_as_people_write_them() -> None:
    assert shown_label("cat;dog", several=True) == "cat, dog"
    assert shown_label("cat;dog", several=False) == "cat;dog"
    assert shown_label("", several=True) == ""
