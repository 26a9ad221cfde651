"""`keras:PATH`: a user's own Keras model, opened without Keras."""

from pathlib import Path

from frostline.base.errors import BackboneError
from frostline.networks.keras import labels
from frostline.networks.keras import weights as keras_files
from frostline.networks.keras.arrays import roles_of
from frostline.networks.keras.config import Reading, read
from frostline.networks.keras.families import facts
from frostline.networks.keras.matching import load_weights
from frostline.networks.translate.build import build
from frostline.networks.translate.network import (
    PictureFacts,
    TranslatedNetwork,
    check_labels,
    classifier_of,
)
from frostline.networks.weights import Match

# A square is cut out of the middle and resized to 224 px, as its own example code does it.
_TEACHABLE_MACHINE = PictureFacts(
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    interpolation="lanczos",
    crop_mode="center",
    source="Teachable Machine",
)


def open_file(
    path: Path,
    input_px: tuple[int, int] | None = None,
    labels_file: Path | None = None,
    mode: str = "",
    pretrained: bool = True,
    weights: Path | None = None,
    partial: bool = False,
    way: str = "auto",
) -> TranslatedNetwork:
    """Opens a `.keras` archive, a full-model `.h5` file or a TF.js layers-model.

    Args:
        path: The file; of TF.js, the `model.json`.
        input_px: Height and width of the input, where the model leaves them open.
        labels_file: Its classes, one a line; where it is not given, a file beside the model is
            looked for.
        mode: How pixels become its input: one of `families.MODES`; what the file tells where
            empty.
        pretrained: False for random weights.
        weights: A Keras file whose weights are loaded instead of its own.
        partial: Load what matches of it, and leave the rest random.
        way: How its layers are paired with the network's: `auto`, `name`, `order`.

    Returns:
        The network, in eval mode.

    Raises:
        BackboneError: Where the file holds no model that can be translated, or its labels are not
            as many as its scores.
        WeightsError: Where its weights are damaged, lead elsewhere, or do not fit.
    """
    where = str(path)
    file = keras_files.read(path)
    if file.config is None:
        raise BackboneError(
            f"{where}: holds weights and no model. Name the network that they belong to: "
            f"keras:NAME?weights={path.name}"
        )
    reading = read(file.config, where, file.version, input_px)
    built = build(reading.graph, where)
    match: Match | None = None
    if weights is not None:
        into = f"{weights} into {where}"
        found = keras_files.weights_of(weights)
        match = load_weights(reading, built, found, into, partial, way).match
    elif pretrained and any(roles_of(layer.op, layer.settings) for layer in reading.layers):
        load_weights(reading, built, file, f"{where}, its weights into its own network")
    classifier = classifier_of(reading.graph, built.shapes)
    beside = labels_file or (labels.beside(path) if classifier else None)
    named = labels.read(beside) if beside else None
    if named is not None:
        if not classifier:
            raise BackboneError(f"{beside}: names classes, and {path.name} gives none.")
        check_labels(named, built.shapes[reading.graph.output], str(beside))
    told = facts(mode, reading.graph.input_shape[0]) if mode else _facts(reading)
    notes = _notes(reading, told)
    return TranslatedNetwork(
        module=built.module,
        graph=reading.graph,
        shapes=built.shapes,
        preprocessing=told,
        labels=named,
        classifier=classifier,
        source=f"keras:{path.name} ({file.made_by})",
        digest=reading.graph.digest,
        notes=notes,
        match=match,
    )


def _facts(reading: Reading) -> PictureFacts | None:
    """What the layers themselves tell of how pictures come in; None where they do not."""
    names = {layer.name for layer in reading.layers}
    if {"dense_Dense1", "dense_Dense2", "expanded_conv_depthwise"} <= names:
        return _TEACHABLE_MACHINE
    first = reading.layers[0] if reading.layers else None
    if first is not None and first.op in ("affine", "normalize"):
        return facts("inside", reading.graph.input_shape[0])
    return None


def _notes(reading: Reading, told: PictureFacts | None) -> tuple[str, ...]:
    dropped = tuple(f"{one} is left out: views are varied instead." for one in reading.left_out)
    if told is None:
        return (
            *dropped,
            "The file does not tell how pixels become its input; name mean and deviation.",
        )
    if told is _TEACHABLE_MACHINE:
        return (*dropped, "Taken for an export of Teachable Machine: pixels from -1 to 1.")
    return dropped
