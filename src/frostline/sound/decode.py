"""From sound files to mono samples: one decoder for every command.

libsndfile reads them (through soundfile) and soxr resamples; both are the extra `sound`, imported
here alone. Any part of a file is read by itself, so a sound of hours is never in memory as a whole,
and the samples of a part do not depend on what else is read.
"""

import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from frostline.base import files
from frostline.base.errors import ListingError
from frostline.images.decode import Header
from frostline.images.medium import Examined, Medium
from frostline.images.unreadable import Unreadable

Samples = NDArray[np.float32]

READ = frozenset(
    (
        *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3"),
        *(".aif", ".aiff", ".aifc", ".au", ".caf", ".rf64", ".w64"),
    )
)
# They are listed as sounds, so that what is wrong with them is said of each.
_NOT_READ = frozenset((".m4a", ".aac", ".wma", ".ape", ".amr", ".mka", ".m4b"))
# Nothing shorter can be heard as more than a click.
SHORTEST_S = 0.01
# What a resampled sample may depend on, before and after it.
_MARGIN_S = 0.05
# Channels that leave less than this share of their energy when they are mixed cancel out: -40 dB.
_CANCELLED = 1e-4
_AUDIBLE = 1e-8
# Where MP3 is entered, mpg123 complains on standard error of what it lacks of the frames before,
# though what comes out is right; so near the beginning it reads through.
_READ_THROUGH_S = 10.0
# Fewer or more samples a second are no sound, but a damaged header.
_LOWEST_HZ, _HIGHEST_HZ = 100, 1_000_000
# More would fill memory, a second of each at a time.
_MOST_CHANNELS = 64
# No codec stores more samples in a byte, not even of silence.
_MOST_IN_A_BYTE = 8192
# What writes WAV as a stream says that it has so many bytes, or more: nobody knew.
_STREAMED_BYTES = 0x7FFF_0000
_MOST_CHUNKS = 64
# Sizes in headers are off by a little where nothing is missing.
_SPARED_BYTES = 1024
# libsndfile says so of a stream whose length nobody knows.
_UNKNOWN = 1 << 60
_CONVERT = "convert it to FLAC or WAV (ffmpeg -i {} out.flac)"
_FOREIGN: tuple[tuple[bytes, int, str], ...] = (
    (b"ftypM4A", 4, f"AAC in MP4, which is not read: {_CONVERT.format('in.m4a')}"),
    (b"ftypM4B", 4, f"AAC in MP4, which is not read: {_CONVERT.format('in.m4b')}"),
    (b"ftyp", 4, "a video and not a sound: take its sound out (ffmpeg -i in.mp4 out.flac)"),
    (b"\x1aE\xdf\xa3", 0, "Matroska or WebM, which is not read: " + _CONVERT.format("in.webm")),
    (b"0&\xb2u\x8ef\xcf\x11", 0, f"WMA, which is not read: {_CONVERT.format('in.wma')}"),
    (b"AVI ", 8, "a video and not a sound: take its sound out (ffmpeg -i in.avi out.flac)"),
    (b"version https://git-lfs", 0, "a Git LFS pointer and not the sound: run `git lfs pull`"),
)
_WEB_PAGE = re.compile(rb"\A\s*<(?:!doctype html|html|head|body)", re.I)
_KNOWN_STARTS = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"fLaC", b"OggS", b"ID3", b".snd", b"caff")
_W64 = b"riff\x2e\x91\xcf\x11"


def examine(path: str, most: int = 0) -> Examined:
    """Reads the header of a sound file; see `Medium.examine`.

    Returns:
        The digest of its content; a header whose width is its length in samples, and whose height
        is their rate in hertz; or why it cannot be read.
    """
    try:
        digest = files.digest_file(Path(path))
    except OSError as error:
        return Examined(problem=(error.strerror or str(error)).lower())
    try:
        return Examined(digest, _header(path))
    except Unreadable as error:
        return Examined(digest, problem=str(error))


def endings() -> frozenset[str]:
    """Returns the file name endings of sounds, in lower case, with the dot.

    Raises:
        ListingError: Where soundfile or soxr is not installed.
    """
    _libraries()
    return READ | _NOT_READ


SOUNDS = Medium("sound", endings, examine)


def read(path: str, start_s: float, count: int, rate_hz: int, is_lenient: bool = False) -> Samples:
    """Reads a part of a sound file, mixed to mono and resampled.

    Args:
        path: The file.
        start_s: Where the part begins; may lie before the file's beginning.
        count: How many samples to return. Outside the file there is silence.
        rate_hz: The rate to resample to.
        is_lenient: Whether damage is silence rather than an error.

    Returns:
        float32 [count].

    Raises:
        Unreadable: Where the part is damaged, holds what is no number, or its channels cancel out.
    """
    soundfile, soxr = _libraries()
    with _opened(soundfile, path) as file:
        own_hz = int(file.samplerate)
        # Where both rates meet: from there on, samples of both begin together.
        unit = own_hz // math.gcd(own_hz, rate_hz)
        margin = unit * math.ceil(_MARGIN_S * own_hz / unit) if own_hz != rate_hz else 0
        wanted = math.ceil(count * own_hz / rate_hz)
        first = round(start_s * own_hz) - margin
        total = unit * math.ceil((wanted + 2 * margin) / unit) if margin else wanted
        mono = _mono(_part(file, first, total, is_lenient), is_lenient)
    if own_hz == rate_hz:
        return mono
    resampled: Samples = soxr.resample(mono, own_hz, rate_hz, quality="HQ")
    if not is_lenient and not np.isfinite(resampled).all():
        raise Unreadable("holds values far too large for a sound")
    skipped = margin * rate_hz // own_hz
    return np.ascontiguousarray(resampled[skipped : skipped + count])


def length_s(path: str) -> float:
    """Returns how long a sound lasts, in seconds.

    Raises:
        Unreadable: Where it is none, or too short.
    """
    header = _header(path)
    return header.width_px / header.height_px


def _libraries() -> tuple[Any, Any]:
    try:
        import soundfile
        import soxr
    except (ImportError, OSError) as error:  # OSError: libsndfile itself is missing.
        raise ListingError(
            "sounds need soundfile and soxr: pip install 'frostline[sound]'."
        ) from error
    return soundfile, soxr


def _header(path: str) -> Header:
    soundfile, _ = _libraries()
    with Path(path).open("rb") as stream:
        _refuse(stream.read(512))
        _refuse_cut(stream)
        size = stream.seek(0, os.SEEK_END)
    with _opened(soundfile, path) as file:
        frames, rate_hz, channels = int(file.frames), int(file.samplerate), int(file.channels)
        mode = f"{file.format}/{file.subtype}/{file.channels}"
    if frames <= 0:
        raise Unreadable("holds no samples")
    if frames >= _UNKNOWN:
        raise Unreadable("does not say how long it is: convert it to FLAC or WAV")
    if channels > _MOST_CHANNELS:
        raise Unreadable(f"has {channels} channels, and at most {_MOST_CHANNELS} are mixed")
    if not _LOWEST_HZ <= rate_hz <= _HIGHEST_HZ:
        raise Unreadable(f"damaged: its header says a rate of {rate_hz} Hz")
    if frames > _MOST_IN_A_BYTE * size:
        raise Unreadable(f"damaged: its {size:,} bytes cannot hold the {frames:,} samples it says")
    if frames / rate_hz < SHORTEST_S:
        told = "1 sample" if frames == 1 else f"{frames} samples"
        raise Unreadable(
            f"too short: {told} at {rate_hz} Hz last {1000 * frames / rate_hz:.2g} ms, and at "
            f"least {1000 * SHORTEST_S:g} ms are needed"
        )
    return Header(frames, rate_hz, mode)


def _refuse(start: bytes) -> None:
    """Stops at what is no sound, before a decoder looks for one in it."""
    if not start:
        raise Unreadable("the file is empty (0 bytes)")
    for sign, at, what in _FOREIGN:
        if start[at : at + len(sign)] == sign:
            raise Unreadable(what)
    if _WEB_PAGE.match(start):
        raise Unreadable("a web page and not a sound: the download went wrong; fetch it again")
    if not (start.startswith((*_KNOWN_STARTS, _W64)) or _is_mpeg_frame(start)):
        raise Unreadable("not a sound that is read: convert it to FLAC or WAV")


def _refuse_cut(stream: BinaryIO) -> None:
    """Stops at a WAV file that ends before its samples do, of which libsndfile says nothing."""
    stream.seek(0)
    head, at = stream.read(12), 12
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return
    size = stream.seek(0, os.SEEK_END)
    for _ in range(_MOST_CHUNKS):
        stream.seek(at)
        chunk = stream.read(8)
        length = int.from_bytes(chunk[4:], "little")
        if len(chunk) < 8:
            return
        if chunk[:4] == b"data":
            missing = at + 8 + length - size
            if length < _STREAMED_BYTES and missing > _SPARED_BYTES:
                told = f"{missing:,} of the {length:,} bytes of its samples are missing"
                raise Unreadable(f"damaged or cut short: {told}")
            return
        at += 8 + length + length % 2


def _is_mpeg_frame(start: bytes) -> bool:
    """Says whether an MPEG audio frame begins here: sync, version, layer, bit rate, sample rate."""
    # Some encoders put zeros in front.
    head = start.lstrip(b"\0")[:4]
    return (
        len(head) == 4
        and head[0] == 0xFF
        and head[1] & 0xE0 == 0xE0
        and head[1] & 0x18 != 0x08
        and head[1] & 0x06 != 0
        and head[2] & 0xF0 != 0xF0
        and head[2] & 0x0C != 0x0C
    )


@contextmanager
def _opened(soundfile: Any, path: str) -> Iterator[Any]:
    try:
        file = soundfile.SoundFile(path)
    except (RuntimeError, OSError, TypeError, ValueError) as error:
        raise Unreadable(_damaged(error)) from error
    with file:
        yield file


def _part(file: Any, first: int, count: int, is_lenient: bool) -> NDArray[np.float32]:
    """Returns float32 [count, channels]; silence where the file does not reach."""
    found = np.zeros((count, file.channels), np.float32)
    begin, end = max(first, 0), min(first + count, file.frames)
    if begin >= end:
        return found
    try:
        if file.format == "MP3" and begin <= _READ_THROUGH_S * file.samplerate:
            file.read(begin, dtype="float32")
        else:
            file.seek(begin)
        samples = file.read(end - begin, dtype="float32", always_2d=True)
    except (RuntimeError, OSError) as error:
        if is_lenient:
            return found
        raise Unreadable(_damaged(error)) from error
    # The lengths of MP3 are estimates where nothing tells them.
    missing = (end - begin - len(samples)) / file.samplerate
    if missing > _MARGIN_S and not is_lenient:
        raise Unreadable(f"damaged or cut short: the last {missing:.1f} s are missing")
    found[begin - first : begin - first + len(samples)] = samples
    return found


def _mono(samples: NDArray[np.float32], is_lenient: bool) -> Samples:
    if not np.isfinite(samples).all():
        if not is_lenient:
            raise Unreadable("holds values that are no numbers (NaN or infinite)")
        samples = np.nan_to_num(samples, posinf=0.0, neginf=0.0)
    if samples.shape[1] == 1:
        return np.ascontiguousarray(samples[:, 0])
    mixed: Samples = samples.mean(1)
    energy = float(np.square(samples, dtype=np.float64).mean())
    left = float(np.square(mixed, dtype=np.float64).mean())
    if energy > _AUDIBLE and left < _CANCELLED * energy and not is_lenient:
        raise Unreadable(
            f"its {samples.shape[1]} channels cancel out when they are mixed (opposite phase): "
            "turn one around, or write a mono file"
        )
    return mixed


def _damaged(error: Exception) -> str:
    said = str(error).rpartition("': ")[2] or type(error).__name__
    if "File does not exist" in said:  # What libsndfile says where mpg123 finds nothing.
        return "damaged, or not the sound that its name says"
    told = " ".join(said.removeprefix("Error : ").split()).rstrip(".")
    return f"damaged or cut short: {told}"
