"""What is passed on tells no folders of the machine."""

import pytest

from frostline.base.paths import without_folders


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("/users/me/photos", "…/photos"),
        ("/users/me/photos/", "…/photos"),
        ("dir:/users/me/net", "dir:…/net"),
        ("--out=/users/me/run", "--out=…/run"),
        ("~/runs/a b", "…/a b"),
        (r"C:\Users\me\photos", "…/photos"),
        (r"dir:C:\Users\me\net", "dir:…/net"),
        (r"\\server\me\photos", "…/photos"),
        ("dir:/users/me/net?pretrained=false", "dir:…/net?pretrained=false"),
        ("photos/", "photos/"),
        ("runs/photos", "runs/photos"),
        ("timm:resnet50?pretrained=false", "timm:resnet50?pretrained=false"),
        ("hub:owner/name", "hub:owner/name"),
        ("stages.1.lr=1e-5", "stages.1.lr=1e-5"),
        ("-", "-"),
    ],
)
def test_absolute_paths_keep_their_last_part_alone(word: str, told: str) -> None:
    assert without_folders(word) == told
