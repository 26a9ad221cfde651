import importlib.util
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from frostline import frost
from frostline.activations import engines
from frostline.activations.engines import openvino_engine
from frostline.base.errors import BackboneError, DiskError
from frostline.images.preprocessing import Preprocessing
from frostline.networks import catalog

# Looked for and not imported: an import here would come before any filter of warnings.
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="the extra `openvino` is not installed"
)

HOW = Preprocessing(height_px=64, width_px=64)
CPU = torch.device("cpu")
SHAPE = (3, 64, 64)
MAP = "layer3"


def prepared(
    compute: torch.dtype, line: str = MAP, seed: int = 0, name: str = "test_resnet"
) -> engines.Engine:
    torch.manual_seed(seed)
    net = catalog.find(f"timm:{name}?pretrained=false").module
    traced = frost.trace(net, SHAPE)
    here = traced.find(line)
    return engines.prepare(traced.cut(here)[0], HOW, here.shape, CPU, compute)


def noise(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, *SHAPE), dtype=torch.uint8, generator=generator)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engines")


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Gets one entry for each conversion."""
    counted: list[int] = []
    convert = openvino_engine._convert

    def counting(*arguments: object) -> object:
        counted.append(1)
        return convert(*arguments)

    monkeypatch.setattr(openvino_engine, "_convert", counting)
    return counted


@pytest.mark.parametrize("line", [MAP, "pooled"])
@pytest.mark.parametrize("compute", [torch.float32, torch.bfloat16])
def test_it_gives_what_the_eager_engine_gives(line: str, compute: torch.dtype, work: Path) -> None:
    # In a thread of its own, as extraction does it: where AMX code has run in the main thread, a
    # later signal can end the process on some virtual machines, and other tests send signals.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(_compare, line, compute, work).result()


def _compare(line: str, compute: torch.dtype, work: Path) -> None:
    eager = prepared(compute, line)
    made = engines.make("openvino", eager, SHAPE, work)
    assert made.name == eager.name.replace("eager", "openvino")
    assert (made.compute, made.storage, made.on_cpu) == (compute, eager.storage, True)
    pixels = noise(6)
    want, got = eager(pixels), made(pixels)
    assert got.dtype == want.dtype
    assert got.is_contiguous()
    assert engines.agreement(want, got, compute).agrees
    other = engines.make("openvino", prepared(compute, line, seed=1), SHAPE, work)
    assert not engines.agreement(want, other(pixels), compute).agrees


def test_a_transformer_can_be_converted_too(work: Path) -> None:
    eager = prepared(torch.float32, "pooled", name="test_vit")
    made = engines.make("openvino", eager, SHAPE, work)
    assert engines.agreement(eager(noise(4)), made(noise(4)), torch.float32).agrees


def test_batches_may_be_of_any_size(work: Path) -> None:
    made = engines.make("openvino", prepared(torch.float32), SHAPE, work)
    pixels = noise(16)
    whole = made(pixels)
    for size in (1, 5, 16):
        parts = torch.cat([made(part) for part in pixels.split(size)])
        torch.testing.assert_close(parts, whole)


def test_what_was_given_is_not_written_over_by_the_next_batch(work: Path) -> None:
    made = engines.make("openvino", prepared(torch.float32, "pooled"), SHAPE, work)
    pixels = noise(2)
    first = made(pixels[:1])
    before = first.clone()
    second = made(pixels[1:])
    assert torch.equal(first, before)
    assert not torch.equal(first, second)


def test_two_threads_may_call_at_once(work: Path) -> None:
    # The request read input that was already freed, and gave another thread's numbers.
    made = engines.make("openvino", prepared(torch.float32), SHAPE, work)
    batches = list(noise(64).split(4))
    alone = [made(batch) for batch in batches]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(made, batches))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_a_conversion_is_kept_and_used_again(tmp_path: Path, conversions: list[int]) -> None:
    eager = prepared(torch.float32)
    work = tmp_path / "not" / "there"
    first = engines.make("openvino", eager, SHAPE, work)(noise(2))
    again = engines.make("openvino", eager, SHAPE, work)(noise(2))
    assert torch.equal(first, again)
    assert len(conversions) == 1
    (folder,) = work.iterdir()
    assert sorted(file.name for file in folder.iterdir()) == [
        "digests.json",
        "network.bin",
        "network.xml",
    ]


def test_other_weights_lines_types_and_shapes_are_other_conversions() -> None:
    halves = [
        prepared(torch.float32),
        prepared(torch.bfloat16),
        prepared(torch.float32, seed=1),
        prepared(torch.float32, "pooled"),
    ]
    names = {openvino_engine.network_digest(engine.module, SHAPE) for engine in halves}
    names.add(openvino_engine.network_digest(halves[0].module, (3, 96, 96)))
    assert len(names) == 5
    assert openvino_engine.network_digest(prepared(torch.float32).module, SHAPE) in names


@pytest.mark.parametrize("harm", ["cut", "flip", "lose", "no digests", "digests of another kind"])
def test_a_damaged_conversion_is_made_again(
    harm: str, tmp_path: Path, conversions: list[int]
) -> None:
    eager = prepared(torch.float32)
    first = engines.make("openvino", eager, SHAPE, tmp_path)(noise(2))
    (folder,) = tmp_path.iterdir()
    weights = folder / "network.bin"
    data = weights.read_bytes()
    if harm == "cut":
        weights.write_bytes(data[:-1])
    elif harm == "flip":
        weights.write_bytes(data[:99] + bytes([data[99] ^ 1]) + data[100:])
    elif harm == "lose":
        (folder / "network.xml").unlink()
    elif harm == "no digests":
        (folder / "digests.json").unlink()
    else:
        (folder / "digests.json").write_text(json.dumps(["network.bin"]))
    again = engines.make("openvino", eager, SHAPE, tmp_path)(noise(2))
    assert torch.equal(first, again)
    assert len(conversions) == 2
    engines.make("openvino", eager, SHAPE, tmp_path)
    assert len(conversions) == 2


def test_a_kill_while_writing_leaves_nothing_that_passes_for_a_conversion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> str:
        raise KeyboardInterrupt

    eager = prepared(torch.float32)
    with monkeypatch.context() as patched:
        patched.setattr(openvino_engine, "_file_digest", killed)
        with pytest.raises(KeyboardInterrupt):
            engines.make("openvino", eager, SHAPE, tmp_path)
    assert not list(tmp_path.iterdir())


def test_another_process_that_was_faster_is_no_error(tmp_path: Path) -> None:
    eager = prepared(torch.float32)
    engines.make("openvino", eager, SHAPE, tmp_path)
    (folder,) = tmp_path.iterdir()
    openvino_engine._store(openvino_engine._convert(eager.module, SHAPE), folder)
    assert list(tmp_path.iterdir()) == [folder]


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("no folder")
    with pytest.raises(DiskError, match=r"cannot be written: .*Name another place"):
        engines.make("openvino", prepared(torch.float32), SHAPE, place)


class _Bessel(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.bessel_j0(x)


def test_a_network_that_cannot_be_converted_is_refused(tmp_path: Path) -> None:
    net = torch.nn.Sequential(_Bessel(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    net.add_module("fc", torch.nn.Linear(3, 2))
    traced = frost.trace(net.eval(), SHAPE)
    here = traced.find("pooled")
    eager = engines.prepare(traced.cut(here)[0], HOW, here.shape, CPU, torch.float32)
    with pytest.raises(BackboneError) as caught:
        engines.make("openvino", eager, SHAPE, tmp_path)
    assert str(caught.value) == (
        "engine openvino: cannot run this network: No conversion rule found for operations: "
        "aten::special_bessel_j0. Use the engine eager."
    )
    assert not list(tmp_path.iterdir())


def test_nothing_is_reported_to_anyone(tmp_path: Path) -> None:
    # OpenVINO's own import sends a message over the network where that package can be imported.
    code = (
        "import sys, torch, pathlib\n"
        "from frostline.activations.engines import openvino_engine\n"
        "from frostline import frost\n"
        "net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()).eval()\n"
        "t = frost.trace(net, (3, 16, 16))\n"
        "half, _ = t.cut(t.lines[1])\n"
        "work = pathlib.Path('.')\n"
        "openvino_engine.build(half, torch.float32, torch.float32, (3, 16, 16), work)\n"
        "print([name for name in sys.modules if 'telemetry' in name and 'ovc' not in name])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""
