"""Every item is answered once, whatever happens to the worker that it is on."""

import os
import signal
import time

import pytest

from data_prep.run_each import Crash, run_each
from tests.refusals import raises


def double_or_die(item: int) -> int:
    if item == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if item == 5:
        os._exit(7)
    return 2 * item


def sleepy(item: int) -> int:
    time.sleep(60 if item == 1 else 0)
    return item


def buggy(item: int) -> int:
    return 1 // item


def big(item: int) -> bytes:
    return bytes(item)


def die_at_once() -> None:
    os._exit(1)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_dead_worker_costs_its_own_item_only(workers):
    answers = dict(run_each(double_or_die, range(12), workers))
    assert len(answers) == 12
    assert "SIGKILL" in answers.pop(3).why
    assert "exit status 7" in answers.pop(5).why
    assert answers == {item: 2 * item for item in range(12) if item not in (3, 5)}


def test_an_item_that_takes_too_long_is_given_up():
    answers = dict(run_each(sleepy, range(4), workers=2, timeout_s=1.5))
    assert answers.pop(1) == Crash("took longer than 1.5 s")
    assert answers == {0: 0, 2: 2, 3: 3}


def test_a_bug_raises_with_its_traceback():
    raises(RuntimeError, r"on 0:[\s\S]*1 // item[\s\S]*ZeroDivisionError", list, run_each(buggy, [1, 2, 0], workers=2))


def test_large_results_no_items_and_no_workers_which_means_this_process():
    assert [len(result) for _, result in run_each(big, [3_000_000, 5], workers=1)] == [3_000_000, 5]
    assert list(run_each(big, [], workers=2)) == []
    assert dict(run_each(big, [1, 2], workers=0)) == {1: b"\0", 2: b"\0\0"}


def test_workers_that_cannot_start_end_the_run():
    raises(RuntimeError, "died while starting", list, run_each(big, range(50), workers=2, setup=die_at_once))
