"""Sound files: good ones of every format, and bad ones, each of which is told in one line."""

import re
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from frostline.base.errors import ListingError
from frostline.images import listing as listings
from frostline.images.unreadable import Unreadable
from frostline.recipe import Data
from frostline.sound import decode
from frostline.sound.decode import SOUNDS
from sound_files import ENDINGS, make_sounds, tone, write


def problem(path: Path) -> str:
    """What is wrong with a file: by its header, or else by its samples."""
    found = decode.examine(str(path))
    if found.problem:
        return found.problem
    assert found.header is not None
    length_s = found.header.width_px / found.header.height_px
    with pytest.raises(Unreadable) as caught:
        decode.read(str(path), 0.0, round(8000 * length_s), 8000)
    return str(caught.value)


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_is_read_and_resampled(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"a.{ending}", tone(440.0, 1.0, 44_100), 44_100)
    found = decode.examine(str(path))
    assert found.header is not None
    assert abs(found.header.width_px - 44_100) < 2500
    samples = decode.read(str(path), 0.25, 6000, 12_000)
    assert samples.dtype == np.float32
    t = 0.25 + np.arange(6000) / 12_000
    expected = 0.3 * np.sin(2 * np.pi * 440.0 * t)
    # MP3 and Vorbis are lossy, and the tone has a little noise.
    assert np.corrcoef(samples, expected)[0, 1] > 0.99


@pytest.mark.parametrize(("rate_hz", "wanted_hz"), [(44_100, 12_000), (16_000, 16_000)])
def test_a_part_is_what_the_whole_has_there(tmp_path: Path, rate_hz: int, wanted_hz: int) -> None:
    path = write(tmp_path / "a.flac", tone(440.0, 3.0, rate_hz), rate_hz)
    whole = decode.read(str(path), 0.0, 3 * wanted_hz, wanted_hz)
    part = decode.read(str(path), 1.0, wanted_hz, wanted_hz)
    np.testing.assert_allclose(part, whole[wanted_hz : 2 * wanted_hz], atol=2e-4)


def test_there_is_silence_outside_a_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(440.0, 0.5))
    samples = decode.read(str(path), -0.25, 16_000, 16_000)
    assert not samples[:4000].any()
    assert samples[4000:12_000].any()
    assert not samples[12_000:].any()


def test_8_bit_and_192_khz_are_read(tmp_path: Path) -> None:
    crude = write(tmp_path / "8.wav", tone(440.0), 16_000, "PCM_U8")
    fine = write(tmp_path / "192.wav", tone(440.0, 1.0, 192_000), 192_000, "PCM_24")
    for path in (crude, fine):
        samples = decode.read(str(path), 0.0, 12_000, 12_000)
        expected = 0.3 * np.sin(2 * np.pi * 440.0 * np.arange(12_000) / 12_000)
        np.testing.assert_allclose(samples[100:-100], expected[100:-100], atol=0.06)
    header = decode.examine(str(crude)).header
    assert header is not None
    assert header.mode == "WAV/PCM_U8/1"


def test_stereo_is_mixed(tmp_path: Path) -> None:
    left = tone(440.0)
    path = write(tmp_path / "a.wav", np.stack([left, np.zeros_like(left)], 1))
    samples = decode.read(str(path), 0.0, 16_000, 16_000)
    np.testing.assert_allclose(samples, left / 2, atol=1e-4)


def test_bad_files_are_told_in_one_line(tmp_path: Path) -> None:
    good = tone(440.0)
    cases = {
        "empty.mp3": b"",
        "video.mp3": b"\0\0\0\x20ftypisom\0\0\2\0isomiso2" + bytes(4000),
        "phone.m4a": b"\0\0\0\x20ftypM4A \0\0\2\0" + bytes(4000),
        "text.wav": b"hello" * 100,
        "page.ogg": b"<!DOCTYPE html><html>",
        "pointer.flac": b"version https://git-lfs.github.com/spec/v1\n",
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
    write(tmp_path / "none.wav", good[:0])
    write(tmp_path / "one.wav", good[:1])
    write(tmp_path / "opposite.wav", np.stack([good, -good], 1))
    write(tmp_path / "nan.wav", np.where(good > 0.2, np.nan, good), subtype="FLOAT")
    whole = write(tmp_path / "cut.flac", tone(440.0, 5.0)).read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[: len(whole) // 3])
    told = {path.name: problem(path) for path in sorted(tmp_path.iterdir())}
    assert all("\n" not in reason for reason in told.values())
    assert told["empty.mp3"] == "the file is empty (0 bytes)"
    assert told["video.mp3"].startswith("a video and not a sound: take its sound out")
    assert told["phone.m4a"].startswith("AAC in MP4, which is not read: convert it")
    assert told["text.wav"].startswith("not a sound that is read")
    assert told["page.ogg"].startswith("a web page")
    assert told["pointer.flac"].startswith("a Git LFS pointer")
    assert told["none.wav"] == "holds no samples"
    assert told["one.wav"].startswith("too short: 1 sample at 16000 Hz")
    assert told["opposite.wav"].startswith("its 2 channels cancel out when they are mixed")
    assert told["nan.wav"].startswith("holds values that are no numbers")
    assert told["cut.flac"].startswith("damaged or cut short: flac decoder lost sync")


def wav(samples: bytes, *, rate_hz: int = 16_000, bits: int = 16, declared: int = -1) -> bytes:
    """A mono WAV file whose header may say anything."""
    kind = 3 if bits == 32 else 1
    told = len(samples) if declared < 0 else declared
    rate = rate_hz * bits // 8
    form = struct.pack("<IHHIIHH", 16, kind, 1, rate_hz, rate, bits // 8, bits)
    riff = struct.pack("<I", min(told + 36, 0xFFFF_FFFF))
    return b"RIFF" + riff + b"WAVEfmt " + form + b"data" + struct.pack("<I", told) + samples


@pytest.mark.parametrize("declared", [0xFFFF_FFFF, 0xFFFF_FFF0, 0x7FFF_F000])
def test_a_header_that_declares_gigabytes_is_that_of_a_stream(
    tmp_path: Path, declared: int
) -> None:
    samples = (32_767 * tone(440.0)).astype("<i2")
    path = tmp_path / "streamed.wav"
    path.write_bytes(wav(samples.tobytes(), declared=declared))
    found = decode.examine(str(path))
    assert found.header is not None
    assert found.header.width_px == len(samples)
    read = decode.read(str(path), 0.0, 16_000, 16_000)
    np.testing.assert_allclose(read, samples / 32_768, atol=1e-6)


def test_headers_that_cannot_be_true_are_told(tmp_path: Path) -> None:
    samples = (32_767 * tone(440.0)).astype("<i2").tobytes()
    huge = np.full(16_000, 3e38, "<f4").tobytes()
    (tmp_path / "cut.wav").write_bytes(wav(samples[:4000], declared=len(samples)))
    (tmp_path / "slow.wav").write_bytes(wav(samples, rate_hz=1))
    (tmp_path / "fast.wav").write_bytes(wav(samples, rate_hz=2_147_483_629))
    write(tmp_path / "crowd.wav", np.zeros((1000, 65), np.float32))
    (tmp_path / "loud.wav").write_bytes(wav(huge, bits=32))
    path = write(tmp_path / "long.flac", tone(440.0))
    data = bytearray(path.read_bytes())
    # The number of samples: 36 bits in the first block of metadata.
    data[21] |= 0x0F
    data[22:26] = b"\xff" * 4
    path.write_bytes(bytes(data))
    told = {path.name: problem(path) for path in sorted(tmp_path.iterdir())}
    assert told["cut.wav"] == (
        "damaged or cut short: 28,000 of the 32,000 bytes of its samples are missing"
    )
    assert told["slow.wav"] == "damaged: its header says a rate of 1 Hz"
    assert told["fast.wav"] == "damaged: its header says a rate of 2147483629 Hz"
    assert told["crowd.wav"] == "has 65 channels, and at most 64 are mixed"
    assert told["loud.wav"] == "holds values far too large for a sound"
    assert re.fullmatch(
        r"damaged: its [\d,]+ bytes cannot hold the 68,719,476,735 samples it says",
        told["long.flac"],
    )


@pytest.mark.parametrize("ending", ENDINGS)
def test_damaged_sounds_are_read_or_told_in_one_line(tmp_path: Path, ending: str) -> None:
    whole = write(tmp_path / f"whole.{ending}", tone(440.0, 0.5)).read_bytes()
    chance, path = np.random.default_rng(0), tmp_path / f"bad.{ending}"
    refused = 0
    for number in range(60):
        data = bytearray(whole)
        at = int(chance.integers(len(data) if number % 2 else min(100, len(data))))
        if number % 3:
            data[at : at + 4] = chance.bytes(4)
        else:
            del data[at:]
        path.write_bytes(bytes(data))
        found = decode.examine(str(path))
        told = found.problem
        if found.header is not None:
            try:
                samples = decode.read(str(path), 0.0, 4000, 8000)
            except Unreadable as error:
                told = str(error)
            else:
                assert np.isfinite(samples).all()
        assert "\n" not in told
        refused += bool(told)
    assert refused > 10


def test_a_varied_view_of_what_cannot_be_used_is_silent(tmp_path: Path) -> None:
    good = tone(440.0)
    path = write(tmp_path / "opposite.wav", np.stack([good, -good], 1))
    samples = decode.read(str(path), 0.0, 16_000, 16_000, is_lenient=True)
    assert np.abs(samples).max() < 1e-4  # 16 bits are not the same above and below zero.


def test_a_folder_is_listed_by_its_sounds(tmp_path: Path) -> None:
    root = make_sounds(tmp_path / "sounds", each=4)
    (root / "low" / "notes.txt").write_text("not a sound")
    (root / "low" / "bad.mp3").write_bytes(b"")
    found = listings.scan(root, medium=SOUNDS)
    assert found.labels == ["high", "low"]
    assert (len(found.usable), len(found.problems), found.skipped_other) == (8, 1, 1)
    assert {row.height for row in found.usable} == {16_000}
    assert "left out: 1 file: " in " ".join(listings.report_lines(found))


def test_a_table_may_name_sounds_without_their_endings(tmp_path: Path) -> None:
    root = make_sounds(tmp_path / "sounds", each=2)
    table = root / "sounds.csv"
    table.write_text("path,label\nhigh/000.wav,high\n001,low\nhigh/001.flac,high\n")
    (root / "high" / "001.flac").rename(root / "high" / "other.flac")
    table.write_text("path,label\nhigh/000.wav,high\n001,low\nhigh/other.flac,high\n")
    found = listings.scan_as(table, Data(sound=True), medium=SOUNDS)
    assert [Path(row.path).name for row in found.usable] == ["000.wav", "other.flac", "001.flac"]


def test_a_folder_without_sounds_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "picture.png").write_bytes(b"\x89PNG")
    with pytest.raises(ListingError, match="holds no sounds; 1 other and 0 hidden files"):
        listings.scan(tmp_path, medium=SOUNDS)


def test_a_missing_extra_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_sounds(tmp_path, each=1)
    monkeypatch.setitem(sys.modules, "soxr", None)
    with pytest.raises(ListingError, match=r"pip install 'frostline\[sound\]'"):
        listings.scan(root, medium=SOUNDS)
