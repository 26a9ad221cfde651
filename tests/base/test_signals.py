import os
import signal
import threading
import time

import pytest

from frostline.base.signals import SIGNALS, Interrupted, at_once, deferred


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in SIGNALS]


@pytest.mark.parametrize("number", SIGNALS)
def test_one_signal_is_held_back_until_it_is_obeyed(number: signal.Signals) -> None:
    before, reached = handlers(), False
    with deferred() as request:
        request.obey()
        signal.raise_signal(number)
        reached = True
        assert request.number == number
        with pytest.raises(Interrupted) as raised:
            request.obey()
    assert reached
    assert raised.value.number == number
    assert str(raised.value) == number.name
    assert handlers() == before


@pytest.mark.parametrize("second", SIGNALS)
def test_a_second_signal_ends_the_block_at_once(second: signal.Signals) -> None:
    before = handlers()
    with deferred():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Interrupted) as raised:
            signal.raise_signal(second)
    assert raised.value.number == signal.SIGTERM
    assert handlers() == before


def test_without_a_signal_nothing_happens() -> None:
    before = handlers()
    with deferred() as request:
        assert handlers() != before
        request.obey()
    assert request.number == 0
    assert handlers() == before


def test_a_signal_of_another_process_is_noted_too() -> None:
    with deferred() as request:
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):
            if request.number:
                break
            time.sleep(0.001)
        assert request.number == signal.SIGTERM


@pytest.mark.parametrize("number", SIGNALS)
def test_at_once_turns_a_signal_into_an_exception_that_lets_all_be_put_in_order(
    number: signal.Signals,
) -> None:
    before, steps = handlers(), []

    def work() -> None:
        try:
            os.kill(os.getpid(), number)
            time.sleep(1)
            steps.append("went on")
        finally:
            steps.append("put in order")

    with pytest.raises(KeyboardInterrupt) as raised, at_once():
        work()
    assert isinstance(raised.value, Interrupted)
    assert raised.value.number == number
    assert steps == ["put in order"]
    assert handlers() == before


def test_within_at_once_signals_can_be_held_back() -> None:
    before = handlers()
    with at_once():
        outer = handlers()
        with deferred() as request:
            signal.raise_signal(signal.SIGTERM)
        assert request.number == signal.SIGTERM
        assert handlers() == outer
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGTERM)
    assert handlers() == before


def test_an_error_in_the_block_puts_the_handlers_back() -> None:
    before = handlers()
    for hold in (deferred, at_once):
        with pytest.raises(ValueError, match="no"), hold():
            raise ValueError("no")
        assert handlers() == before


def test_outside_of_the_main_thread_signals_are_left_alone() -> None:
    before, seen = handlers(), []

    def work() -> None:
        with deferred() as request, at_once():
            seen.append(handlers())
            request.obey()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
    assert handlers() == before


def test_a_handler_that_was_not_set_from_python_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = handlers()
    foreign = lambda number: None if number == signal.SIGTERM else before[0]  # noqa: E731
    with monkeypatch.context() as patched:
        patched.setattr(signal, "getsignal", foreign)
        with deferred() as request:
            patched.undo()
            assert signal.getsignal(signal.SIGTERM) == before[1]
            signal.raise_signal(signal.SIGINT)
        assert request.number == signal.SIGINT
    assert handlers() == before
