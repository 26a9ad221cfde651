"""The parts of a recipe: frozen and typed; what each may be stands in `checks`.

Values that may be left open are None; in TOML they are left out.
"""

from dataclasses import dataclass, field
from typing import Any

POOLINGS = ("avg", "max", "flatten")
OPTIMIZERS = ("adamw", "adam", "sgd", "rmsprop")
SCHEDULES = ("cosine", "one-cycle", "step", "constant")
PRECISIONS = ("auto", "bf16", "fp32")
STARTS = ("auto", "probe", "random")
CACHES = ("auto", "always", "never")
ENGINES = ("auto", "eager", "compile", "openvino")
TARGETS = ("auto", "multiclass", "binary", "multilabel")
INITS = ("default", "normal", "xavier", "kaiming")
PRESETS = ("none", "light", "standard", "strong")
FILLS = ("edge", "constant")
BALANCES = ("none", "weights", "sampling")
SELECTS = ("best", "last")
DEFAULT = "thaw"
TRACKERS = (
    "tensorboard",
    "aim",
    "clearml",
    "comet_ml",
    "dvclive",
    "mlflow",
    "swanlab",
    "trackio",
    "wandb",
)


@dataclass(frozen=True)
class Data:
    """How a listing without splits of its own is divided, and what its labels are.

    Attributes:
        val: Share of the images kept for validation, in [0, 1).
        test: Share kept for the final test, in [0, 1).
        strict: Whether an image that cannot be read is an error rather than left out.
        targets: `multiclass` (one of the classes), `binary` (two classes, one sigmoid),
            `multilabel` (any of the classes, one sigmoid each), or `auto`: `multilabel` where a
            CSV has several labels in a row, else `multiclass`.
    """

    val: float = 0.2
    test: float = 0.0
    strict: bool = False
    targets: str = "auto"


@dataclass(frozen=True)
class BackboneChoice:
    """Which network, with which weights.

    Attributes:
        name: `SOURCE:NAME[?key=value&…]`; empty for the device's default.
        weights: A local weights file for the named architecture; empty for its own.
        partial: Whether `weights` may fit in part only.
        image_px: Side of the square input, instead of the backbone's own; 0 keeps its own.
        pretrained: False for random weights.
    """

    name: str = ""
    weights: str = ""
    partial: bool = False
    image_px: int = 0
    pretrained: bool = True


@dataclass(frozen=True)
class HeadChoice:
    """The new layers.

    Attributes:
        spec: `linear`, or `mlp:WIDTH[,WIDTH…][,dropout=P]`.
        pooling: `avg` (the backbone's own way to one vector per image), `max` or `flatten`.
        start: `probe` (regularised logistic regression), `random`, or `auto`: the probe where
            the head is linear.
        init: How new layers begin: `default` (PyTorch's own), `normal`, `xavier` or `kaiming`.
        on: The line that the head sits on, such as `blocks.3`; empty for the backbone's end.
            What lies above it is not used.
        layers: The head as a list of layers, instead of `spec` and `pooling`.
    """

    spec: str = "linear"
    pooling: str = "avg"
    start: str = "auto"
    init: str = "default"
    on: str = ""
    layers: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Views:
    """How training images are varied. Validation always sees the `center` view.

    Attributes:
        count: Views of each training image that are kept; 0 lets the planner choose. Epoch after
            epoch takes the next one.
        live: New views in every epoch, computed from pixels and not kept; `count` means nothing.
        refresh: Share of the kept views that is replaced by new ones in every epoch, in [0, 1].
        preset: `none`, `light`, `standard` or `strong`; the values below go before it.
        flip: Whether images are mirrored, with a chance of one half.
        rotate: Largest angle, in degrees.
        shift: Largest shift, as a share of width and height.
        shear: Largest shear, as a share.
        zoom: Largest change of scale, as a share.
        crop: Least share of the area that a random crop keeps; 1 for no crops.
        color: Largest change of brightness, contrast and saturation, as a share.
        fill: What stands where the image does not reach: `edge`, or `constant` (the mean colour).
    """

    count: int = 0
    live: bool = False
    refresh: float = 0.0
    preset: str = "none"
    flip: bool | None = None
    rotate: float | None = None
    shift: float | None = None
    shear: float | None = None
    zoom: float | None = None
    crop: float | None = None
    color: float | None = None
    fill: str | None = None

    def policy(self) -> dict[str, Any]:
        """Returns the values that go before the preset's."""
        names = ("flip", "rotate", "shift", "shear", "zoom", "crop", "color", "fill")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@dataclass(frozen=True)
class Stage:
    """A line, and how what is above it is trained.

    Attributes:
        line: The frost line; everything below it stays as it is. A name, an index, `last N
            blocks`, a share such as `85%` (at least that much of the work stays frozen), `top`
            (the head alone), or `auto` (the planner chooses).
        epochs: Passes over the training images.
        steps: Optimiser steps instead of epochs; 0 counts epochs.
        lr: Peak learning rate of the head.
        suffix_lr: Peak learning rate of the suffix, as a share of `lr`.
        layer_decay: What the rate is multiplied by from each block of the suffix to the one
            below it, in (0, 1].
        optimizer: `adamw`, `adam`, `sgd` (momentum 0.9) or `rmsprop`.
        schedule: `cosine` to zero after a linear warm-up, `one-cycle`, `step` (a tenth after half
            and again after three quarters), or `constant`.
        warmup: Share of the steps spent warming up, in [0, 1).
        weight_decay: On weights only; never on biases, norms and what a backbone wants spared.
        batch_size: Images per forward pass.
        accumulate: Forward passes per step.
        clip: Largest norm of all gradients together; 0 for no limit.
        ema: Decay of the moving average of the weights that is validated and kept; 0 for none.
        patience: Epochs without a better validation score after which the stage ends; 0 for all.
        label_smoothing: In [0, 1).
        batch_norm: `frozen` keeps the backbone's stored statistics, `train` updates those above
            the line. A head's own are always updated.
        dropout: What every dropout layer above the line is set to; none leaves them.
        balance: Classes that are rare count more (`weights`), are drawn more often (`sampling`),
            or not (`none`).
        mixup: Pairs of activations are mixed by Beta(mixup, mixup); 0 for none.
        noise: Gaussian noise on activations, as a share of a batch's standard deviation.
        augment: Whether the training images' varied views are used, or their `center` view.
        select: Which state a stage ends with: `best` (the best epoch on validation) or `last` (the
            end of the schedule). Either is kept only if it is better than the stage's start.
    """

    line: str = "top"
    epochs: int = 5
    steps: int = 0
    lr: float = 1e-3
    suffix_lr: float = 0.1
    layer_decay: float = 1.0
    optimizer: str = "adamw"
    schedule: str = "cosine"
    warmup: float = 0.1
    weight_decay: float = 0.01
    batch_size: int = 32
    accumulate: int = 1
    clip: float = 0.0
    ema: float = 0.0
    patience: int = 0
    label_smoothing: float = 0.0
    batch_norm: str = "frozen"
    dropout: float | None = None
    balance: str = "none"
    mixup: float = 0.0
    noise: float = 0.0
    augment: bool = True
    select: str = "best"


@dataclass(frozen=True)
class Compute:
    """Where and how numbers are computed.

    Attributes:
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        precision: Of the prefix and of training: `bf16`, `fp32`, or `auto`: bf16 where the
            processor has instructions for it.
        cache: `always` keeps activations on disk; `never` computes them again in every epoch;
            `auto` does what the planner finds to be faster.
        engine: What runs the prefix: `eager`, `compile`, `openvino`, or `auto`: measured.
        derive: Whether activations at later lines are derived from what is kept at the earliest;
            the planner turns it off where it measures that computing them again is faster.
    """

    device: str = "auto"
    precision: str = "auto"
    cache: str = "auto"
    engine: str = "auto"
    derive: bool = True


@dataclass(frozen=True)
class Budget:
    """What a run may take; the planner keeps within. Left out: no limit but what there is.

    Attributes:
        disk_gib: Of new activations.
        memory_gib: Of the process.
        time_min: From start to end.
    """

    disk_gib: float | None = None
    memory_gib: float | None = None
    time_min: float | None = None


@dataclass(frozen=True)
class Search:
    """Whether other settings than the recipe's are tried, on the cached activations.

    Attributes:
        enabled: Whether candidates are tried and the best one is finished. They begin with the
            recipe's own last stage. How long it may take follows from `budget.time_min`; without
            that, from what the first pass over the images takes.
        candidates: At most so many, the probe not counted; 0 for as many as the time allows.
    """

    enabled: bool = False
    candidates: int = 0


@dataclass(frozen=True)
class Watch:
    """Who is told of progress, besides the screen and `history.jsonl`.

    Attributes:
        trackers: `tensorboard` (event files in the run), and others by name, such as `mlflow`.
        histograms: Whether they get histograms of weights and gradients, layer by layer.
    """

    trackers: tuple[str, ...] = ()
    histograms: bool = False


@dataclass(frozen=True)
class Predict:
    """How the finished model is used.

    Attributes:
        flip: Whether scores are the mean over an image and its mirror image.
    """

    flip: bool = False


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run, besides the listing."""

    about: str = ""
    seed: int = 0
    data: Data = field(default_factory=Data)
    backbone: BackboneChoice = field(default_factory=BackboneChoice)
    head: HeadChoice = field(default_factory=HeadChoice)
    views: Views = field(default_factory=Views)
    compute: Compute = field(default_factory=Compute)
    budget: Budget = field(default_factory=Budget)
    search: Search = field(default_factory=Search)
    watch: Watch = field(default_factory=Watch)
    predict: Predict = field(default_factory=Predict)
    stages: tuple[Stage, ...] = ()
