"""The watch's photoplethysmogram at 100 Hz, and its windows (.npz, see docs/quantization.md).

The recording is 12 minutes of one wearer, sampled at about 19.6 Hz, with the rate that the watch itself found in each sample. No second
recording with a clear licence was found, so one has to serve both: minutes 0 to 4 calibrate, the rest judges variants. The length of
pulse.py's filter was chosen on all of it.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import pulse
from layout import Layout
from signals import Samples

SPLIT_S = 240
#: Samples between windows: neighbours of one second are unlike enough.
HOP = 100


@dataclass(frozen=True)
class Watch:
    """A recording at `pulse.RATE_HZ`."""

    samples: Samples
    #: What the watch displayed, in beats a minute; 0 before it had found a rate.
    rate: Samples


def read_watch(path: Path) -> Watch:
    """Straight lines between the samples' own times: they come 46 to 56 ms apart."""
    with path.open(newline="") as file:
        rows = [(float(row["timestamp"]) / 1000, float(row["ppg"]), float(row["hrm"])) for row in csv.DictReader(file, delimiter="\t")]
    times, values, rates = (np.array(column) for column in zip(*sorted(rows)))
    grid = times[0] + np.arange(int((times[-1] - times[0]) * pulse.RATE_HZ)) / pulse.RATE_HZ
    latest = np.clip(np.searchsorted(times, grid, "right") - 1, 0, None)
    return Watch(np.interp(grid, times, values).astype(np.float32), rates[latest].astype(np.float32))


def frames(samples: Samples, hop: int = HOP) -> Samples:
    """[windows, 1, 1, 1500], each with zero mean and unit deviation as the contract says."""
    windows = np.stack([samples[start : start + pulse.WINDOW] for start in range(0, samples.size - pulse.WINDOW + 1, hop)])
    windows = windows - windows.mean(axis=1, keepdims=True)
    deviation = windows.std(axis=1, keepdims=True)
    return np.asarray(windows / np.where(deviation > 0, deviation, 1), np.float32)[:, None, None, :]


def sets(layout: Layout) -> dict[str, dict[str, Samples]]:
    """The windows by purpose."""
    samples = read_watch(layout.raw / "watch.csv").samples
    split = SPLIT_S * pulse.RATE_HZ
    return {"calibration": {"ppg": frames(samples[:split])}, "evaluation": {"ppg": frames(samples[split:])}}
