"""The public surface, pinned."""

import frostline
import frostline.api


def test_public_names() -> None:
    assert sorted(frostline.__all__) == [
        "Backbone",
        "FrostlineError",
        "Preprocessing",
        "Run",
        "__version__",
        "activations",
        "backbone",
        "lr_find",
        "open_run",
        "output_size",
        "plan",
        "train",
    ]
    assert all(getattr(frostline, name) is not None for name in frostline.__all__)


def test_a_folder_does_not_hide_a_function_of_its_name() -> None:
    from frostline.activations.extraction import pixels

    assert callable(pixels)
    assert frostline.activations is frostline.api.activations


def test_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(frostline, "nothing_of_the_kind")
