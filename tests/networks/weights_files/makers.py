"""Small weights files of every format, for the tests of their readers."""

import argparse
import collections
import io
import pickle
import random
import re
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import torch
from safetensors.numpy import save_file

FILES = Path(__file__).resolve().parent / "files"


def expected() -> dict[str, np.ndarray]:
    """The arrays that all of these files hold, or some of."""
    with np.load(FILES / "expected.npz") as held:
        return dict(held)


def _safetensors(folder: Path) -> Path:
    save_file(expected(), folder / "model.safetensors", {"about": "small"})
    return folder / "model.safetensors"


def _torch(folder: Path, in_zip: bool) -> Path:
    state = collections.OrderedDict((k, torch.from_numpy(v)) for k, v in expected().items())
    whole = {"state_dict": state, "epoch": 3, "args": argparse.Namespace(lr=0.1)}
    torch.save(whole, folder / "model.pth", _use_new_zipfile_serialization=in_zip)
    return folder / "model.pth"


def _npz(folder: Path, compressed: bool) -> Path:
    (np.savez_compressed if compressed else np.savez)(folder / "model.npz", **expected())
    return folder / "model.npz"


def _npy(folder: Path) -> Path:
    np.save(folder / "model.npy", expected()["conv/kernel"])
    return folder / "model.npy"


def _pickle(folder: Path) -> Path:
    (folder / "model.pkl").write_bytes(pickle.dumps(expected(), protocol=2))
    return folder / "model.pkl"


def _keras_1(folder: Path) -> Path:
    """Weights as the first Kerases wrote them: layers and their arrays by number."""
    held = expected()
    with h5py.File(folder / "model.h5", "w") as file:
        file.attrs["nb_layers"] = 2
        for number, layer in enumerate(("conv", "fc")):
            group = file.create_group(f"layer_{number}")
            group.attrs["nb_params"] = 2
            group["param_0"], group["param_1"] = held[f"{layer}/kernel"], held[f"{layer}/bias"]
    return folder / "model.h5"


def _keras_2(folder: Path) -> Path:
    """Weights of Keras 2, with a list of names that is split over two attributes."""
    held = expected()
    with h5py.File(folder / "model.h5", "w") as file:
        file.attrs["keras_version"] = "2.3.1"
        file.attrs["layer_names0"], file.attrs["layer_names1"] = [b"fc"], [b"conv", b"dw"]
        for layer in ("conv", "dw", "fc"):
            group = file.create_group(layer)
            names = [name for name in held if name.startswith(f"{layer}/")]
            group.attrs["weight_names"] = [f"{name}:0".encode() for name in names]
            for name in names:
                group[f"{name}:0"] = held[name]
    return folder / "model.h5"


def _copy(name: str, opened: str = "") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        source = FILES / name
        if source.is_dir():
            shutil.copytree(source, folder / name)
        else:
            shutil.copy(source, folder / name)
        return folder / (opened or name)

    return make


MAKERS: dict[str, Callable[[Path], Path]] = {
    "safetensors": _safetensors,
    "torch_zip": lambda folder: _torch(folder, True),
    "torch_legacy": lambda folder: _torch(folder, False),
    "npz": lambda folder: _npz(folder, False),
    "npz_compressed": lambda folder: _npz(folder, True),
    "npy": _npy,
    "pickle": _pickle,
    "keras_1": _keras_1,
    "keras_2": _keras_2,
    "keras_full_h5": _copy("model.h5"),
    "keras_weights_h5": _copy("model.weights.h5"),
    "keras_archive": _copy("model.keras"),
    "onnx": _copy("model.onnx"),
    "onnx_external": _copy("external", "external/model.onnx"),
    "tf1_checkpoint": _copy("tf1"),
    "tf1_meta": _copy("tf1", "tf1/model.meta"),
    "tf2_checkpoint": _copy("tf2", "tf2/ckpt"),
    "saved_model": _copy("saved_model"),
    "frozen": _copy("frozen.pb"),
    "tflite": _copy("float.tflite"),
    "tflite_int8": _copy("int8.tflite"),
    "tfjs_layers": _copy("tfjs_layers"),
    "tfjs_graph": _copy("tfjs_graph"),
}
# Read by libhdf5, which is C and may crash on damaged files.
IN_HDF5 = ("keras_1", "keras_2", "keras_full_h5", "keras_weights_h5", "keras_archive")


def make(kind: str, folder: Path) -> Path:
    """Writes a file of a kind into a new folder, and returns what to open."""
    folder.mkdir(parents=True)
    return MAKERS[kind](folder)


def mutants(kind: str, folder: Path, count: int, seed: int = 0) -> Iterator[tuple[str, Path]]:
    """Writes damaged copies, one a folder, and yields what was done to each and what to open."""
    random_ = random.Random(f"{kind} {seed}")
    for number in range(count):
        path = make(kind, folder / str(number))
        files = sorted(one for one in (folder / str(number)).rglob("*") if one.is_file())
        victim = random_.choice(files)
        # Data takes what it is given; most of what can be got wrong is in what describes it.
        if "data-0000" in victim.name or victim.suffix == ".bin":
            victim = random_.choice(files)
        done, data = _mutated(victim.read_bytes(), random_)
        victim.write_bytes(data)
        yield f"{kind} {number}: {victim.name}: {done}", path


_EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 1 << 24, 0x7FFFFFFF, 0xFFFFFFFF)
_LONG_EXTREMES = (1 << 32, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)


# What a name from a file might be, to lead elsewhere or to be run.
_HOSTILE = (
    "../../../../../../tmp/frostline-hostile",
    "/etc/passwd",
    "file:///etc/passwd",
    "x'); __import__('os').system('touch /tmp/frostline-hostile') #",
    'x"]; open("/tmp/frostline-hostile", "w") #',
    "cos\nsystem\n(S'touch /tmp/frostline-hostile'\ntR.",
    "\n\nin a line of its own",
    "%s{0}{x.__class__}",
)
_NAME = re.compile(rb"[\w./:-]{4,}")
_WAYS = ("flip", "flip", "cut", "number", "number", "long", "zero", "drop", "twice", "swap")


def _mutated(data: bytes, random_: random.Random) -> tuple[str, bytes]:
    if data[:4] == b"PK\3\4" and random_.random() < 0.5:
        return _with_member(data, random_)
    if random_.random() < 0.15 and (names := list(_NAME.finditer(data))):
        return _with_name(data, random_.choice(names), random_)
    return _with_bytes(data, random_)


def _with_member(data: bytes, random_: random.Random) -> tuple[str, bytes]:
    """Damages what one file in an archive holds, so that its checksum holds."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        chosen = random_.choice([one for one in old.infolist() if one.file_size])
        for one in old.infolist():
            held = old.read(one)
            if one is chosen:
                done, held = _mutated(held, random_)
            new.writestr(one, held)
    return f"{chosen.filename}: {done}", made.getvalue()


def _with_name(data: bytes, old: re.Match[bytes], random_: random.Random) -> tuple[str, bytes]:
    """Puts a hostile name in a name's place, as long as it was: lengths beside it hold."""
    name = random_.choice(_HOSTILE).encode()[: len(old[0])].ljust(len(old[0]), b"x")
    return f"{old[0]!r} becomes {name!r}", data[: old.start()] + name + data[old.end() :]


def _with_bytes(data: bytes, random_: random.Random) -> tuple[str, bytes]:
    held = bytearray(data)
    at = random_.randrange(len(held))
    # Headers come first, or last: half of all hits go there.
    edge = min(256, len(held))
    at = random_.choice((at, random_.randrange(edge), len(held) - 1 - random_.randrange(edge)))
    way = random_.choice(_WAYS)
    if way == "flip":
        for _ in range(random_.choice((1, 1, 2, 8))):
            held[min(len(held) - 1, at + random_.randrange(16))] ^= 1 << random_.randrange(8)
    elif way == "cut":
        del held[at:]
    elif way == "number":
        held[at : at + 4] = struct.pack(random_.choice("<>") + "I", random_.choice(_EXTREMES))
    elif way == "long":
        held[at : at + 8] = struct.pack(random_.choice("<>") + "Q", random_.choice(_LONG_EXTREMES))
    elif way == "zero":
        held[at : at + random_.randrange(1, 64)] = bytes(random_.randrange(1, 64))
    elif way == "drop":
        del held[at : at + random_.randrange(1, 32)]
    elif way == "swap":
        size, other = random_.choice((4, 16, 64)), random_.randrange(len(held))
        first, second = held[at : at + size], held[other : other + size]
        held[at : at + size], held[other : other + size] = second, first
    else:
        held[at:at] = held[max(0, at - random_.randrange(1, 64)) : at]
    return f"{way} at {at}", bytes(held)
