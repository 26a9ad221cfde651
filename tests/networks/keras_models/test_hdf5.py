"""HDF5 files that lead elsewhere or say they are huge: refused, in one line, before any is read."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from frostline.base.errors import WeightsError
from frostline.networks.keras import hdf5, weights


def layer(file: h5py.File) -> h5py.Group:
    """An honest file but for what is put into the group that is returned."""
    file.attrs["layer_names"] = ["conv"]
    group = file.create_group("conv")
    group.attrs["weight_names"] = ["conv/kernel:0"]
    return group.create_group("conv")


def external_link(path: Path) -> None:
    other = path.with_name("other.h5")
    with h5py.File(other, "w") as file:
        file["secret"] = np.zeros(3)
    with h5py.File(path, "w") as file:
        layer(file)["kernel:0"] = h5py.ExternalLink(str(other), "secret")


def soft_link(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["elsewhere"] = np.zeros(3)
        layer(file)["kernel:0"] = h5py.SoftLink("/elsewhere")


def external_data(path: Path) -> None:
    raw = path.with_name("raw.bin")
    raw.write_bytes(bytes(12))
    with h5py.File(path, "w") as file:
        layer(file).create_dataset("kernel:0", (3,), "f4", external=[(str(raw), 0, 12)])


def virtual_data(path: Path) -> None:
    other = path.with_name("other.h5")
    with h5py.File(other, "w") as file:
        file["secret"] = np.zeros(3)
    with h5py.File(path, "w") as file:
        layout = h5py.VirtualLayout((3,), "f8")
        layout[:] = h5py.VirtualSource(str(other), "secret", (3,))
        layer(file).create_virtual_dataset("kernel:0", layout)


def terabytes(path: Path) -> None:
    with h5py.File(path, "w") as file:
        layer(file).create_dataset("kernel:0", (1 << 40,), "f4", chunks=(1 << 20,))


def packed_zeros(path: Path) -> None:
    with h5py.File(path, "w") as file:
        data = np.zeros(1 << 23, "f4")
        layer(file).create_dataset("kernel:0", data=data, compression="gzip", chunks=(1 << 23,))


def texts(path: Path) -> None:
    with h5py.File(path, "w") as file:
        layer(file).create_dataset("kernel:0", data=["os.system"], dtype=h5py.string_dtype())


def absent(path: Path) -> None:
    with h5py.File(path, "w") as file:
        layer(file)


def a_group(path: Path) -> None:
    with h5py.File(path, "w") as file:
        layer(file).create_group("kernel:0")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (external_link, "kernel:0 is a link to elsewhere"),
        (soft_link, "kernel:0 is a link to elsewhere"),
        (external_data, "its data lie in another file"),
        (virtual_data, "is put together from other files"),
        (terabytes, "says that it holds 4,398,046,511,104 bytes, and 0 are stored"),
        (packed_zeros, "says that it holds 33,554,432 bytes"),
        (texts, "must hold numbers"),
        (absent, "kernel:0 is absent"),
        (a_group, "must be an array, and is a group"),
    ],
)
def test_arrays_that_lead_elsewhere_or_are_too_large_are_refused(
    make: Callable[[Path], None], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "weights.h5"
    make(path)
    with pytest.raises(WeightsError, match=f"weights.h5: .*{said}") as caught:
        weights.read_h5(path, str(path))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_cut_short_or_none_is_told(tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        layer(file)["kernel:0"] = np.zeros((64, 64))
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(WeightsError, match=r"weights\.h5: not a whole HDF5 file"):
        weights.read_h5(path, str(path))
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(WeightsError, match=r"weights\.h5: not a whole HDF5 file"):
        weights.read_h5(path, str(path))


def test_names_that_are_split_over_attributes_are_joined(tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names0"] = ["a", "b"]
        file.attrs["layer_names1"] = [b"c"]
    with hdf5.opened(path, "file") as root:
        assert hdf5.texts(root, "layer_names", "file") == ["a", "b", "c"]
        assert hdf5.texts(root, "others", "file") == []


def test_a_file_without_layers_of_keras_is_told(tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        file["data"] = np.zeros(3)
    with pytest.raises(WeightsError, match="holds no weights of Keras"):
        weights.read_h5(path, str(path))
