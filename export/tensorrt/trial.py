"""Builds one engine and tries it: scores, latency, memory, threads, clean-up.

    python -m edgead.export.tensorrt.trial MODEL.onnx PRECISION DATA.npz ENGINE

``edgead.benchmarks.tensorrt`` starts it, in another Python where tensorrt is only to be had there:
this file and all that it imports is Python 3.9 with numpy. ``DATA.npz`` has ``photos``, uint8
``[N, H, W, 3]``, and ``score`` and ``anomaly_map`` that ONNX Runtime gives for them. Prints one
line of JSON and writes the engine.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgead.export.tensorrt import builder
from edgead.export.tensorrt.options import EngineOptions
from edgead.runtimes.tensorrt import library
from edgead.runtimes.tensorrt.device import Device, open_device
from edgead.runtimes.tensorrt.machine import Machine
from edgead.runtimes.tensorrt.session import Session

_WARM_UP, _ROUNDS = 50, 300
_LARGEST = 8
_MIB = 1 << 20

Images = npt.NDArray[np.uint8]


@contextmanager
def opened(trt: Any, device: Device, plan: bytes) -> Iterator[tuple[Any, Any]]:
    """Deserialise an engine; give it and its log."""
    log = library.new_log(trt)
    runtime = trt.Runtime(log)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise SystemExit(f"TensorRT cannot load its own engine: {library.reason(log)}")
    try:
        yield engine, log
    finally:
        del engine, runtime


def latency(session: Session, photos: Images) -> dict[str, float]:
    """Time a batch: whole, from host memory to host memory, and by the GPU's own clock."""
    for _ in range(_WARM_UP):
        session.run(photos)
    whole, compute, up, down = [], [], [], []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        _, _, split = session.run(photos)
        whole.append((time.perf_counter() - start) * 1e3)
        compute.append(split.compute_ms)
        up.append(split.host_to_device_ms)
        down.append(split.device_to_host_ms)
    return {
        "host_to_host_ms": float(np.median(whole)),
        "compute_ms": float(np.median(compute)),
        "host_to_device_ms": float(np.median(up)),
        "device_to_host_ms": float(np.median(down)),
        "p99_ms": float(np.percentile(whole, 99)),
    }


def in_threads(
    trt: Any, device: Device, engine: Any, log: Any, photos: Images, sharing: bool
) -> str:
    """Score the photos in four threads at once and compare with one thread."""
    if not sharing:
        return "not tried: in this TensorRT version, threads cannot share a profile and take turns"
    sessions = [Session(trt, device, engine, log, _LARGEST) for _ in range(4)]
    with device.current():
        expected = [float(sessions[0].run(photo[None])[1][0]) for photo in photos]
    wrong: list[int] = []

    def work(number: int) -> None:
        with device.current():
            for _ in range(20):
                for index, photo in enumerate(photos):
                    if float(sessions[number].run(photo[None])[1][0]) != expected[index]:
                        wrong.append(number)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for session in sessions:
        session.close()
    return f"{len(wrong)} of {4 * 20 * len(photos)} scores differ"


def trial(model: Path, precision: str, data: Any, target: Path) -> dict[str, Any]:
    """Build and try one engine."""
    trt, device = library.load(), open_device()
    photos, expected = data["photos"], data["score"]
    with device.current():
        options = EngineOptions(precision, batch=(1, 1, _LARGEST))
        built = builder.build(trt, device, model.read_bytes(), options, say=_say)
        target.write_bytes(built.plan)
        free = device.memory()[0]
        with opened(trt, device, built.plan) as (engine, log):
            session = Session(trt, device, engine, log, _LARGEST)
            taken = free - device.memory()[0]
            maps, scores = [], []
            for photo in photos:
                anomaly_map, score, _ = session.run(photo[None])
                maps.append(anomaly_map[0])
                scores.append(float(score[0]))
            eight = np.resize(photos, (_LARGEST, *photos.shape[1:]))
            timed = {"1": latency(session, photos[:1]), "8": latency(session, eight)}
            graph = session.graph_failure or ("in use" if session.uses_graph else "not used")
            session.close()
            threads = in_threads(trt, device, engine, log, photos[:4], built.shares_profile)
            del engine, session
        left = free - device.memory()[0]
    difference = np.abs(np.asarray(scores) - expected)
    machine = Machine.here(trt, device)
    driver, backend = device.driver, device.backend
    device.close()
    return {
        "tensorrt": machine.tensorrt,
        "gpu": machine.gpu,
        "compute_capability": machine.compute_capability,
        "cuda_driver": driver,
        "memory_backend": backend,
        "python": sys.version.split()[0],
        "precision": precision,
        "build_seconds": built.seconds,
        "plan_bytes": len(built.plan),
        "layers": len(built.layers),
        "strongly_typed": built.strongly_typed,
        "max_score_diff_relative": float(difference.max() / np.ptp(expected)),
        "max_map_diff": float(np.abs(np.stack(maps) - data["anomaly_map"]).max()),
        "latency": timed,
        "cuda_graph": graph,
        "memory_mib": taken / _MIB,
        "left_after_closing_mib": left / _MIB,
        "threads": threads,
        "warnings": built.warnings[:5],
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    with np.load(sys.argv[3]) as arrays:
        found = trial(Path(sys.argv[1]), sys.argv[2], dict(arrays), Path(sys.argv[4]))
    print(json.dumps(found))
