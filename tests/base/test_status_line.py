import io
import re
import time
from pathlib import Path

import pytest

from frostline.base.console import Console
from frostline.base.errors import DiskError
from frostline.base.log import Log


class Terminal(io.StringIO):
    """Keeps all that was written to it."""

    def isatty(self) -> bool:
        return True


def left_on(terminal: Terminal) -> list[str]:
    """What can be read there: a carriage return begins a line anew."""
    found = []
    for line in terminal.getvalue().split("\n"):
        shown = ""
        for part in line.split("\r"):
            shown = part + shown[len(part) :]
        found.append(shown.rstrip())
    return found


def test_a_step_is_redrawn_and_leaves_nothing() -> None:
    terminal = Terminal()
    console = Console(terminal)
    until = time.monotonic() + 30
    with console.step("Measuring"):
        while terminal.getvalue().count("Measuring … ") < 3:
            assert time.monotonic() < until
            time.sleep(0.01)
        console.say("in between")
    assert left_on(terminal) == ["in between", ""]


def test_a_bar_tells_how_far_it_is_and_what_else_is_to_come() -> None:
    terminal = Terminal()
    console = Console(terminal)
    console.ahead.expect({"look": 60.0, "try": 600.0})
    with console.bar(4, "looking at pictures", step="look") as bar:
        bar.advance(2)
        console.say("half")
    assert (
        "Looking at pictures  ░░░░░░░░░░░░░░░░░░░░  0/4, about 11 min left" in terminal.getvalue()
    )
    assert (
        "Looking at pictures  ██████████░░░░░░░░░░  2/4, about 11 min left" in terminal.getvalue()
    )
    assert left_on(terminal) == ["half", ""]


def test_the_innermost_step_is_shown() -> None:
    terminal = Terminal()
    console = Console(terminal)
    with console.step("Outer"), console.step("Inner"):
        before = len(terminal.getvalue())
        console.say("x")
    assert re.fullmatch(r"\r +\rx\nInner … 0 s.*", terminal.getvalue()[before:], re.DOTALL)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_end_before_its_time_leaves_nothing(error: type[BaseException]) -> None:
    terminal = Terminal()
    with pytest.raises(error), Console(terminal).bar(3, "training"):
        raise error
    assert left_on(terminal) == [""]


def test_long_lines_are_broken_between_words() -> None:
    terminal = Terminal()
    Console(terminal).say("  " + " ".join(["word"] * 40) + " " + "x" * 100)
    lines = terminal.getvalue().splitlines()
    assert all(len(line) < 80 for line in lines[:-1])
    assert lines[-1].strip() == "x" * 100
    assert {len(line) - len(line.lstrip()) for line in lines[1:]} == {4}


def test_what_the_terminal_cannot_show_is_drawn_otherwise() -> None:
    class Plain(Terminal):
        encoding = "ascii"  # type: ignore[assignment]

    terminal = Plain()
    with Console(terminal).bar(2, "looking") as bar:
        bar.advance()
        Console(terminal).say("é")
    assert "Looking  ....................  0/2" in terminal.getvalue()
    assert terminal.getvalue().isascii()


def test_details_are_for_those_who_ask_and_for_the_log(tmp_path: Path) -> None:
    stream, log = io.StringIO(), Log()
    console = Console(stream, log=log)
    console.say("for all")
    console.detail("for some\x1b[1m\n  and more")
    log.write_to(tmp_path / "log.txt")
    console.table([["a", "bb"], ["ccc", "d"]])
    assert stream.getvalue() == "for all\n"
    lines = (tmp_path / "log.txt").read_text("utf-8").splitlines()
    assert [line[10:] for line in lines[1:]] == [
        "for all",
        r"for some\x1b[1m",
        "  and more",
        "  a    bb",
        "  ccc  d",
    ]
    assert all(re.match(r"\d\d:\d\d:\d\d  ", line) for line in lines[1:])
    # A run that is gone on with adds to it.
    Log().write_to(tmp_path / "log.txt")
    assert (tmp_path / "log.txt").read_text("utf-8").splitlines()[:-1] == lines


def test_a_log_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match=r"log\.txt: cannot be written: .*run the same command"):
        Log().write_to(tmp_path / "none" / "log.txt")
