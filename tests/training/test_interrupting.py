"""Ctrl-C and SIGTERM: the first asks, the second ends; handlers are given back."""

import os
import signal
import threading

import pytest

from distprop.training.interrupting import Interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_ends(number: signal.Signals) -> None:
    heard: list[int] = []
    before = signal.getsignal(number)
    with Interrupts() as interrupts:
        interrupts.attend(lambda: heard.append(1))
        os.kill(os.getpid(), number)
        assert heard == [1] and interrupts.asked
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_who_attends_later_hears_of_it_at_once() -> None:
    heard: list[int] = []
    with Interrupts() as interrupts:
        interrupts.ask()
        interrupts.attend(lambda: heard.append(1))
    assert heard == [1]


def test_in_a_thread_signals_are_left_alone() -> None:
    seen: list[object] = []

    def work() -> None:
        with Interrupts():
            seen.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
