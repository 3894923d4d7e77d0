"""The time limit of the runner: it interrupts the body, and leaves no timer behind, whenever it rings."""

import signal
import threading
import time

import pytest

from lora_np.conformance.runner import deadline as timing
from lora_np.conformance.runner.deadline import OutOfTime, deadline

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no interval timer")


def nothing_is_left():
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


def test_a_body_that_hangs_is_interrupted():
    def hang():
        while True:
            pass

    with pytest.raises(OutOfTime), deadline(0.02):
        hang()
    nothing_is_left()


def test_a_body_that_catches_everything_once_is_interrupted_again():
    caught = []

    def stubborn():
        try:
            time.sleep(60)
        except BaseException as error:
            caught.append(type(error))
        time.sleep(60)

    with pytest.raises(OutOfTime), deadline(0.02):
        stubborn()
    assert caught == [OutOfTime]
    nothing_is_left()


def test_a_body_that_ends_in_time_leaves_nothing():
    for _ in range(300):  # about as long as the limit: the bell rings at every place of the way out
        try:
            with deadline(0.001):
                for _ in range(20_000):
                    pass
        except OutOfTime:
            pass
    nothing_is_left()


def test_the_bell_does_not_ring_while_the_timer_is_stopped(monkeypatch):
    """A bell between the end of the body and the stopping of the timer would leave the timer running."""
    stop = signal.setitimer

    def slow(which, *seconds):
        if signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL:
            signal.raise_signal(signal.SIGALRM)
        return stop(which, *seconds)

    monkeypatch.setattr(timing.signal, "setitimer", slow)
    with deadline(5):
        pass
    monkeypatch.undo()
    nothing_is_left()


def test_an_earlier_timer_goes_on():
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(True))
    signal.setitimer(signal.ITIMER_REAL, 30)
    try:
        with deadline(5):
            assert signal.getitimer(signal.ITIMER_REAL)[0] <= 5
        assert 5 < signal.getitimer(signal.ITIMER_REAL)[0] <= 30
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert rung == []


@pytest.mark.parametrize("seconds", [None, 0.001])
def test_without_a_limit_or_outside_the_main_thread_nothing_is_timed(seconds):
    def run():
        with deadline(seconds):
            time.sleep(0.01)
            done.append(True)

    done = []
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert done == [True]
    nothing_is_left()
