"""Weights files of every age into translated networks: by path, by name, by order, in part."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from frostline.base.errors import WeightsError
from frostline.networks.keras import weights
from frostline.networks.keras.applications import open_application
from frostline.networks.keras.config import Reading, read
from frostline.networks.keras.matching import LoadedWeights, load_weights
from frostline.networks.translate.build import Built, build
from keras_twin import BOUND, keras, keras_says, leaves, shaken, we_say

layers = keras.layers
PX = 9


def chain(classes: int | None = 3, seed: int = 0) -> Any:
    """A small network; without its top where there are no classes."""
    parts = [
        keras.Input((PX, PX, 3)),
        layers.Conv2D(4, 3, strides=2, padding="same", name="conv_a"),
        layers.BatchNormalization(name="norm"),
        layers.ReLU(name="relu"),
        layers.Conv2D(5, 3, padding="same", name="conv_b"),
        layers.Flatten(name="flat"),
    ]
    top = [layers.Dense(6, name="hidden"), layers.Dense(classes, name="top")] if classes else []
    return shaken(keras.Sequential([*parts, *top]), seed)


def empty(model: Any) -> tuple[Reading, Built]:
    """What is translated from a model's configuration alone."""
    import json

    reading = read(json.loads(model.to_json()), "net", keras.__version__)
    return reading, build(reading.graph, "net")


def loaded(model: Any, path: Path, into: Any = None, **how: Any) -> tuple[Built, LoadedWeights]:
    reading, built = empty(into or model)
    file = weights.read(path)
    return built, load_weights(reading, built, file, f"{path.name} into net", **how)


def images() -> torch.Tensor:
    return torch.rand(3, 3, PX, PX, generator=torch.Generator().manual_seed(0)) * 2 - 1


def same(model: Any, built: Built) -> None:
    ours = we_say(built.module, images())
    np.testing.assert_allclose(ours, keras_says(model, images()), rtol=0, atol=BOUND)


def arrays_of(model: Any) -> list[tuple[str, list[np.ndarray]]]:
    return [
        (layer.name, [keras.ops.convert_to_numpy(weight) for weight in layer.weights])
        for layer in leaves(model)
        if layer.weights
    ]


def write_legacy(
    path: Path, groups: Sequence[tuple[str, Mapping[str, np.ndarray]]], **attributes: str
) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs.update({"keras_version": "2.4.0", "backend": "tensorflow", **attributes})
        file.attrs["layer_names"] = [name.encode() for name, _ in groups]
        for name, arrays in groups:
            group = file.create_group(name)
            group.attrs["weight_names"] = [key.encode() for key in arrays]
            for key, array in arrays.items():
                group[key] = array
    return path


def test_keras_3_files_are_paired_by_path(tmp_path: Path) -> None:
    model = chain()
    model.save_weights(tmp_path / "a.weights.h5")
    built, filled = loaded(model, tmp_path / "a.weights.h5")
    same(model, built)
    assert filled.way == "path"
    assert not filled.match.missing


def test_keras_3_files_without_names_and_with_the_older_group_are_paired_by_path(
    tmp_path: Path,
) -> None:
    model, path = chain(), tmp_path / "a.weights.h5"
    model.save_weights(path)
    with h5py.File(path, "a") as file:
        named: list[Any] = []
        file.visititems(lambda _, node: named.append(node) if "name" in node.attrs else None)
        for node in named:
            del node.attrs["name"]
        file.move("layers", "_layer_checkpoint_dependencies")
    built, filled = loaded(model, path)
    same(model, built)
    assert filled.way == "path"


def test_a_keras_3_file_of_the_whole_fits_a_network_without_its_top(tmp_path: Path) -> None:
    whole, headless = chain(), chain(None)
    whole.save_weights(tmp_path / "a.weights.h5")
    built, filled = loaded(headless, tmp_path / "a.weights.h5")
    headless.set_weights(whole.get_weights()[:8])
    same(headless, built)
    assert filled.left_out == ("hidden", "top")


def test_a_legacy_file_of_the_whole_fits_a_network_without_its_top(tmp_path: Path) -> None:
    whole, headless = chain(), chain(None)
    whole.save(tmp_path / "a.h5")
    built, filled = loaded(headless, tmp_path / "a.h5")
    headless.set_weights(whole.get_weights()[:8])
    same(headless, built)
    assert filled.way == "name"
    assert filled.left_out == ("hidden", "top")
    assert filled.rows[-1].split() == ["left", "out", "2", "hidden,", "top"]


def test_the_reverse_is_only_done_in_part_and_when_asked_for(tmp_path: Path) -> None:
    whole, headless = chain(), chain(None)
    headless.save(tmp_path / "a.h5")
    with pytest.raises(WeightsError, match=r"8 tensors match, 4 missing \(hidden.weight.*partial"):
        loaded(whole, tmp_path / "a.h5")
    built, filled = loaded(whole, tmp_path / "a.h5", partial=True)
    assert len(filled.match.matched) == 8
    kernel = keras.ops.convert_to_numpy(headless.layers[0].kernel)
    ours = built.module.get_submodule("conv_a").weight.detach().numpy()
    np.testing.assert_array_equal(ours, kernel.transpose(3, 2, 0, 1))


def test_other_names_are_paired_in_order(tmp_path: Path) -> None:
    model = chain()
    groups = [
        (f"conv2d_{i}" if len(found) == 2 else f"other_{i}", found)
        for i, (_, found) in enumerate(arrays_of(model))
    ]
    roles = {2: ["kernel", "bias"], 4: ["gamma", "beta", "moving_mean", "moving_variance"]}
    path = write_legacy(
        tmp_path / "a.h5",
        [
            (name, {f"{name}/{role}:0": a for role, a in zip(roles[len(f)], f, strict=True)})
            for name, f in groups
        ],
    )
    built, filled = loaded(model, path)
    same(model, built)
    assert filled.way == "order"


def test_numbers_that_begin_at_one_are_not_taken_for_names(tmp_path: Path) -> None:
    def net(*top: Any) -> Any:
        names = ("conv2d", "conv2d_1", "conv2d_2")
        parts = [layers.Conv2D(3, 3, padding="same", name=name) for name in names]
        return shaken(keras.Sequential([keras.Input((PX, PX, 3)), *parts, *top]))

    whole, headless = net(layers.GlobalMaxPooling2D(), layers.Dense(2, name="top")), net()
    arrays = [found for _, found in arrays_of(whole)]
    names = ["conv2d_1", "conv2d_2", "conv2d_3", "top"]
    path = write_legacy(
        tmp_path / "a.h5",
        [
            (name, {f"{name}/kernel:0": kernel, f"{name}/bias:0": bias})
            for name, (kernel, bias) in zip(names, arrays, strict=True)
        ],
    )
    headless.set_weights([array for found in arrays[:3] for array in found])
    built, filled = loaded(headless, path)
    # By name, the second layer's weights would go into the first without a word.
    same(headless, built)
    assert (filled.way, filled.left_out) == ("order", ("top",))


def test_names_that_do_not_belong_to_the_layer_they_name_are_told(tmp_path: Path) -> None:
    model = chain()
    swapped = {"conv_b": "norm", "norm": "conv_b"}
    roles = {2: ["kernel", "bias"], 4: ["gamma", "beta", "moving_mean", "moving_variance"]}
    groups = [
        (swapped.get(name, name), dict(zip(roles[len(found)], found, strict=True)))
        for name, found in arrays_of(model)
    ]
    path = write_legacy(tmp_path / "a.h5", groups)
    with pytest.raises(WeightsError, match=r"2 problems: .*layer 'conv_b': the file has"):
        loaded(model, path, way="name")


def test_a_wrong_number_of_classes_is_told_with_the_right_one(tmp_path: Path) -> None:
    chain(7).save(tmp_path / "a.h5")
    with pytest.raises(WeightsError, match=r"top.weight: network \[3, 6\], file \[7, 6\].*=7\."):
        loaded(chain(3), tmp_path / "a.h5")


def test_a_file_of_another_network_is_refused_whole(tmp_path: Path) -> None:
    other = keras.Sequential([keras.Input((4, 4, 1)), layers.Conv2D(2, 3, name="elsewhere")])
    other.save(tmp_path / "a.h5")
    reading, built = empty(chain())
    before = {name: tensor.clone() for name, tensor in built.module.state_dict().items()}
    with pytest.raises(WeightsError):
        load_weights(reading, built, weights.read(tmp_path / "a.h5"), "a.h5 into net")
    for name, tensor in built.module.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


def theano(array: np.ndarray, turned: bool) -> np.ndarray:
    """A kernel [h, w, in, out] as Keras 1 wrote it beside Theano."""
    kernel = array.transpose(3, 2, 0, 1)
    return kernel[:, :, ::-1, ::-1] if turned else kernel


def first_age(model: Any, turned: bool) -> list[tuple[str, dict[str, np.ndarray]]]:
    """The weights of `chain` as Keras 1 wrote them for channels first."""
    words = {2: ["W", "b"], 4: ["gamma", "beta", "running_mean", "running_std"]}
    groups = []
    for name, found in arrays_of(model):
        if found[0].ndim == 4:
            found = [theano(found[0], turned), found[1]]
        elif name == "hidden":
            side = int((found[0].shape[0] // 5) ** 0.5)
            rows = np.arange(found[0].shape[0]).reshape(side, side, 5).transpose(2, 0, 1)
            found = [found[0][rows.reshape(-1)], found[1]]
        keys = [f"{name}_{word}" for word in words[len(found)]]
        groups.append((name, dict(zip(keys, found, strict=True))))
    return groups


def old_config() -> dict[str, Any]:
    """The configuration of `chain` in the words of Keras 1, channels first."""

    def conv(name: str, filters: int, stride: int, **more: Any) -> dict[str, Any]:
        settings = {"name": name, "nb_filter": filters, "nb_row": 3, "nb_col": 3, "bias": True}
        settings |= {"subsample": [stride, stride], "border_mode": "same", "activation": "linear"}
        return {"class_name": "Convolution2D", "config": {**settings, "dim_ordering": "th", **more}}

    def dense(name: str, units: int) -> dict[str, Any]:
        settings = {"name": name, "output_dim": units, "activation": "linear", "bias": True}
        return {"class_name": "Dense", "config": settings}

    norm = {"name": "norm", "axis": 1, "epsilon": 1e-3, "momentum": 0.99, "mode": 0}
    return {
        "class_name": "Sequential",
        "config": [
            conv("conv_a", 4, 2, batch_input_shape=[None, 3, PX, PX]),
            {"class_name": "BatchNormalization", "config": norm},
            {"class_name": "Activation", "config": {"name": "relu", "activation": "relu"}},
            conv("conv_b", 5, 1),
            {"class_name": "Flatten", "config": {"name": "flat"}},
            dense("hidden", 6),
            dense("top", 3),
        ],
    }


@pytest.mark.parametrize("turned", [True, False])
def test_a_model_of_keras_1_with_channels_first_is_what_it_was(
    turned: bool, tmp_path: Path
) -> None:
    model = chain()
    backend = "theano" if turned else "tensorflow"
    path = write_legacy(
        tmp_path / "a.h5", first_age(model, turned), keras_version="1.2.2", backend=backend
    )
    reading = read(old_config(), "net", "1.2.2")
    assert reading.graph.layout == "channels_first"
    assert reading.age == 1
    built = build(reading.graph, "net")
    filled = load_weights(reading, built, weights.read(path), "a.h5")
    assert not filled.match.missing
    same(model, built)


def test_kernels_of_theano_go_into_a_network_with_channels_last(tmp_path: Path) -> None:
    model = chain()
    path = write_legacy(
        tmp_path / "a.h5", first_age(model, True), keras_version="1.0.0", backend="theano"
    )
    built, filled = loaded(model, path)
    assert not filled.match.missing
    same(model, built)


def test_a_file_that_only_numbers_its_layers_is_paired_in_order_and_turned(tmp_path: Path) -> None:
    model, path = chain(), tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        groups = first_age(model, True)
        # Layers without weights have numbers too.
        file.attrs["nb_layers"] = 2 * len(groups)
        for number, (_, arrays) in enumerate(groups):
            file.create_group(f"layer_{2 * number}").attrs["nb_params"] = 0
            group = file.create_group(f"layer_{2 * number + 1}")
            group.attrs["nb_params"] = len(arrays)
            for index, array in enumerate(arrays.values()):
                group[f"param_{index}"] = array
    built, filled = loaded(model, path)
    same(model, built)
    assert filled.way == "order"


@pytest.mark.parametrize("reset_after", [False, True])
@pytest.mark.parametrize("steps", [False, True])
def test_a_gru_is_that_of_keras(reset_after: bool, steps: bool, tmp_path: Path) -> None:
    model = shaken(
        keras.Sequential(
            [
                keras.Input((6, 4, 2)),
                layers.Permute((2, 1, 3)),
                layers.Reshape((4, 12)),
                layers.GRU(5, reset_after=reset_after, return_sequences=steps, name="gru"),
            ]
        )
    )
    model.save_weights(tmp_path / "a.weights.h5")
    built, _ = loaded(model, tmp_path / "a.weights.h5")
    pictures = torch.randn(3, 2, 6, 4)
    theirs = keras_says(model, pictures)
    np.testing.assert_allclose(built.module(pictures).detach().numpy(), theirs, rtol=0, atol=BOUND)
    if reset_after:
        return
    kernel, recurrent, bias = model.layers[-1].get_weights()
    nine = {}
    for index, gate in enumerate("zrh"):
        part = slice(5 * index, 5 * index + 5)
        for word, array in (("W", kernel), ("U", recurrent), ("b", bias)):
            nine[f"gru_{word}_{gate}"] = array[..., part]
    path = write_legacy(tmp_path / "b.h5", [("gru", nine)], keras_version="1.2.2")
    again, _ = loaded(model, path)
    np.testing.assert_allclose(again.module(pictures).detach().numpy(), theirs, rtol=0, atol=BOUND)


def external_link(path: Path) -> None:
    with h5py.File(path.with_name("other.h5"), "w") as file:
        file["secret"] = np.zeros(3)
    with h5py.File(path, "a") as file:
        file["conv_a/kernel"] = h5py.ExternalLink("other.h5", "secret")


def external_data(path: Path) -> None:
    path.with_name("raw.bin").write_bytes(bytes(12))
    with h5py.File(path, "a") as file:
        file.create_dataset("conv_a/kernel", (3,), "f4", external=[("raw.bin", 0, 12)])


def virtual_data(path: Path) -> None:
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "secret", (3,))
    with h5py.File(path, "a") as file:
        file.create_virtual_dataset("conv_a/kernel", layout)


def terabytes(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file.create_dataset("conv_a/kernel", (1 << 40,), "f4", chunks=(1 << 20,))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (external_link, "is a link to other.h5, which is not followed"),
        (external_data, "is external"),
        (virtual_data, "is virtual"),
        (terabytes, "declares 4398046511104 bytes and stores 0"),
    ],
)
def test_arrays_that_lead_elsewhere_or_say_they_are_huge_are_refused(
    spoil: Any, said: str, tmp_path: Path
) -> None:
    path = write_legacy(tmp_path / "a.h5", [("conv_a", {"kernel": np.zeros(3)})])
    with h5py.File(path, "a") as file:
        del file["conv_a/kernel"]
    spoil(path)
    with pytest.raises(WeightsError, match=said) as caught:
        loaded(chain(), path)
    assert "\n" not in str(caught.value)


def test_a_mobilenet_that_lacks_a_layer_is_loaded_in_part_when_asked_for(assets: Path) -> None:
    file = assets / "weights" / "mobilenet_v1_imagenet_without_conv_pw_13.h5"
    options = {"weights": str(file)}
    with pytest.raises(WeightsError, match=r"136 tensors match, 1 missing \(conv_pw_13.weight\)"):
        open_application("MobileNet", options)
    opened = open_application("MobileNet", options, partial=True)
    assert opened.match is not None
    assert (opened.match.missing, opened.match.unexpected) == (("conv_pw_13.weight",), ())
    with h5py.File(file) as known:
        kernel = known["conv_dw_6/conv_dw_6/kernel:0"][()]
    ours = opened.module.get_submodule("conv_dw_6").weight.detach().numpy()
    np.testing.assert_array_equal(ours[:, 0], kernel[..., 0].transpose(2, 0, 1))


def test_the_base_of_a_teachable_machine_goes_into_keras_s_own_network(assets: Path) -> None:
    file = assets / "weights" / "files" / "teachable_machine_keras_model.h5"
    options = {"alpha": 0.35, "include_top": False, "weights": str(file)}
    opened = open_application("MobileNetV2", options)
    assert opened.match is not None
    assert opened.match.missing == ()
    assert opened.match.unexpected == ("dense_Dense1", "dense_Dense2")
