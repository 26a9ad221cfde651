"""Networks that hear: MusicTaggerCRNN with its published weights, and YAMNet."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import settled
from frostline.base.errors import BackboneError, FrostlineError, WeightsError
from frostline.cli import main
from frostline.networks import catalog, music_tagger
from frostline.networks.opening import open_bare
from frostline.networks.record import OpenedBackbone
from frostline.sound import settings
from frostline.sound.mel import log_mel
from sound_files import make_sounds, tone, write

TAGGER = "builtin:music_tagger_crnn"


def weights(assets: Path) -> Path:
    return assets / "weights/music_tagger_crnn/music_tagger_crnn_weights_tensorflow.h5"


@pytest.fixture(scope="module")
def tagger(assets: Path) -> OpenedBackbone:
    return catalog.find(f"{TAGGER}?weights={weights(assets)}")


@pytest.mark.parametrize(
    ("track", "published"),
    [
        (
            "cute",
            {
                "jazz": 0.444,
                "instrumental": 0.151,
                "folk": 0.103,
                "Hip-Hop": 0.103,
                "ambient": 0.077,
            },
        ),
        ("dubstep", {"Hip-Hop": 0.245, "rock": 0.183, "alternative": 0.081}),
    ],
)
def test_its_tags_are_those_that_its_author_published(
    assets: Path, tagger: OpenedBackbone, track: str, published: dict[str, float]
) -> None:
    heard = np.load(assets / f"weights/music_tagger_crnn/{track}.npy").astype(np.float32)
    assert heard.shape == (1, 1, settings.MUSIC_TAGGER.bands, settings.MUSIC_TAGGER.frames)
    with torch.inference_mode():
        scores = tagger.module(torch.from_numpy(heard)).sigmoid()[0]
    best = scores.topk(len(published))
    found = {
        tagger.record.classes[index]: round(score, 3)
        for index, score in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    }
    assert found == published
    assert list(found) == list(published)


def test_it_is_cut_at_every_block_and_gives_32_features(tagger: OpenedBackbone) -> None:
    traced = catalog.trace(tagger)
    names = [line.name for line in traced.lines]
    assert {"bn_0_freq", "pool1", "pool2", "pool3", "pool4", "gru1", "pooled"} <= set(names)
    x = torch.randn(1, 1, 96, 1366)
    with torch.inference_mode():
        whole = tagger.module(x)
        for name in ("pool3", "gru1"):
            prefix, suffix = traced.cut(name)
            torch.testing.assert_close(suffix(prefix(x)), whole)
    assert tagger.record.num_features == 32
    assert tagger.extras["targets"] == "multilabel"


def test_it_comes_without_its_top_and_with_another(assets: Path) -> None:
    bare = catalog.find(f"{TAGGER}?include_top=false", weights=weights(assets))
    with torch.inference_mode():
        assert bare.module(torch.zeros(1, 1, 96, 1366)).shape == (1, 32)
    assert bare.record.classes == ()
    other = catalog.find(f"{TAGGER}?classes=7&pretrained=false")
    with torch.inference_mode():
        assert other.module(torch.zeros(1, 1, 96, 1366)).shape == (1, 7)


def test_its_lines_are_listed_without_weights() -> None:
    assert "pool4" in [line.name for line in catalog.trace(open_bare(TAGGER)).lines]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (TAGGER, "its weights do not ship with Frostline. Name the published file"),
        (f"{TAGGER}?tops=1", "takes no argument 'tops'; known are weights, include_top, classes"),
        (f"{TAGGER}?include_top=2", "include_top must be true or false, not 2"),
        (f"{TAGGER}?classes=-1", "classes must be a whole number from 0 up, not -1"),
        (f"{TAGGER}?weights=/none.h5", "/none.h5: "),
        ("builtin:music_tager_crnn", "Did you mean music_tagger_crnn?"),
    ],
)
def test_wrong_names_are_told(name: str, message: str) -> None:
    with pytest.raises((BackboneError, WeightsError), match=re.escape(message)):
        catalog.find(name)


def test_weights_named_twice_and_of_another_network_are_refused(assets: Path) -> None:
    with pytest.raises(BackboneError, match="weights are named twice"):
        catalog.find(f"{TAGGER}?weights=a.h5", weights=weights(assets))
    other = assets / "weights/mobilenet_v1_imagenet_without_conv_pw_13.h5"
    with pytest.raises(WeightsError, match="mobilenet_v1"):
        catalog.find(TAGGER, weights=other)


def test_predict_tags_music_with_times(
    assets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    song = write(tmp_path / "song.ogg", tone(440.0, 60.0, 12_000), 12_000)
    name = f"{TAGGER}?weights={weights(assets)}"
    assert main(["predict", name, str(song), "--device", "cpu", "--json", "--top-k", "3"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert [round(one["start_s"], 1) for one in found["windows"]] == [0.0, 30.9]
    assert {one["label"] for one in found["top"]} <= set(music_tagger.TAGS)


def test_a_run_on_its_features_opens_again(tmp_path: Path) -> None:
    sounds = make_sounds(tmp_path / "sounds", each=4)
    argv = ["train", str(sounds), "--sound", "--out", str(tmp_path / "run")]
    argv += ["--backbone", f"{TAGGER}?pretrained=false", "--val", "0.3"]
    assert main([*argv, *settled(), "--device", "cpu", "--precision", "fp32"]) == 0
    one = str(sounds / "high" / "000.wav")
    assert main(["predict", str(tmp_path / "run"), one, "--device", "cpu"]) == 0
    opened = catalog.find(f"dir:{tmp_path / 'run'}")
    assert opened.record.preprocessing == settings.heard_by(settings.MUSIC_TAGGER)


def test_a_network_that_hears_is_not_shown_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from conftest import make_photos

    photos = make_photos(tmp_path / "photos", {"a": 3, "b": 3})
    argv = ["train", str(photos), "--out", str(tmp_path / "run"), *settled()]
    assert main([*argv, "--backbone", f"{TAGGER}?pretrained=false"]) == 2
    assert "hears sounds and sees no pictures. Add --sound." in capsys.readouterr().err


def test_a_network_hears_as_long_as_it_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sounds = make_sounds(tmp_path / "sounds", each=2)
    argv = ["train", str(sounds), "--sound", "--window-s", "5", "--out", str(tmp_path / "run")]
    assert main([*argv, "--backbone", f"{TAGGER}?pretrained=false", *settled()]) == 2
    assert "hears 29.12 s at once, and 5 s are asked for" in capsys.readouterr().err


def test_a_network_that_hears_has_one_size() -> None:
    with pytest.raises(BackboneError, match="hears spectrograms of 1366 × 96 and no others"):
        open_bare(TAGGER, 224)


@pytest.fixture(scope="module")
def yamnet(assets: Path) -> OpenedBackbone:
    return catalog.find(f"tflite:{assets}/weights/files/yamnet_spectra_in.tflite?mode=yamnet")


def loudest(network: OpenedBackbone, heard: torch.Tensor) -> tuple[int, float]:
    with torch.inference_mode():
        scores = network.module(heard).sigmoid()[0]
    return int(scores.argmax()), float(scores.max())


def test_yamnet_hears_speech_in_its_own_fixture(assets: Path, yamnet: OpenedBackbone) -> None:
    values = np.fromfile(assets / "weights/files/yamnet_test_spectra.bin", "<f4")
    index, score = loudest(yamnet, torch.from_numpy(values.reshape(1, 1, 96, 64)))
    assert (index, score > 0.9) == (0, True)


@pytest.mark.parametrize(("sound", "index"), [("silence", 494), ("sine", 495)])
def test_yamnet_hears_silence_and_a_sine_through_our_front_end(
    yamnet: OpenedBackbone, sound: str, index: int
) -> None:
    how = settings.YAMNET
    samples = 0.3 * np.sin(2 * np.pi * 440 * np.arange(how.samples) / how.rate_hz)
    samples = (samples * (sound == "sine")).astype(np.float32)
    heard = torch.from_numpy(log_mel(samples, how).T[None, None].copy())
    found, score = loudest(yamnet, heard)
    assert (found, score > 0.7) == (index, True)


def test_yamnet_is_the_backbone_of_a_classifier(assets: Path, tmp_path: Path) -> None:
    sounds = make_sounds(tmp_path / "sounds", each=8)
    name = f"tflite:{assets}/weights/files/yamnet_spectra_in.tflite?mode=yamnet"
    argv = ["train", str(sounds), "--sound", "--out", str(tmp_path / "run"), "--backbone", name]
    assert main([*argv, *settled(), "--device", "cpu", "--precision", "fp32"]) == 0
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text())["val"]
    assert scores["accuracy"] == 1.0
    one = str(sounds / "high" / "000.wav")
    assert main(["predict", str(tmp_path / "run"), one, "--device", "cpu"]) == 0


def test_yamnets_class_map_beside_it_names_its_classes(
    assets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, song = tmp_path / "yamnet_in.tflite", write(tmp_path / "a.wav", tone(440.0, 3.0))
    shutil.copy(assets / "weights/files/yamnet_spectra_in.tflite", file)
    argv = ["predict", f"tflite:{file}?mode=yamnet", str(song), "--device", "cpu", "--top-k", "1"]
    assert main(argv) == 0
    told = capsys.readouterr()
    assert re.search(r"^  0:00.0 to 0:0\d.\d  \d+ \d", told.out, re.M)
    assert "Its 521 classes have no names, and are numbered from 0. For names" in told.err
    rows = "".join(f'{n},/m/{n},"Kind, {n}"\n' for n in range(521))
    (tmp_path / "yamnet_class_map.csv").write_text(f"index,mid,display_name\n{rows}")
    assert main(argv) == 0
    told = capsys.readouterr()
    assert re.search(r"^  0:00.0 to 0:0\d.\d  Kind, \d+ \d", told.out, re.M)
    assert "no names" not in told.err


def test_yamnet_without_its_mode_is_not_guessed(
    assets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sounds = make_sounds(tmp_path / "sounds", each=2)
    name = f"tflite:{assets}/weights/files/yamnet_spectra_in.tflite"
    argv = ["train", str(sounds), "--sound", "--out", str(tmp_path / "run"), "--backbone", name]
    assert main([*argv, *settled()]) == 2
    assert "are those of yamnet: add ?mode=yamnet" in capsys.readouterr().err
    with pytest.raises(FrostlineError, match="that spectrogram is 1 × 96 × 1366"):
        catalog.find(f"{name}?mode=music_tagger")


def test_a_record_of_other_spectrograms_is_refused(tmp_path: Path) -> None:
    from frostline.images import spectrogram

    whole = settings.YAMNET.as_dict()
    assert spectrogram.from_dict(whole, "x") == settings.YAMNET
    for change, message in (
        ({"hops": 3}, "spectrogram has no 'hops'. Did you mean hop"),
        ({"bands": 0}, "spectrogram.bands must be a whole number from 1"),
        ({"high_hz": 9000.0}, "low_hz and high_hz must rise from 0 to at most 8000"),
        ({"filters": "bark"}, "spectrogram.filters must be one of slaney, htk, not 'bark'"),
    ):
        with pytest.raises(BackboneError, match=re.escape(message)):
            spectrogram.from_dict({**whole, **change}, "x")
    assert settings.heard_by(settings.YAMNET).input_shape == (1, 96, 64)
