"""Batches run beside each other, on one thread each, and come back in order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch

from weightgate.probes.engine.workers import run_in_order


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """Four threads for torch, and the usual number afterwards."""
    usual = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(usual)


def test_jobs_run_beside_each_other_on_one_thread_each() -> None:
    """As many jobs as torch has threads meet at a barrier, each of them with one thread for its products."""
    barrier = threading.Barrier(4, timeout=30)

    def job(index: int) -> tuple[int, int]:
        barrier.wait()
        return index, torch.get_num_threads()

    assert list(run_in_order([partial(job, i) for i in range(8)], beside=True)) == [(i, 1) for i in range(8)]
    assert torch.get_num_threads() == 4


def test_jobs_that_cannot_share_run_one_after_another() -> None:
    """Without leave to share, every job runs on the caller's thread."""
    jobs = [threading.get_ident] * 3
    assert set(run_in_order(jobs, beside=False)) == {threading.get_ident()}


def test_jobs_are_taken_as_fast_as_they_run() -> None:
    """A stream of jobs is not read far ahead, so that a deadline can end it."""
    taken = []

    def jobs() -> Iterator[Callable[[], int]]:
        for index in range(100):
            taken.append(index)
            yield lambda index=index: index  # type: ignore[misc]

    results = run_in_order(jobs(), beside=True)
    assert next(results) == 0
    assert len(taken) <= 6
    results.close()  # type: ignore[attr-defined]
    assert torch.get_num_threads() == 4


def test_a_failing_job_ends_the_run() -> None:
    """An error in a job reaches the caller after the results before it, and torch has its threads back."""

    def fail() -> int:
        raise ValueError("broken")

    results = run_in_order([lambda: 1, fail, lambda: 2], beside=True)
    assert next(results) == 1
    with pytest.raises(ValueError, match="broken"):
        next(results)
    assert torch.get_num_threads() == 4
