"""`frostline weights inspect`, as it is typed."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frostline.cli import main
from networks.weights_files.makers import make


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return make("npz", tmp_path / "one")


def typed(capsys: pytest.CaptureFixture[str], *words: object) -> list[str]:
    assert main(["weights", "inspect", *map(str, words)]) == 0
    return capsys.readouterr().out.splitlines()


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main(["weights", "inspect", *map(str, words)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_a_table_names_shapes_types_and_totals(
    archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = typed(capsys, archive)
    what = f"NumPy archive, three classes; open it with --weights {archive}"
    assert lines[0] == f"{archive}: {what}"
    row = next(line for line in lines if line.startswith("conv/kernel")).split("  ")
    assert [cell.strip() for cell in row if cell] == [
        *("conv/kernel", "3 × 3 × 3 × 4", "float32", "108", "560")
    ]
    assert "5 tensors, 163 numbers, 1.3 KiB" in lines
    assert any(line.startswith("sha256: ") for line in lines)


def test_a_tree_adds_up_its_branches(archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = typed(capsys, archive, "--tree")
    at = lines.index("├── conv  112")
    assert lines[at + 1 : at + 3] == [
        "│   ├── kernel  3 × 3 × 3 × 4 float32",
        "│   └── bias  4 float32",
    ]
    assert "├── dw/kernel  3 × 3 × 4 × 1 float32" in lines


def test_only_leaves_out_what_is_not_named(
    archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = typed(capsys, archive, "--only", "fc/*")
    assert [line.split()[0] for line in lines if line.startswith(("fc", "conv", "dw"))] == [
        *("fc/kernel", "fc/bias")
    ]
    assert "no tensor of that name" in refused(capsys, archive, "--only", "nothing")


def test_json_has_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make("tflite_int8", tmp_path / "one")
    found = json.loads("\n".join(typed(capsys, path, "--json")))
    assert found["format"] == "tflite"
    assert found["graph"]["operations"]["CONV_2D"] == 1
    conv = next(node for node in found["graph"]["nodes"] if node["op"] == "CONV_2D")
    assert conv["attributes"]["stride_w"] == 2
    kernel = next(row for row in found["tensors"] if row["name"] == "Conv2D")
    assert len(kernel["quantisation"]["scale"]) == 4
    assert found["totals"]["tensors"] == len(found["tensors"])
    assert len(found["digest"]) == 64


def test_a_histogram_is_text_and_a_picture(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "hist.png"
    lines = typed(capsys, archive, "--histogram", "conv/kernel", "-o", picture)
    assert lines[0] == "conv/kernel: 3 × 3 × 3 × 4 float32"
    assert sum(int(line.split()[3]) for line in lines[2:]) == 108
    assert any("█" * 40 in line for line in lines)
    with Image.open(picture) as opened:
        assert opened.format == "PNG"
        assert len(opened.convert("RGB").getcolors(1 << 20) or []) > 10


def test_options_that_do_not_go_together_are_named(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--histogram TENSOR" in refused(capsys, archive, "-o", tmp_path / "a.png")
    said = refused(capsys, archive, "--histogram", "fc/bias", "-o", tmp_path / "a.jpg")
    assert "must end in .png" in said
    assert "Did you mean fc/bias" in refused(capsys, archive, "--histogram", "fc/bia")
    assert "no such weights file" in refused(capsys, tmp_path / "absent.npz")


def test_names_from_a_file_cannot_steer_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "a.npz", **{"red\x1b[31m\nline": np.ones(2)})
    for option in ((), ("--tree",)):
        text = "\n".join(typed(capsys, tmp_path / "a.npz", *option))
        assert "\x1b" not in text
        assert r"red\x1b[31m\nline" in text


def test_damaged_files_are_told_in_one_line(
    archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive.write_bytes(archive.read_bytes()[:500])
    assert "not a whole NumPy archive" in refused(capsys, archive)
