"""The parts of a recipe as frozen dataclasses; `checks` has the rules for their values.

Optional values are None by default, and are left out in TOML.
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
LAYOUTS = ("auto", "classes")
INITS = ("default", "normal", "xavier", "kaiming")
PRESETS = ("none", "light", "standard", "strong")
FILLS = ("edge", "constant")
BALANCES = ("none", "weights", "sampling")
SELECTS = ("best", "last", "end")
# What views of pictures, and views of sounds, may be varied by.
OF_PICTURES = ("flip", "rotate", "shift", "shear", "zoom", "crop", "color", "fill")
OF_SOUNDS = ("shift", "gain", "noise", "masks")
DEFAULT = "thaw"
# What a search may be told to leave as it is.
FIXED = ("line", "epochs", "lr", "suffix_lr", "weight_decay", "views", "head")
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
    """How images are split, and what kind of labels they have.

    Attributes:
        val: The share of images for validation, in [0, 1), unless the listing has splits.
        test: The share of images for the final test, in [0, 1), likewise.
        strict: Whether an unreadable image is an error; otherwise it is left out.
        targets: `multiclass` (one of the classes), `binary` (two classes, one sigmoid),
            `multilabel` (any of the classes, one sigmoid each), or `auto`: `multilabel` where a
            CSV has several labels in a row, else `multiclass`.
        separator: Between the labels in a cell of a table: `auto`, `space`, or the sign itself.
        layout: Of folders: `auto` finds split folders and refuses what looks like unknown ones;
            `classes` takes the folders on top as the classes.
        levels: What becomes black and white in pictures deeper than 8 bits: `BLACK:WHITE` such as
            `0:4095`, one for each kind of samples (`uint16=0:4095,float=0:1`), or `auto`: by what
            the files say, and where that is open by the values of the whole set.
        max_megapixels: Of the largest picture that is read, in millions; 0 for the limits of the
            decoder, about 224 of JPEG and 89 of all else.
        sound: Whether the files are sounds, which become spectrograms.
        window_s: Seconds of sound that the network hears at once; 0 for the network's own or, where
            it was made for pictures, the usual length of the files, from 1 to 10 s.
    """

    val: float = 0.2
    test: float = 0.0
    strict: bool = False
    targets: str = "auto"
    separator: str = "auto"
    layout: str = "auto"
    levels: str = "auto"
    max_megapixels: float = 0.0
    sound: bool = False
    window_s: float = 0.0


@dataclass(frozen=True)
class BackboneChoice:
    """Which network, with which weights.

    Attributes:
        name: `KIND:NAME[?key=value&…]`; empty for the device's default.
        weights: A local weights file for the named architecture; empty for its own.
        partial: Whether `weights` may match the network only in part.
        image_px: Side of the square input; 0 for the backbone's own.
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
        pooling: `avg` (the backbone's own pooling), `max` or `flatten`.
        start: `probe` (regularised logistic regression on frozen features), `random`, or `auto`:
            the probe if the head is linear.
        probe_views: Varied views of each training image that the probe is fitted on, besides the
            `center` view. A search finds out whether they help, and writes it down here.
        init: Initialisation of new layers: `default` (PyTorch's), `normal`, `xavier` or `kaiming`.
        on: The line on which the head sits, such as `blocks.3`; empty for the backbone's end.
            Layers above it are not used.
        layers: The head as a list of layers, instead of `spec` and `pooling`.
    """

    spec: str = "linear"
    pooling: str = "avg"
    start: str = "auto"
    probe_views: int = 0
    init: str = "default"
    on: str = ""
    layers: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Views:
    """The augmentation of training images. Validation always uses the `center` view.

    Attributes:
        count: The number of cached views per training image, used in turn, one per epoch; 0 lets
            the planner choose.
        live: Whether every epoch computes new views from pixels, without caching; `count` is then
            ignored.
        refresh: The share of cached views that is replaced by new ones in every epoch, in [0, 1].
        preset: `none`, `light`, `standard` or `strong`; the values below override it.
        flip: Whether images are mirrored, with a probability of one half.
        rotate: Largest angle, in degrees.
        shift: Largest shift, as a share of width and height; of a sound, of its window's length.
        shear: Largest shear, as a share.
        zoom: Largest change of scale, as a share.
        crop: Smallest share of the area of a random crop; 1 for no crops.
        color: Largest change of brightness, contrast and saturation, as a share.
        fill: Pixels outside the image: `edge`, or `constant` (the mean colour).
        gain: Largest change of a sound's loudness, in decibels.
        noise: Largest white noise in a sound, as a share of its effective value.
        masks: Largest share of a sound's bands, and of its time, that one mask hides.
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
    gain: float | None = None
    noise: float | None = None
    masks: float | None = None

    def policy(self) -> dict[str, Any]:
        """Returns the values that override the preset's."""
        names = dict.fromkeys((*OF_PICTURES, *OF_SOUNDS))
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@dataclass(frozen=True)
class Stage:
    """One stage of training: a frost line, and the settings for the layers above it.

    Attributes:
        line: The frost line: everything below it is frozen. A name, an index, `last N blocks`, a
            share such as `85%` (at least that share of the computation is frozen), `top` (only the
            head is trained), or `auto` (the planner chooses).
        epochs: Passes over the training images.
        steps: Optimiser steps instead of epochs; 0 to count epochs.
        lr: Peak learning rate of the head.
        suffix_lr: Peak learning rate of the suffix, as a share of `lr`.
        layer_decay: Layer-wise decay: the factor by which the learning rate falls from each block
            of the suffix to the one below it, in (0, 1].
        optimizer: `adamw`, `adam`, `sgd` (momentum 0.9) or `rmsprop`.
        schedule: `cosine` to zero after a linear warm-up, `one-cycle`, `step` (a tenth after half
            and again after three quarters), or `constant`.
        warmup: Share of the steps for warm-up, in [0, 1).
        weight_decay: Of weights; not of biases, norms, and parameters that the backbone exempts.
        batch_size: Images per forward pass.
        accumulate: Forward passes per optimiser step (gradient accumulation).
        clip: Largest total norm of the gradients; 0 for no clipping.
        ema: Decay of the exponential moving average of the weights, which is then validated and
            kept; 0 for none.
        stop_after: The stage ends after so many of its epochs, in the middle of its schedule, as a
            search does where time runs out; 0 for none.
        patience: Early stopping: epochs without improvement on validation; 0 for none.
        label_smoothing: In [0, 1).
        batch_norm: `frozen` keeps the backbone's running statistics, `train` updates those above
            the line. A head's own are always updated.
        dropout: The rate of every dropout layer above the line; None leaves them unchanged.
        balance: Class imbalance: rare classes get a larger weight in the loss (`weights`), are
            sampled more often (`sampling`), or neither (`none`).
        mixup: Pairs of activations are mixed with a weight from Beta(mixup, mixup); 0 for none.
        noise: Gaussian noise on activations, relative to a batch's standard deviation.
        augment: Whether augmented views of the training images are used, or the `center` view.
        select: Which state a stage ends with: `best` (the best epoch on validation) or `last` (the
            end of the schedule), either of them only if it is better than the stage's start; or
            `end`, the end of the schedule whatever validation says.
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
    stop_after: int = 0
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
    """The device, the precision, and how activations are computed.

    Attributes:
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        precision: Of the prefix and of training: `bf16`, `fp32`, or `auto`: bf16 if the processor
            has instructions for it.
        cache: `always` caches activations on disk; `never` computes them in every epoch; `auto`
            lets the planner take the faster.
        engine: The engine for the prefix: `eager`, `compile`, `openvino`, or `auto`: measured.
        derive: Whether activations at later lines are derived from those cached at the earliest;
            the planner turns it off if it measures that recomputing them is faster.
        pass_line: A line below those of the stages, where the pass over the images ends; what
            stages need is derived from there. A search that tried lower lines writes it down, as
            rounding differs. Empty for the lowest line of the stages.
    """

    device: str = "auto"
    precision: str = "auto"
    cache: str = "auto"
    engine: str = "auto"
    derive: bool = True
    pass_line: str = ""


@dataclass(frozen=True)
class Budget:
    """The limits that the planner observes; None for no limit.

    Attributes:
        disk_gib: The size of new activations.
        memory_gib: The memory of the process.
        time_min: The time of the whole run.
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
        folds: Of the cross-validation by which the probe is scored and candidates are compared,
            over the images of train and val; 0 for one where these are few, 1 for none.
        fixed: What all candidates have as the recipe has it: any of `line`, `epochs`, `lr`,
            `suffix_lr` and `weight_decay` of the stage, `views` and `head`.
    """

    enabled: bool = False
    candidates: int = 0
    folds: int = 0
    fixed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Watch:
    """Where progress is logged, besides the screen and `history.jsonl`.

    Attributes:
        trackers: `tensorboard` (event files in the run folder), and others by name, such as
            `mlflow`.
        histograms: Whether histograms of weights and gradients are logged, layer by layer.
    """

    trackers: tuple[str, ...] = ()
    histograms: bool = False


@dataclass(frozen=True)
class Predict:
    """How the finished model is used.

    Attributes:
        flip: Test-time augmentation: whether probabilities are averaged over an image and its
            mirror image.
    """

    flip: bool = False


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a run, besides the listing.

    Attributes:
        about: What it is for, in words.
        seed: Decides splits, new weights, views, order and dropout.
        seeds: How often the run is made, with `seed`, `seed + 1` and so on, for the mean and the
            spread of its scores; the first is the run.
    """

    about: str = ""
    seed: int = 0
    seeds: int = 1
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
