"""Formats that people have pictures in and that are not read: each by its name, with a way out."""

import re
import struct

# Every reason begins with one of these, so that they can be counted by kind.
FOREIGN = (
    *("HEIC", "JPEG XL", "camera raw", "DICOM", "a Git LFS pointer", "a web page"),
    *("a video", "a PDF", "SVG", "a JPEG of", "a lossless JPEG", "an arithmetic-coded JPEG"),
    "a sound",
)
# They are listed as pictures, so that what is wrong with them is said of each.
ENDINGS = frozenset(
    (
        *(".heic", ".heif", ".hif", ".jxl", ".dcm", ".dicom"),
        *(".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".orf"),
        *(".rw2", ".raf", ".pef", ".rwl", ".3fr"),
    )
)
HEIC = "HEIC, as phones save photographs: pip install 'frostline[heic]', or convert them to JPEG"
_RAW = "camera raw ({}), which is no picture yet: develop it, or take the JPEG beside it"
_JXL = "JPEG XL, which is not read: convert it to PNG or JPEG (djxl in.jxl out.png)"
_DICOM = (
    "DICOM, which is not read: write its pixels to 16-bit PNG or TIFF with pydicom, and say what "
    "is black and white with --levels"
)
_LFS = "a Git LFS pointer and not the picture itself: run `git lfs pull` where it came from"
_SOUND = (
    "a sound, and this network sees pictures: train with --sound, or name a network that hears "
    "(of YAMNet's files ?mode=yamnet)"
)
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_SIGNS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\x0a", _JXL),
    (b"\0\0\0\x0cJXL \r\n\x87\n", _JXL),
    (b"FUJIFILMCCD-RAW", _RAW.format("Fujifilm RAF")),
    (b"IIRO", _RAW.format("Olympus ORF")),
    (b"IIRS", _RAW.format("Olympus ORF")),
    (b"MMOR", _RAW.format("Olympus ORF")),
    (b"IIU\0", _RAW.format("Panasonic RW2")),
    (b"II\x1a\0\0\0HEAPCCDR", _RAW.format("Canon CRW")),
    (b"version https://git-lfs.github.com/spec/", _LFS),
    *((sign, _SOUND) for sign in (b"fLaC", b"OggS", b"ID3")),
    (b"%PDF-", "a PDF, which is no picture: export its pages as PNG"),
    (b"\x1aE\xdf\xa3", "a video, which is not read: write its frames as pictures"),
)
_TEXT = re.compile(rb"\A\s*(?:<!--.*?-->\s*)*<(?:!doctype html|html|head|body)", re.I | re.S)
_SVG = re.compile(rb"\A\s*(?:<\?xml.*?\?>\s*)?(?:<!.*?>\s*)*<svg", re.I | re.S)
_FRAMES = {*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)}


def reason(data: bytes) -> str:
    """Returns what a file is that is not read, and what to do; empty where it is none of these."""
    start = data[:512]
    for sign, what in _SIGNS:
        if start.startswith(sign):
            return what
    if start[:4] == b"RIFF" and start[8:12] == b"WAVE":
        return _SOUND
    if start[4:8] == b"ftyp":
        return _of_boxes(start)
    if data[128:132] == b"DICM":
        return _DICOM
    if start.startswith((b"II*\0", b"MM\0*")):
        return _of_tiff(data)
    if start.startswith(b"\xff\xd8\xff"):
        return _of_jpeg(data)
    if _TEXT.match(start):
        return "a web page and not a picture: the download went wrong; fetch it again"
    return (
        "SVG, a drawing of lines, which is not read: export it as PNG" if _SVG.match(start) else ""
    )


def is_heic(data: bytes) -> bool:
    """Says whether it is HEIF with HEVC inside, whatever it is called."""
    brands = _brands(data) if data[4:8] == b"ftyp" else set()
    return bool(brands & _HEIF_BRANDS) and not brands & {b"avif", b"avis"}


def _of_boxes(start: bytes) -> str:
    if is_heic(start):
        return HEIC
    main = start[8:12]
    if main == b"crx ":
        return _RAW.format("Canon CR3")
    if main == b"jxl ":
        return _JXL
    if main in (b"isom", b"mp41", b"mp42", b"qt  ", b"M4V ", b"avc1", b"3gp4", b"3gp5"):
        return "a video, which is not read: write its frames as pictures"
    return ""


def _brands(data: bytes) -> set[bytes]:
    size = min(int.from_bytes(data[:4], "big"), 256)
    return {data[8:12], *(data[at : at + 4] for at in range(16, size - 3, 4))}


def _of_jpeg(data: bytes) -> str:
    """Names what libjpeg as Pillow has it cannot decode, by the header of the frame."""
    at = 2
    while data[at : at + 1] == b"\xff" and len(data) >= at + 10:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _FRAMES:
            bits = data[at + 4]
            convert = "convert it to PNG or 8-bit JPEG"
            if marker in (0xC3, 0xC7, 0xCB, 0xCF):
                return f"a lossless JPEG (as in DICOM or raw files), which is not read: {convert}"
            if bits != 8:
                return f"a JPEG of {bits} bits, which is not read: {convert}"
            return ""
        if marker in (0xD9, 0xDA):
            return ""
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return ""


def _of_tiff(data: bytes) -> str:
    """Tells raw files, which are TIFFs of a thumbnail first, from pictures."""
    if data[8:10] == b"CR":
        return _RAW.format("Canon CR2")
    tags = _tiff_tags(data)
    if 50706 in tags:  # DNGVersion
        return _RAW.format("DNG")
    # A small picture first (NewSubfileType), and others below (SubIFDs): NEF, ARW, PEF and more.
    if tags.get(254, 0) & 1 and 330 in tags:
        maker = b"Nikon NEF" if b"NIKON" in data[:4096].upper() else b"a camera's own TIFF"
        return _RAW.format(maker.decode())
    if tags.get(262) in (32803, 34892):  # A colour filter array; linear raw.
        return _RAW.format("colour filter array")
    return ""


def _tiff_tags(data: bytes) -> dict[int, int]:
    """Returns the tags of the first directory, each with its value or offset."""
    order = "<" if data[:2] == b"II" else ">"
    found: dict[int, int] = {}
    try:
        (at,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, at)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind, many = struct.unpack_from(f"{order}HHI", data, entry)
            code = "H" if kind == 3 and many == 1 else "I"
            found[tag] = struct.unpack_from(f"{order}{code}", data, entry + 8)[0]
    except struct.error:
        pass
    return found
