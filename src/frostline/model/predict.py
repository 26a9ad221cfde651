"""Saying what new pictures show, with a run, a model folder or a backbone's own classes."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

import torch

from frostline.activations import engines, extraction
from frostline.base import html
from frostline.base.console import Console
from frostline.base.errors import BackboneError, ListingError, did_you_mean
from frostline.base.paths import user_path
from frostline.images import level_rules
from frostline.images import listing as listings
from frostline.images.preprocessing import Preprocessing
from frostline.model import classifier
from frostline.model.classifier import Classifier
from frostline.networks import catalog
from frostline.networks.registry import kind_of
from frostline.run.folder import RunFolder, open_run
from frostline.scores import evaluation, metrics, pooling
from frostline.sound import thumbnails, windows
from frostline.sound.loading import files_of, medium, windows_of


@dataclass(frozen=True)
class HeardWindow:
    """What is said of one part of a sound.

    Attributes:
        start_s: Where it begins, in seconds.
        end_s: Where it ends.
        top: As in `Prediction`.
    """

    start_s: float
    end_s: float
    top: tuple[tuple[str, float], ...]


# Kinds of networks whose classes a file may name.
_NAMED_BESIDE = ("keras", "onnx", "tf", "tflite")
# So many classes are shown of one picture.
_SHOWN = 5


@dataclass(frozen=True, repr=False)
class Prediction:
    """What is said of one picture.

    Attributes:
        path: The picture.
        top: Class names with their probabilities, the most likely first; none where the picture
            could not be read.
        problem: Why it could not be read; empty where it could.
        labels: All that is said of it: the most likely class, or of a model of several labels
            every class of probability 0.5 or more, whatever `top` is cut to.
        sureness: How sure the model is of that, 0 to 1: the probability of the class; of several
            labels, of the one it is least sure to have said or left unsaid rightly.
        windows: Of a sound, what is said of each of its windows, of which all else is the mean.
        content: Of its file, where it came from Python and not from a file.
    """

    path: str
    top: tuple[tuple[str, float], ...]
    problem: str = ""
    labels: tuple[str, ...] = ()
    sureness: float = 0.0
    windows: tuple[HeardWindow, ...] = ()
    content: bytes | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        said = ", ".join(f"{label} {chance:.1%}" for label, chance in self.top[:_SHOWN])
        return html.one_line(f"Prediction {self.path}: {said or 'not read: ' + self.problem}")

    def _repr_html_(self) -> str:
        name = PurePath(self.path).name
        if self.problem:
            return html.block(html.lead(name), html.dim(f"not read: {self.problem}"))
        said = ", ".join(self.labels) or "none of the classes"
        shown = thumbnails.picture(self.content or self.path, f"{name}: {said}")
        bars = "".join(_bar(label, chance) for label, chance in self.top[:_SHOWN])
        words = f"{html.lead(said)}{html.dim(name)}<table><tbody>{bars}</tbody></table>"
        return html.block(f'<div class="one">{shown}<div>{words}</div></div>')

    def is_unsure(self, threshold: float) -> bool:
        """Says whether the picture was read, and the model is less sure than that."""
        return not self.problem and self.sureness < threshold

    @property
    def label(self) -> str:
        """The most likely class; empty where the picture could not be read."""
        return self.top[0][0] if self.top else ""

    @property
    def probability(self) -> float:
        """Of that class."""
        return self.top[0][1] if self.top else 0.0


def open_model(
    target: str,
    device: str = "auto",
    precision: str = "recorded",
    flip: bool | None = None,
    weights: Path | None = None,
) -> Classifier:
    """Opens what predicts.

    Args:
        target: A run folder, a model folder, or a backbone's name such as `dir:PATH`.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        precision: `bf16`, `fp32`, `auto`, or `recorded`: what the run was trained in.
        flip: Whether probabilities are the mean over a picture and its mirror image; None for
            what the run says.
        weights: A local weights file for an architecture by name.

    Raises:
        RunError: Where the folder is an unfinished run.
        BackboneError: Where it is neither a folder nor a backbone, or has no classes.
    """
    model = _opened(target, engines.pick_device(device), precision, weights)
    return model if flip is None else replace(model, flip=flip)


def unnamed(model: Classifier) -> str:
    """Says that a network's own classes have no names, and how to give them; empty where not."""
    count = len(model.labels)
    if model.head is not None or model.labels != tuple(map(str, range(count))):
        return ""
    advice = ""
    if model.record.kind in _NAMED_BESIDE:
        advice = " For names, one a line in their order, add ?labels=FILE."
    return f"Its {count:,} classes have no names, and are numbered from 0.{advice}"


def _opened(target: str, where: torch.device, precision: str, weights: Path | None) -> Classifier:
    path = user_path(target)
    is_folder = path.is_dir() or target.startswith("dir:")
    if is_folder and weights is not None:
        raise BackboneError(
            f"--weights: goes with an architecture by name; {target} brings its own."
        )
    if path.is_dir():
        if RunFolder(path).is_run():
            path = open_run(path).model
        return classifier.open_folder(path, where, precision)
    if ":" not in target:
        raise BackboneError(
            f"{target}: no such run or model folder, and no KIND:NAME." + _near(path)
        )
    name = catalog.parse(target)
    if name.kind == "dir":
        return classifier.open_folder(Path(name.path), where, precision)
    opened = catalog.find(target, weights=weights)
    if not kind_of(opened.record.kind).outputs(opened.module):
        raise BackboneError(
            f"{target}: has no classes of its own, only features. Train a head first, with "
            "frostline train, or read the features off with frostline embed."
        )
    compute = engines.pick_precision("auto" if precision == "recorded" else precision, where)
    return classifier.with_own_classes(opened, "pooled", where, compute)


def predict(
    model: Classifier, paths: Sequence[Path], top_k: int, console: Console
) -> Iterator[Prediction]:
    """Says what pictures show, one at a time, in order.

    Args:
        model: From `open_model`.
        paths: Files, and folders whose pictures at any depth are meant.
        top_k: How many classes to name.
        console: Where progress is shown.

    Raises:
        ListingError: Where a path does not exist, or there is no picture.
    """
    is_sound = model.preprocessing.spectrogram is not None
    listing = listings.scan_files(
        list(paths), console, most_px=model.preprocessing.most_px, medium=medium(is_sound)
    )
    how, notes = _fed_with(model, listing, console)
    for note in notes:
        console.say(note)
    judged = _judged(model, windows_of(listing, how).rows, how, console)
    if not is_sound:
        for row, found in judged:
            yield _prediction(row.path, found, model, top_k)
        return
    for path, parts in itertools.groupby(judged, lambda one: windows.window_of(one[0].path).path):
        yield _heard(path, list(parts), model, top_k)


# The probabilities of what could be read, or why it could not.
_Judgement = torch.Tensor | str


def _judged(
    model: Classifier, rows: Sequence[listings.Row], how: Preprocessing, console: Console
) -> Iterator[tuple[listings.Row, _Judgement]]:
    """Yields what the model says of each row, in order."""
    readable = [index for index, row in enumerate(rows) if not row.problem]
    found: dict[int, _Judgement] = {
        index: row.problem for index, row in enumerate(rows) if row.problem
    }
    files = [rows[index].path for index in readable]
    following = 0
    with console.bar(len(files), "predicting", how.nouns.row) as bar:
        for positions, batch, problems in _scores(model, files, how):
            for position, probabilities in zip(positions, batch, strict=True):
                found[readable[position]] = probabilities
            for position, reason in problems.items():
                found[readable[position]] = reason
            bar.advance(len(positions) + len(problems))
            while following in found:
                yield rows[following], found.pop(following)
                following += 1
    while following in found:
        yield rows[following], found.pop(following)
        following += 1


def evaluate_on(
    model: Classifier, photos: Path, split: str, console: Console
) -> tuple[evaluation.ScoredSplit, listings.Listing]:
    """Scores a model on labelled pictures; labels go by name.

    Args:
        model: From `open_model`.
        photos: Class folders, a folder with splits, or a CSV, whose label cells may hold several
            labels with `;` between them where the model gives several.
        split: `train`, `val`, `test`, `all`, or `auto`: val where the pictures come with splits,
            all of them otherwise.
        console: Where words go.

    Returns:
        The scores, and the listing with what could not be read.

    Raises:
        ListingError: Where a class is unknown to the model, or there is nothing to score.
    """
    several, name = _gives_several(model), listings.name_of(photos)
    if not several and listings.has_several(photos) and not any(";" in x for x in model.labels):
        raise ListingError(
            f"{name}: some of its cells hold several labels (with ; between them), and the model "
            "says one class of each picture. Give each picture one label, or evaluate a model that "
            "was trained with --targets multilabel."
        )
    # Pictures that show none of the classes are a fair test of a model of several labels.
    listing = listings.scan(
        photos,
        console,
        least_classes=0 if several else 1,
        targets="multilabel" if several else "multiclass",
        most_px=model.preprocessing.most_px,
        medium=medium(model.preprocessing.spectrogram is not None),
    )
    how, notes = _fed_with(model, listing, console)
    listing = listing.with_notes(notes)
    whole, listing = listing, windows_of(listing, how)
    if split == "auto":
        split = "val" if listing.has_splits else "all"
    rows = listing.usable if split == "all" else listing.of(split)
    strangers = sorted({tag for row in rows for tag in listing.tags(row)} - set(model.labels))
    if strangers:
        raise ListingError(
            f"{name}: class {strangers[0]!r} is unknown to the model, which knows "
            f"{', '.join(model.labels[:8])}." + did_you_mean(strangers[0], model.labels)
        )
    files = [row.path for row in rows]
    kept: list[int] = []
    parts: list[torch.Tensor] = []
    problems: dict[str, str] = {}
    with console.bar(len(files), "evaluating", how.nouns.row) as bar:
        for positions, probabilities, failed in _scores(model, files, how):
            kept += positions
            parts.append(probabilities)
            problems |= {files[position]: reason for position, reason in failed.items()}
            bar.advance(len(positions) + len(failed))
    if not kept:
        raise ListingError(f"{name}: has no readable {how.nouns.term}s in split {split!r}.")
    chosen = [rows[position] for position in kept]
    listing = files_of(listing.with_problems(problems), whole)
    numbers = windows.file_numbers(chosen)
    means = pooling.mean(torch.cat(parts), None if numbers is None else torch.tensor(numbers))
    judged = windows.files_of_rows(chosen, listing)
    return evaluation.scored(split, judged, means, model.labels, several), listing


def _scores(
    model: Classifier, files: Sequence[str], how: Preprocessing
) -> Iterator[tuple[list[int], torch.Tensor, dict[int, str]]]:
    items = [extraction.ImageView(file) for file in files]
    engine = model.engine

    def run(pixels: torch.Tensor) -> torch.Tensor:
        images = (pixels, pixels.flip(-1)) if model.flip else (pixels,)
        return torch.stack([engine(each) for each in images], 1)

    for positions, activations, problems in extraction.activations(items, how, run, engine.on_cpu):
        if activations is None:
            yield positions, torch.empty(0, len(model.labels)), problems
        else:
            each = [model.score(part) for part in activations.unbind(1)]
            yield positions, torch.stack(each).mean(0), problems


def _fed_with(
    model: Classifier, listing: listings.Listing, console: Console
) -> tuple[Preprocessing, tuple[str, ...]]:
    """Returns the model's preprocessing; deep pictures of a kind it never saw get levels here."""
    how = model.preprocessing
    if how.spectrogram is not None:
        return how, ()
    return level_rules.preprocessing_for(how, listing, level_rules.AUTO, how.most_px, console)


def _prediction(path: str, found: _Judgement, model: Classifier, top_k: int) -> Prediction:
    if isinstance(found, str):
        return Prediction(path, (), found)
    top = _top(found, model, top_k)
    if not _gives_several(model):
        return Prediction(path, top, labels=(top[0][0],), sureness=top[0][1])
    least = float((found - 0.5).abs().min()) + 0.5
    likely = (found >= metrics.THRESHOLD).nonzero()[:, 0].tolist()
    labels = tuple(model.labels[index] for index in likely)
    return Prediction(path, top, labels=labels, sureness=least)


def _heard(
    path: str, parts: Sequence[tuple[listings.Row, _Judgement]], model: Classifier, top_k: int
) -> Prediction:
    """Returns what is said of a sound: the mean over its windows, and each of these."""
    read = [(row, found) for row, found in parts if isinstance(found, torch.Tensor)]
    if not read:
        return _prediction(path, parts[0][1], model, top_k)
    mean = torch.stack([found for _, found in read]).mean(0)
    heard = tuple(
        HeardWindow(*windows.span_of(row), _top(found, model, top_k)) for row, found in read
    )
    return replace(_prediction(path, mean, model, top_k), windows=heard)


def _top(
    probabilities: torch.Tensor, model: Classifier, top_k: int
) -> tuple[tuple[str, float], ...]:
    best = probabilities.topk(min(top_k, len(model.labels)))
    named = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return tuple((model.labels[index], chance) for index, chance in named)


def _bar(label: str, chance: float) -> str:
    width = f"{8 * chance:.2f}em"
    return (
        f'<tr><th scope="row">{html.escape(label)}</th><td>{chance:.1%}</td>'
        f'<td class="text"><span class="bar" style="width:{width}"></span></td></tr>'
    )


def _gives_several(model: Classifier) -> bool:
    return model.targets == "multilabel"


def _near(path: Path) -> str:
    there = path.parent if path.parent.is_dir() else Path()
    return did_you_mean(path.name, [p.name for p in there.iterdir() if p.is_dir()])
