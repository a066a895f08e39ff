"""Runs batches beside each other, each on one thread, because a matrix product's last digits depend on its threads.

With torch 2.13 on a CPU the products of two to four threads differed from those of one in up to 7 of 21 usual shapes in
float32 and 9 of 20 in bfloat16; with one thread no row depended on its neighbours or its place in any of them. Batches
are independent, so they are what is spread over the cores. A GPU runs one batch after another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

_Result = TypeVar("_Result")


def run_in_order(jobs: Iterable[Callable[[], _Result]], *, beside: bool) -> Iterator[_Result]:
    """Results in the order of the jobs. Jobs are taken only as fast as they can be run.

    With ``beside`` as many run at once as torch was given threads (``OMP_NUM_THREADS``, ``torch.set_num_threads``).
    """
    with _one_thread_each() as threads:
        workers = threads if beside else 1
        if workers == 1:
            for job in jobs:
                yield job()
        else:
            yield from _in_pool(jobs, workers)


def _in_pool(jobs: Iterable[Callable[[], _Result]], workers: int) -> Iterator[_Result]:
    running: deque[Future[_Result]] = deque()
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            for job in jobs:
                running.append(pool.submit(job))
                if len(running) > workers:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()


@contextmanager
def _one_thread_each() -> Iterator[int]:
    """Gives torch's number of threads, which is one inside."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)
