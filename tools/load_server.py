"""Loads the example mask server, and prints its throughput, latencies, statuses and memory.

    python tools/load_server.py [--soak 5000] [OPTIONS OF THE SERVER]

The server is started on a free port. First, a few clients wait for each response before they send the next
request, which measures the throughput. Then requests are sent at fixed times, at 0.8 and 2 times this rate,
whether or not earlier ones were answered; a latency counts from the time at which its request was due. At
last, `--soak` requests are sent as in the beginning, and the resident memory of the server is read at the
start, in the middle and at the end. Client and server share the processor. Linux only.
"""

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import httpx
import numpy as np

_SERVER = Path(__file__).parents[1] / "examples/mask_server.py"
_CLIENTS = 8
_SIZE = (240, 320)
_PEOPLE = 2


class Sample(NamedTuple):
    """The status of a response, 0 for none, and its latency in seconds."""

    status: int
    latency: float


Ask = Callable[[float], Coroutine[Any, Any, Sample]]


def make_form() -> dict[str, Any]:
    """Returns the arguments of a request: a noisy image with two poses."""
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 256, (24, 32, 3), np.uint8), _SIZE[::-1])
    _, encoded = cv2.imencode(".jpg", image)
    joints = np.dstack([rng.uniform(80, 160, (_PEOPLE, 17, 2)), np.full((_PEOPLE, 17, 1), 2)])
    poses = [{"keypoints": person.ravel().round(1).tolist()} for person in joints]
    return {"files": {"image": ("image.jpg", encoded.tobytes())}, "data": {"poses": json.dumps(poses)}}


async def closed_loop(ask: Ask, count: int) -> tuple[list[Sample], float]:
    """Sends `count` requests from clients that wait for their response. Returns the samples and the rate."""
    left = iter(range(count))
    samples: list[Sample] = []

    async def client() -> None:
        for _ in left:
            samples.append(await ask(time.perf_counter()))

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(_CLIENTS)))
    return samples, count / (time.perf_counter() - start)


async def open_loop(ask: Ask, rate: float, seconds: float) -> list[Sample]:
    """Sends `rate` requests per second, whether or not earlier ones were answered."""
    start = time.perf_counter()
    tasks = []
    for i in range(round(rate * seconds)):
        due = start + i / rate
        await asyncio.sleep(max(0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(ask(due)))
    return await asyncio.gather(*tasks)


def memory(process: int, field: str) -> float:
    """Returns VmRSS, the resident memory of a process, or VmHWM, its peak, in MB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0]) * 1024 / 1e6


def describe(samples: list[Sample]) -> str:
    """Returns the latencies of each status, such as "200: 90, p50 12 ms, p99 30 ms"."""
    parts = []
    for status, number in sorted(Counter(sample.status for sample in samples).items()):
        latencies = [1e3 * sample.latency for sample in samples if sample.status == status]
        p50, p99 = np.percentile(latencies, (50, 99))
        parts.append(f"{status or 'no response'}: {number}, p50 {p50:.0f} ms, p99 {p99:.0f} ms")
    return "; ".join(parts)


async def measure(url: str, process: int, warm_up: int, seconds: float, soak: int) -> None:
    form = make_form()
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:

        async def ask(due: float) -> Sample:
            try:
                status = (await client.post(url, **form)).status_code
            except httpx.TransportError:
                status = 0
            return Sample(status, time.perf_counter() - due)

        await closed_loop(ask, warm_up)
        _, guess = await closed_loop(ask, warm_up)
        samples, rate = await closed_loop(ask, max(_CLIENTS, round(guess * seconds)))
        print(f"closed loop, {_CLIENTS} clients: {rate:.1f} requests/s; {describe(samples)}", flush=True)
        for factor in (0.8, 2):
            samples = await open_loop(ask, factor * rate, seconds)
            print(f"open loop at {factor} x {rate:.1f}/s: {describe(samples)}", flush=True)
        resident = [memory(process, "VmRSS")]
        for _ in range(2):
            samples, rate = await closed_loop(ask, soak // 2)
            resident.append(memory(process, "VmRSS"))
            print(f"{soak // 2} requests, {rate:.1f}/s: {describe(samples)}", flush=True)
        at = ", ".join(f"{megabytes:.0f}" for megabytes in resident)
        print(f"resident memory at start, middle and end: {at} MB; peak {memory(process, 'VmHWM'):.0f} MB")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    """Returns when the server accepts connections. Raises RuntimeError if it ends instead."""
    while server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"the server must run, but it ended with exit code {server.returncode}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Load the mask server; other options are the server's.")
    parser.add_argument("--seconds", type=float, default=20, help="the duration of each measurement")
    parser.add_argument("--soak", type=int, default=5000, help="requests during which the memory is watched")
    options, of_server = parser.parse_known_args()
    port = free_port()
    server = subprocess.Popen([sys.executable, str(_SERVER), "--port", str(port), *of_server])
    try:
        wait_for(port, server)
        url = f"http://127.0.0.1:{port}/masks"
        asyncio.run(measure(url, server.pid, 4 * _CLIENTS, options.seconds, options.soak))
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
