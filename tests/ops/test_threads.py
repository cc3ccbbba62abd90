"""The ops give the same bits from several threads and in the workers of a DataLoader."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import torch
from every_op import OPS, PARALLEL_SCALE, results, same, valid_arguments
from people import draw_dataset
from pose2seg.network.templates import load_templates
from small_model import small_model
from thread_count import thread_count
from torch.utils.data import DataLoader, Dataset

import pose2seg_ops

THREADS = 8
SCALES = (1, 4, PARALLEL_SCALE)


class Cpu:
    """The ops, as a new process finds them."""

    device = "cpu"

    def __getattr__(self, op: str) -> Any:
        return getattr(pose2seg_ops, op)


@pytest.fixture
def openmp_threads() -> Iterator[None]:
    """Uses more than one thread, even on a machine with one core."""
    with thread_count(4):
        yield


def at_once(call: Callable[[int], Any], count: int, times: int) -> list[list[Any]]:
    """Returns the results of `times` calls in each of `count` threads, which start together."""
    ready = Barrier(count)

    def run(thread: int) -> list[Any]:
        ready.wait()
        return [call(thread) for _ in range(times)]

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


@pytest.mark.usefixtures("openmp_threads")
@pytest.mark.parametrize("op", OPS)
def test_ops_in_eight_threads_at_once(op: str) -> None:
    """Neighbouring threads get arguments of different sizes."""
    expected = [results(Cpu(), op, scale) for scale in SCALES]
    found = at_once(lambda thread: results(Cpu(), op, SCALES[thread % len(SCALES)]), THREADS, times=5)
    for thread, answers in enumerate(found):
        assert all(same(answer, expected[thread % len(SCALES)]) for answer in answers)


class Answers(Dataset[Any]):
    """The result of every op, one per item; no gradients, which torch does not support in a forked
    process."""

    def __len__(self) -> int:
        return len(OPS)

    def __getitem__(self, i: int) -> Any:
        return getattr(Cpu(), OPS[i])(**valid_arguments(OPS[i], Cpu().device, scale=SCALES[-1]))


@pytest.mark.usefixtures("openmp_threads")
@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_ops_in_the_workers_of_a_data_loader(start: str) -> None:
    """A forked worker has none of the OpenMP threads that its parent used."""
    expected = [Answers()[i] for i in range(len(OPS))]
    loader = DataLoader(Answers(), batch_size=None, num_workers=2, multiprocessing_context=start, timeout=300)
    for op, found, answer in zip(OPS, loader, expected, strict=True):
        assert same(found, answer), op


def test_a_model_predicts_in_several_threads(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = small_model(load_templates()).eval()
    images = draw_dataset(tmp_path)
    pixels = [image.read() for image in images]

    def predict(thread: int) -> Any:
        i = thread % len(images)
        return model.predict_rle([pixels[i]], [images[i].keypoints], threshold=0.4)

    expected = [predict(i) for i in range(len(images))]
    assert any(person["counts"] for (people,) in expected for person in people)
    for thread, answers in enumerate(at_once(predict, 2 * len(images), times=2)):
        assert all(answer == expected[thread % len(images)] for answer in answers)
