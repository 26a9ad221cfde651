"""What a process may start with: no home, closed streams, little memory, a folder that is gone."""

import io
import os
import pwd
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import FinishedRun, make_photos, settled
from frostline.base import paths
from frostline.base.errors import DiskError, RunError
from frostline.cli import main

Capture = pytest.CaptureFixture[str]
NETWORK = ("--backbone", "timm:test_resnet?pretrained=false", "--image-px", "64")
PYTHON = f"{sys.executable} -m frostline"


def shell(line: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["sh", "-c", line], capture_output=True, text=True, check=False, cwd=folder
    )


# No home.


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An account without a home; returns its folder for temporary files."""

    def nobody(_: object) -> None:
        raise KeyError("uid not found")

    for name in ("HOME", "XDG_CACHE_HOME", paths.VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_without_a_home_the_cache_is_a_temporary_one_of_ones_own(homeless: Path) -> None:
    folder = paths.cache_folder()
    assert folder == homeless / f"frostline-{os.getuid()}"
    assert folder.stat().st_mode & 0o077 == 0
    assert paths.cache_folder() == folder
    folder.chmod(0o777)
    with pytest.raises(DiskError, match=r"open to others.*--cache-dir"):
        paths.cache_folder()


def test_without_a_home_a_tilde_stands_for_nothing(homeless: Path, capsys: Capture) -> None:
    with pytest.raises(RunError, match=r"~/x: there is no home folder that ~ could stand for"):
        paths.user_path("~/x")
    assert main(["train", "photos", "--out", "~/x"]) == 2
    assert capsys.readouterr().err.startswith("frostline: ~/x: there is no home folder")
    assert paths.user_path("./~/x") == Path("~/x")
    assert paths.user_path("~nobody_here/x") == Path("~nobody_here/x")


def test_without_a_home_it_trains(
    homeless: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(homeless)
    make_photos(homeless / "photos", {"blue": 6, "red": 6})
    assert main(["train", "photos", *NETWORK, *settled()]) == 0, capsys.readouterr().err
    assert not (homeless / "~").exists()


# A cache that cannot be written.


def test_a_cache_that_cannot_be_written(tmp_path: Path, capsys: Capture) -> None:
    photos = make_photos(tmp_path / "photos", {"blue": 6, "red": 6})
    (tmp_path / "file").write_text("no folder")
    words = ("--recipe", "quick", "--cache-dir", str(tmp_path / "file" / "cache"))
    argv = ["train", str(photos), *NETWORK, *words]
    assert main([*argv, "--out", str(tmp_path / "never"), "--cache", "never"]) == 0
    assert "Activations are not kept" not in capsys.readouterr().err
    assert main([*argv, "--out", str(tmp_path / "auto")]) == 0
    said = capsys.readouterr().err
    assert f"Activations are not kept: {tmp_path}/file/cache: cannot be written" in said
    # The same command knows its run.
    assert main([*argv, "--out", str(tmp_path / "auto")]) == 0
    assert "already finished" in capsys.readouterr().err
    assert main([*argv, "--out", str(tmp_path / "always"), "--cache", "always"]) == 2
    assert "cannot be written" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "always").exists()


# Streams.


@pytest.mark.parametrize(
    ("redirected", "status", "out", "err"),
    [
        (">&-", 2, r"", r"frostline: standard output: cannot be written: Bad file descriptor\.\n"),
        ("2>&-", 0, r"recipe\s.*thaw .*", r""),
        ("<&-", 0, r"recipe\s.*thaw .*", r""),
        (">&- 2>&- <&-", 2, r"", r""),
        ("2>/dev/full", 0, r"recipe\s.*thaw .*", r""),
        (
            ">/dev/full",
            2,
            r"",
            r"frostline: standard output: cannot be written: No space left on device\.\n",
        ),
    ],
)
def test_streams_that_are_closed_or_full(
    tmp_path: Path, redirected: str, status: int, out: str, err: str
) -> None:
    done = shell(f"{PYTHON} recipe list {redirected}", tmp_path)
    assert done.returncode == status
    assert re.fullmatch(out, done.stdout, re.DOTALL)
    assert re.fullmatch(err, done.stderr)


@pytest.mark.parametrize("redirected", ["2>&-", "2>/dev/full"])
def test_a_mistake_that_nobody_hears_of_is_still_2(tmp_path: Path, redirected: str) -> None:
    done = shell(f"{PYTHON} recipe show none {redirected}", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


def test_no_file_takes_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    code = (
        "import os; from frostline.cli import streams; streams.keep_numbers(); "
        "print(os.open('x', os.O_CREAT | os.O_WRONLY) > 2, file=open('told', 'w'))"
    )
    shell(f'{sys.executable} -c "{code}" >&- 2>&- <&-', tmp_path)
    assert (tmp_path / "told").read_text() == "True\n"


class _Gone(io.StringIO):
    """A terminal that was hung up."""

    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("stream", [_Gone(), None])
def test_it_trains_on_where_its_words_cannot_be_written(
    finished_run: FinishedRun, monkeypatch: pytest.MonkeyPatch, stream: io.StringIO | None
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    assert main(finished_run.argv) == 0


def test_a_stream_that_was_closed_from_python(
    finished_run: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    assert main(finished_run.argv) == 0


def test_streams_may_be_replaced(
    finished_run: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{finished_run.picture}\n"))
    assert main(["predict", str(finished_run.path), "-"]) == 0
    assert "red" in out.getvalue()
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["predict", str(finished_run.path), "-"]) == 2


# A folder that is gone.


def test_a_working_directory_that_is_gone_is_told(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    for command in ("train photos", "recipe list"):
        done = shell(f"mkdir -p {gone}; cd {gone}; rmdir {gone}; {PYTHON} {command}", tmp_path)
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr == (
            "frostline: the working directory is no longer there. Change to another one (cd), and "
            "run the same command again.\n"
        )


# Little memory.


def test_too_little_memory_is_one_line(tmp_path: Path) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (300_000 << 10, 300_000 << 10))

    done = subprocess.run(
        [sys.executable, "-m", "frostline", "train", "photos"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        preexec_fn=limited,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()[1:]
    assert line.startswith("frostline: not enough memory (")
    assert "raise the limit that is set (ulimit -v)" in line


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("CUDA out of memory. Tried"), OSError(12, "Cannot")]
)
def test_memory_that_runs_out_anywhere_is_one_line(
    photos: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("frostline.api.train", full)
    assert main(["train", str(photos), "--out", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()[1:]
    assert line.startswith("frostline: not enough memory (")
    assert "--batch-size 8" in line
