"""Model files that Keras itself writes, opened without it, and those that are refused."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from frostline.base.errors import BackboneError, WeightsError
from frostline.networks.keras import labels
from frostline.networks.keras.files import open_file
from keras_twin import BOUND, keras, keras_says, shaken

layers = keras.layers


@pytest.fixture(scope="module")
def model() -> Any:
    """Names that repeat, a model in a model, a branch, a flatten, and augmentation in front."""
    inner = keras.Sequential(
        [
            keras.Input((17, 19, 3)),
            layers.Conv2D(6, 3, padding="same", activation="relu", name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.MaxPooling2D(3, 2, padding="same"),
        ],
        name="base",
    )
    images = keras.Input((17, 19, 3), name="images")
    x = layers.RandomFlip()(images)
    x = inner(layers.Rescaling(1 / 127.5, offset=-1)(x))
    branch = layers.SeparableConv2D(5, 3, strides=2, padding="same", name="sep")(x)
    x = layers.Conv2D(5, 1, strides=2, name="conv", use_bias=False)(x)
    x = layers.Flatten()(layers.LeakyReLU(0.1)(layers.Add()([x, branch])))
    x = layers.BatchNormalization(scale=False)(layers.Dropout(0.5)(x))
    x = layers.Dense(7, activation="gelu", name="dense")(x)
    last = layers.Dense(3, activation="softmax", name="dense_1")(x)
    return shaken(keras.Model(images, last))


def images_of(count: int = 3) -> torch.Tensor:
    return torch.rand(count, 3, 17, 19, generator=torch.Generator().manual_seed(count)) * 255


def as_archive(model: Any, folder: Path) -> Path:
    model.save(folder / "net.keras")
    return folder / "net.keras"


def as_h5(model: Any, folder: Path) -> Path:
    model.save(folder / "net.h5")
    return folder / "net.h5"


def as_tfjs(model: Any, folder: Path) -> Path:
    """Writes what TF.js's converter would: Keras's topology, and arrays in two shards."""
    arrays = [
        (weight.path, keras.ops.convert_to_numpy(weight).astype("<f4"))
        for layer in model.layers
        for weight in layer.weights
        if "seed" not in weight.path
    ]
    data = b"".join(array.tobytes() for _, array in arrays)
    (folder / "shard1.bin").write_bytes(data[:1000])
    (folder / "shard2.bin").write_bytes(data[1000:])
    listed = [
        {"name": name, "shape": list(array.shape), "dtype": "float32"} for name, array in arrays
    ]
    topology = {"keras_version": keras.__version__, "model_config": json.loads(model.to_json())}
    manifest = [{"paths": ["shard1.bin", "shard2.bin"], "weights": listed}]
    path = folder / "model.json"
    whole = {"format": "layers-model", "modelTopology": topology, "weightsManifest": manifest}
    path.write_text(json.dumps(whole))
    return path


KINDS = [as_archive, as_h5, as_tfjs]


@pytest.mark.parametrize("write", KINDS)
def test_every_kind_of_file_gives_what_keras_gives(
    write: Callable[[Any, Path], Path], model: Any, tmp_path: Path
) -> None:
    network = open_file(write(model, tmp_path))
    for count in (1, 3):
        theirs = keras_says(model, images_of(count))
        with torch.no_grad():
            ours = torch.softmax(network.module(images_of(count)), 1).numpy()
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=BOUND)
    assert network.graph.scores == "softmax"
    assert network.classifier == "dense_1"
    assert network.input_shape == (3, 17, 19)
    assert network.labels is None
    assert network.preprocessing is not None
    assert network.preprocessing.mean == (0.0, 0.0, 0.0)
    assert [note.split()[0] for note in network.notes] == ["RandomFlip"]
    assert network.module.get_submodule("sep.depthwise") is not None


def test_a_table_of_classes_is_read_in_the_order_of_its_index(tmp_path: Path) -> None:
    path = tmp_path / "yamnet_class_map.csv"
    path.write_text('index,mid,display_name\n1,/m/1,"Speech, of a child"\n0,/m/0,Bark\n')
    assert labels.beside(tmp_path / "yamnet.tflite") == path
    assert labels.beside(tmp_path / "yamnets.tflite") is None
    assert labels.read(path) == ("Bark", "Speech, of a child")
    for text, message in (
        ("index,display_name\n0,a\n2,b\n", "index must count from 0, each number once"),
        ("mid,name\n0,a\n", "must have the columns index and display_name"),
        ("index,display_name\n0\n", "must have the columns index and display_name"),
        ("index,display_name\nx,a\n", "must have the columns index and display_name"),
        ("", "index must count from 0"),
    ):
        path.write_text(text)
        with pytest.raises(BackboneError, match=message):
            labels.read(path)


def test_labels_come_along_where_they_lie_beside(model: Any, tmp_path: Path) -> None:
    path = as_h5(model, tmp_path)
    (tmp_path / "labels.txt").write_text("0 ant\n1 bee\n2 hawk moth\n")
    assert open_file(path).labels == ("ant", "bee", "hawk moth")
    (tmp_path / "labels.txt").write_text("ant\nbee\n")
    with pytest.raises(BackboneError, match=r"labels.txt: must name 3 classes.* names 2\."):
        open_file(path)
    (tmp_path / "labels.txt").unlink()
    (tmp_path / "metadata.json").write_text(json.dumps({"labels": ["a", "b", "c"]}))
    assert open_file(path).labels == ("a", "b", "c")
    other = tmp_path / "mine.txt"
    other.write_text("x\ny\nz\n")
    assert open_file(path, labels_file=other).labels == ("x", "y", "z")


def small(*more: Any, px: int | None = 8) -> Any:
    return keras.Sequential([keras.Input((px, px, 3)), *more])


def test_a_lambda_is_told_and_never_built(tmp_path: Path) -> None:
    def explode(x: Any) -> Any:
        return x

    model = small(layers.Lambda(explode, name="trick"), layers.Flatten())
    with pytest.raises(BackboneError, match="layer 'trick' is a Lambda: code in a model"):
        open_file(as_archive(model, tmp_path))
    with pytest.raises(BackboneError, match="layer 'trick' is a Lambda: code in a model"):
        open_file(as_h5(model, tmp_path))


def test_all_layers_that_are_not_known_are_named_at_once(tmp_path: Path) -> None:
    model = small(layers.UnitNormalization(name="unit"), layers.RMSNormalization(name="rms"))
    with pytest.raises(BackboneError, match=r"2 problems: .*'unit' is a Unit.*'rms' is a RMS"):
        open_file(as_archive(model, tmp_path))


def test_settings_that_are_not_translated_are_told_by_layer(tmp_path: Path) -> None:
    model = small(layers.UpSampling2D(2, interpolation="bicubic", name="up"))
    with pytest.raises(BackboneError, match=r"layer 'up' \(UpSampling2D\): interpolation"):
        open_file(as_archive(model, tmp_path))


def test_an_input_that_is_left_open_is_asked_for(tmp_path: Path) -> None:
    model = small(layers.Conv2D(2, 3, name="conv"), layers.GlobalMaxPooling2D(), px=None)
    path = as_archive(model, tmp_path)
    with pytest.raises(BackboneError, match="leaves the size of its input open"):
        open_file(path)
    assert open_file(path, input_px=(9, 11)).input_shape == (3, 9, 11)
    with pytest.raises(BackboneError, match=r"'conv'.*the input is too small for it"):
        open_file(path, input_px=(2, 2))


def rewritten(path: Path, members: dict[str, bytes]) -> Path:
    """Writes an archive anew with other members."""
    with zipfile.ZipFile(path) as archive:
        old = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {**old, **members}.items():
            archive.writestr(name, data)
    return path


def test_archives_that_unpack_to_too_much_are_refused(model: Any, tmp_path: Path) -> None:
    path = as_archive(model, tmp_path)
    rewritten(path, {"model.weights.h5": bytes(64 << 20)})
    with pytest.raises(WeightsError, match=r"a zip bomb: model.weights.h5 unpacks 65\d+ bytes to"):
        open_file(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"{", "not a whole Keras archive"),
        (b'{"a":' * 50_000, "maximum recursion depth"),
        (b"[1]", "its configuration is no model of Keras"),
        (b'{"class_name": "Mine", "config": {"layers": []}}', "Mine is written in code"),
        (b'{"class_name": "Sequential", "config": {"layers": [3]}}', "layer 0 of a model"),
        (b'{"class_name": "Sequential", "config": {"layers": []}}', "is told nowhere"),
    ],
)
def test_configurations_that_do_not_hold_are_refused(
    text: bytes, said: str, model: Any, tmp_path: Path
) -> None:
    path = rewritten(as_archive(model, tmp_path), {"config.json": text})
    with pytest.raises(BackboneError, match=said):  # A WeightsError is one too.
        open_file(path)


def test_files_that_are_cut_short_or_of_another_kind_are_told(model: Any, tmp_path: Path) -> None:
    path = as_archive(model, tmp_path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(BackboneError, match=r"net\.keras: not a whole Keras archive"):
        open_file(path)
    path = as_h5(model, tmp_path)
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(WeightsError, match=r"net\.h5: not a whole Keras HDF5 file"):
        open_file(path)
    with pytest.raises(WeightsError, match=r"no such weights file.* Did you mean net\.h5"):
        open_file(tmp_path / "nett.h5")
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(BackboneError, match=r"must be a \.keras archive.* it is npy"):
        open_file(tmp_path / "a.npy")


def test_a_file_of_weights_alone_says_how_to_use_it(model: Any, tmp_path: Path) -> None:
    model.save_weights(tmp_path / "net.weights.h5")
    with pytest.raises(BackboneError, match=r"keras:NAME\?weights=net.weights.h5"):
        open_file(tmp_path / "net.weights.h5")


def test_weights_of_another_shape_are_told_by_name(model: Any, tmp_path: Path) -> None:
    path = as_h5(model, tmp_path)
    with h5py.File(path, "a") as file:
        del file["model_weights/dense_1/dense_1/kernel"]
        file["model_weights/dense_1/dense_1/kernel"] = np.zeros((7, 4), "f4")
    with pytest.raises(WeightsError, match=r"dense_1.weight: network \[3, 7\], file \[4, 7\]"):
        open_file(path)


def test_shards_of_tfjs_must_lie_beside_and_be_whole(model: Any, tmp_path: Path) -> None:
    path = as_tfjs(model, tmp_path)
    told = path.read_text()
    path.write_text(told.replace("shard2.bin", "../shard2.bin"))
    with pytest.raises(WeightsError, match=r"names '\.\./shard2.bin', which lies outside"):
        open_file(path)
    path.write_text(told)
    (tmp_path / "shard2.bin").write_bytes(b"1234")
    with pytest.raises(WeightsError, match=r"shard2\.bin: cut short"):
        open_file(path)
    path.write_text(json.dumps({"modelTopology": {"node": []}, "weightsManifest": []}))
    with pytest.raises(BackboneError, match="is a graph-model"):
        open_file(path)
