"""What one call costs: back to back (hot) and once per 32 ms with cold caches (paced).

The two differ by a factor of five and more, and only the second is what a stream pays. Timings are printed,
never written into a bundle: they belong to the machine, and the daemon measures its own.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from quantization import session as open_session


def _prepare(model: Path) -> tuple[ort.InferenceSession, dict[str, npt.NDArray[np.float32]]]:
    session = open_session(model)
    generator = np.random.default_rng(1)
    feed = {
        item.name: (generator.standard_normal(item.shape) * 0.1).astype(np.float32)
        for item in session.get_inputs()
    }
    return session, feed


def time_models(
    models: list[Path], *, calls: int = 300, period: float = 0.032, rounds: int = 100
) -> dict[str, tuple[float, float]]:
    """Median microseconds (hot, paced) of each model; models take turns, so that a busy machine hurts all alike."""
    prepared = {model.stem: _prepare(model) for model in models}
    hot: dict[str, list[float]] = {name: [] for name in prepared}
    paced: dict[str, list[float]] = {name: [] for name in prepared}
    for _ in range(5):
        for name, (session, feed) in prepared.items():
            for _ in range(calls // 5):
                begin = time.perf_counter()
                session.run(None, feed)
                hot[name].append(time.perf_counter() - begin)
    for _ in range(rounds):
        for name, (session, feed) in prepared.items():
            time.sleep(period)
            begin = time.perf_counter()
            session.run(None, feed)
            paced[name].append(time.perf_counter() - begin)
    return {
        name: (float(np.median(hot[name])) * 1e6, float(np.median(paced[name])) * 1e6) for name in prepared
    }
