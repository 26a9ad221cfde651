"""What a run is to do, as data: typed, validated, without torch; read and written as TOML.

A recipe knows nothing of the parts that carry it out; `pipeline.py` alone turns it into objects.
"""

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from frostline.errors import RecipeError, did_you_mean, raise_all
from frostline.files import write_text

POOLINGS = ("avg", "max", "flatten")
OPTIMIZERS = ("adamw", "sgd")
SCHEDULES = ("cosine", "constant")
PRECISIONS = ("auto", "bf16", "fp32")
STARTS = ("auto", "probe", "random")
CACHES = ("always", "never")


@dataclass(frozen=True)
class Data:
    """How a listing without splits of its own is divided.

    Attributes:
        val: Share of the images kept for validation, in [0, 1).
        test: Share kept for the final test, in [0, 1).
        strict: Whether an image that cannot be read is an error rather than left out.
    """

    val: float = 0.2
    test: float = 0.0
    strict: bool = False


@dataclass(frozen=True)
class BackboneChoice:
    """Which network, with which weights.

    Attributes:
        name: `SOURCE:NAME[?key=value&…]`; empty for the device's default.
        weights: A local weights file for the named architecture; empty for its own.
        partial: Whether `weights` may fit in part only.
        image_px: Side of the square input, instead of the backbone's own; 0 keeps its own.
    """

    name: str = ""
    weights: str = ""
    partial: bool = False
    image_px: int = 0


@dataclass(frozen=True)
class HeadChoice:
    """The new layers.

    Attributes:
        spec: `linear`, or `mlp:WIDTH[,WIDTH…][,dropout=P]`.
        pooling: `avg` (the backbone's own way to one vector per image), `max` or `flatten`.
        start: `probe` (regularised logistic regression), `random`, or `auto`: the probe where
            the head is linear.
    """

    spec: str = "linear"
    pooling: str = "avg"
    start: str = "auto"


@dataclass(frozen=True)
class Stage:
    """A line, and how what is above it is trained.

    Attributes:
        line: The frost line; everything below it stays as it is.
        epochs: Passes over the training images.
        lr: Peak learning rate of the head.
        suffix_lr: Peak learning rate of the suffix, as a share of `lr`.
        optimizer: `adamw` or `sgd` (momentum 0.9).
        schedule: `cosine` to zero after a linear warm-up, or `constant`.
        warmup: Share of the steps spent warming up, in [0, 1).
        weight_decay: On weights only; never on biases and norms.
        batch_size: Images per step.
        label_smoothing: In [0, 1).
        batch_norm: `frozen` keeps the stored statistics, `train` updates those above the line.
    """

    line: str = "pooled"
    epochs: int = 5
    lr: float = 1e-3
    suffix_lr: float = 0.1
    optimizer: str = "adamw"
    schedule: str = "cosine"
    warmup: float = 0.1
    weight_decay: float = 0.01
    batch_size: int = 32
    label_smoothing: float = 0.0
    batch_norm: str = "frozen"


@dataclass(frozen=True)
class Compute:
    """Where and how numbers are computed.

    Attributes:
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        precision: Of the prefix and of training: `bf16`, `fp32`, or `auto`: bf16 where the
            processor has instructions for it.
        cache: `always` keeps activations on disk; `never` computes them again in every epoch.
    """

    device: str = "auto"
    precision: str = "auto"
    cache: str = "always"


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run, besides the listing."""

    seed: int = 0
    data: Data = field(default_factory=Data)
    backbone: BackboneChoice = field(default_factory=BackboneChoice)
    head: HeadChoice = field(default_factory=HeadChoice)
    compute: Compute = field(default_factory=Compute)
    stages: tuple[Stage, ...] = ()


def validate(recipe: Recipe, where: str = "recipe") -> None:
    """Checks every value.

    Args:
        recipe: The recipe.
        where: Its file, or what else to name in the message.

    Raises:
        RecipeError: Naming every problem at once.
    """
    found: list[str] = []

    def must(holds: bool, key: str, rule: str, got: Any) -> None:
        if not holds:
            found.append(f"{key} must be {rule}, not {got!r}.")

    def choice(key: str, got: str, known: tuple[str, ...]) -> None:
        must(got in known, key, f"one of {', '.join(known)}", got)

    data, head, compute = recipe.data, recipe.head, recipe.compute
    must(0 <= recipe.seed < 2**32, "seed", "0 to 4294967295", recipe.seed)
    must(0 <= data.val < 1, "data.val", "a share in [0, 1)", data.val)
    must(0 <= data.test < 1, "data.test", "a share in [0, 1)", data.test)
    must(data.val + data.test < 1, "data.val + data.test", "below 1", data.val + data.test)
    image_px = recipe.backbone.image_px
    must(image_px == 0 or 16 <= image_px <= 4096, "backbone.image_px", "0 or 16 to 4096", image_px)
    choice("head.pooling", head.pooling, POOLINGS)
    choice("head.start", head.start, STARTS)
    choice("compute.precision", compute.precision, PRECISIONS)
    choice("compute.cache", compute.cache, CACHES)
    for number, stage in enumerate(recipe.stages):
        at = f"stages.{number}."
        must(stage.epochs >= 1, at + "epochs", "at least 1", stage.epochs)
        must(0 < stage.lr < 100, at + "lr", "above 0 and below 100", stage.lr)
        must(0 < stage.suffix_lr <= 10, at + "suffix_lr", "in (0, 10]", stage.suffix_lr)
        choice(at + "optimizer", stage.optimizer, OPTIMIZERS)
        choice(at + "schedule", stage.schedule, SCHEDULES)
        choice(at + "batch_norm", stage.batch_norm, ("frozen", "train"))
        must(0 <= stage.warmup < 1, at + "warmup", "a share in [0, 1)", stage.warmup)
        must(stage.weight_decay >= 0, at + "weight_decay", "at least 0", stage.weight_decay)
        least = 2 if stage.batch_norm == "train" else 1
        rule = "at least 1" if least == 1 else "at least 2 where batch norms are trained"
        must(stage.batch_size >= least, at + "batch_size", rule, stage.batch_size)
        smoothing = stage.label_smoothing
        must(0 <= smoothing < 1, at + "label_smoothing", "in [0, 1)", smoothing)
    raise_all(RecipeError, where, found)


def read(path: Path) -> Recipe:
    """Reads and validates a recipe.

    Raises:
        RecipeError: Where the file is missing, is no TOML, or does not hold; naming every problem.
    """
    try:
        # Paths in it need not be UTF-8; `write` keeps their bytes.
        values = tomllib.loads(path.read_bytes().decode("utf-8", "surrogateescape"))
    except FileNotFoundError as error:
        raise RecipeError(f"{path}: no such recipe file.") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read as TOML: {error}.") from error
    return from_dict(values, str(path))


def from_dict(values: Mapping[str, Any], where: str) -> Recipe:
    """Builds a recipe from plain values and validates it.

    Raises:
        RecipeError: Naming every key that is unknown or of the wrong type, or every value that
            does not hold.
    """
    problems: list[str] = []
    recipe = _build(Recipe, values, "", problems)
    raise_all(RecipeError, where, problems)
    assert isinstance(recipe, Recipe)
    validate(recipe, where)
    return recipe


def to_toml(recipe: Recipe) -> str:
    """Returns the recipe as TOML with every default written out."""
    import tomli_w

    return tomli_w.dumps(dataclasses.asdict(recipe))


def write(recipe: Recipe, path: Path) -> None:
    """Writes `to_toml(recipe)` atomically."""
    write_text(path, to_toml(recipe))


def _build(kind: type, values: Mapping[str, Any], at: str, problems: list[str]) -> Any:
    hints = get_type_hints(kind)
    known = [item.name for item in dataclasses.fields(kind)]
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            problems.append(f"{at}{key} is no key of a recipe.{did_you_mean(key, known)}")
        else:
            arguments[key] = _value(hints[key], value, f"{at}{key}", problems)
    return kind(**arguments)


def _value(hint: Any, value: Any, at: str, problems: list[str]) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, Mapping):
            return _build(hint, value, f"{at}.", problems)
        problems.append(f"{at} must be a table.")
        return hint()
    if get_origin(hint) is tuple:
        (item, _) = get_args(hint)
        if isinstance(value, list):
            return tuple(_value(item, v, f"{at}.{i}", problems) for i, v in enumerate(value))
        problems.append(f"{at} must be a list of tables.")
        return ()
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        problems.append(f"{at} must be {_TYPES[hint]}, not {value!r}.")
    return value


_TYPES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
