"""`builtin:music_tagger_crnn`: a network that says which of fifty tags a piece of music has.

The architecture is in the package, the weights are not: name their file. The source is Choi et
al., "Convolutional Recurrent Neural Networks for Music Classification", ICASSP 2017; its author
published the weights in keunwoochoi/music-auto_tagging-keras. Four convolutions over mel bands and
time, then two recurrent layers over fifteen steps of two seconds.

It is written as Keras wrote it, and translated like any other network of Keras.
"""

from collections.abc import Mapping
from typing import Any

from frostline.base.errors import BackboneError, WeightsError, did_you_mean
from frostline.base.paths import user_path
from frostline.networks.keras import weights as keras_files
from frostline.networks.keras.config import read
from frostline.networks.keras.matching import load_weights
from frostline.networks.names import BackboneName
from frostline.networks.record import BackboneRecord, LocalWeights, OpenedBackbone
from frostline.networks.translate import classifier as last_layer
from frostline.networks.translate.build import build
from frostline.sound.settings import MUSIC_TAGGER, heard_by

NAME = "music_tagger_crnn"
# In the order of the scores.
TAGS = (
    *("rock", "pop", "alternative", "indie", "electronic", "female vocalists", "dance", "00s"),
    *("alternative rock", "jazz", "beautiful", "metal", "chillout", "male vocalists"),
    *("classic rock", "soul", "indie rock", "Mellow", "electronica", "80s", "folk", "90s"),
    *("chill", "instrumental", "punk", "oldies", "blues", "hard rock", "ambient", "acoustic"),
    *("experimental", "female vocalist", "guitar", "Hip-Hop", "70s", "party", "country"),
    *("easy listening", "sexy", "catchy", "funk", "electro", "heavy metal", "Progressive rock"),
    *("60s", "rnb", "indie pop", "sad", "House", "happy"),
)
_OUTPUT = "output"
_ARGUMENTS = ("weights", "include_top", "classes")
# Filters of each convolution, and the pooling behind it; rows are mel bands, columns are time.
_BLOCKS = ((64, (2, 2)), (128, (3, 3)), (128, (4, 4)), (128, (4, 4)))
_TIME_AXIS = 2
_STEPS, _UNITS = 15, 32
# Keras 1's own; written out, since later versions have another.
_EPSILON = 1e-5
_HELD_BY = "keunwoochoi/music-auto_tagging-keras on GitHub"


def open_named(name: BackboneName, local: LocalWeights | None) -> OpenedBackbone:
    """Opens `builtin:music_tagger_crnn[?weights=FILE&include_top=false&classes=N]`.

    Args:
        name: Its arguments: `weights` (the published `.h5`), `include_top` (false for the 32
            features alone), and `classes` (of a new last layer).
        local: A weights file that was given beside the name.

    Returns:
        The network, in eval mode: [n, 1, 96, 1366] to [n, 50] scores before the sigmoid.

    Raises:
        BackboneError: Where an argument does not hold, or no weights are named.
        WeightsError: Where the file does not fit, or is not safe to read.
    """
    where, arguments = str(name), dict(name.arguments)
    _check(arguments, where)
    file = _weights_file(name, local)
    reading = read(_model(), where, "2.0")
    built = build(reading.graph, where)
    match = None
    if file is not None:
        into = f"{file.file} into {where}"
        held = keras_files.weights_of(file.file)
        match = load_weights(reading, built, held, into, file.partial).match
    module = last_layer.attach_graph(built.module, reading.graph, _OUTPUT)
    width = last_layer.features(module, built.shapes)
    count = 0 if arguments.get("include_top") is False else arguments.get("classes", len(TAGS))
    if count == 0:
        last_layer.remove_last(module)
    elif count != len(TAGS):
        last_layer.replace_last(module, count)
    record = BackboneRecord(
        name=where,
        kind="keras",
        architecture=NAME,
        arguments={},
        pretrained_tag="",
        preprocessing=heard_by(MUSIC_TAGGER),
        parameters=sum(p.numel() for p in module.parameters()),
        licence="mit" if file is not None else "",
        classes=TAGS if file is not None and count == len(TAGS) else (),
        num_features=width,
    )
    extras = {"targets": "multilabel"} if count else {}
    return OpenedBackbone(record, module.eval(), extras=extras, match=match)


def _check(arguments: Mapping[str, Any], where: str) -> None:
    for key in arguments:
        if key not in _ARGUMENTS:
            raise BackboneError(
                f"{where}: takes no argument {key!r}; known are {', '.join(_ARGUMENTS)}."
                f"{did_you_mean(key, _ARGUMENTS)}"
            )
    classes, top = arguments.get("classes", 1), arguments.get("include_top", True)
    if type(classes) is not int or classes < 0:
        raise BackboneError(f"{where}: classes must be a whole number from 0 up, not {classes!r}.")
    if not isinstance(top, bool):
        raise BackboneError(f"{where}: include_top must be true or false, not {top!r}.")


def _weights_file(name: BackboneName, local: LocalWeights | None) -> LocalWeights | None:
    named = name.arguments.get("weights")
    if local is not None and named is not None:
        raise BackboneError(f"{name}: weights are named twice, here and by --weights. Leave one.")
    if local is not None or not name.pretrained:
        return local
    if named is None:
        raise WeightsError(
            f"{name}: its weights do not ship with Frostline. Name the published file (.h5, from "
            f"{_HELD_BY}) with --weights FILE or builtin:{NAME}?weights=FILE; "
            "?pretrained=false takes random ones."
        )
    return LocalWeights(user_path(str(named)))


def _model() -> dict[str, Any]:
    """Returns the model as Keras 2 writes it: mel bands are rows, frames columns."""
    layers = [
        _layer("ZeroPadding2D", "padding", padding=[[0, 0], [37, 37]]),
        _norm("bn_0_freq", _TIME_AXIS),
    ]
    for number, (filters, pool) in enumerate(_BLOCKS, start=1):
        layers += [
            _layer(
                "Conv2D",
                f"conv{number}",
                filters=filters,
                kernel_size=[3, 3],
                strides=[1, 1],
                padding="same",
                dilation_rate=[1, 1],
                activation="linear",
                use_bias=True,
            ),
            _norm(f"bn{number}", -1),
            _layer("ELU", f"elu{number}", alpha=1.0),
            _layer("MaxPooling2D", f"pool{number}", pool_size=pool, strides=pool, padding="valid"),
            _layer("Dropout", f"dropout{number}", rate=0.1),
        ]
    layers += [
        _layer("Reshape", "steps", target_shape=[_STEPS, _BLOCKS[-1][0]]),
        _gru("gru1", all_steps=True),
        _gru("gru2", all_steps=False),
        _layer("Dropout", "dropout", rate=0.3),
        _layer("Dense", _OUTPUT, units=len(TAGS), activation="sigmoid", use_bias=True),
    ]
    first = layers[0]["config"]
    first["batch_input_shape"] = [None, MUSIC_TAGGER.bands, MUSIC_TAGGER.frames, 1]
    first["data_format"] = "channels_last"
    return {"class_name": "Sequential", "config": {"name": NAME, "layers": layers}}


def _layer(kind: str, name: str, **settings: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": name, **settings}}


def _norm(name: str, axis: int) -> dict[str, Any]:
    return _layer("BatchNormalization", name, axis=axis, epsilon=_EPSILON, momentum=0.99)


def _gru(name: str, all_steps: bool) -> dict[str, Any]:
    return _layer(
        "GRU",
        name,
        units=_UNITS,
        activation="tanh",
        recurrent_activation="hard_sigmoid",
        return_sequences=all_steps,
        reset_after=False,
        use_bias=True,
    )
