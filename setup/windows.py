"""Cuts the recordings into the windows that models are calibrated, chosen and judged with (.npz, see docs/quantization.md).

No recording serves two purposes, and no noise either:

|             | speech                          | ECG                                                                   |
|-------------|---------------------------------|-----------------------------------------------------------------------|
| calibration | AMI trn01 to trn09              | AHA 0001, first two hours, without what the network calls noise       |
| selection   | AMI trn00, silero's aepyx       | STAFF III 001a, 001b (another patient; V1, V5, II), also with noise   |
| evaluation  | AMI dev00, dev01, with turns    | AHA 0201, minutes 0 to 25                                             |
| unlike it   | silero's own test recording     | the same with noise                                                   |

Noise is recorded (NSTDB: wander, electrode motion, muscle), added at 12 dB; its first half belongs to selection, its
second to judging. AHA 0001 and 0201 are the same patient and overlap nowhere. The pulse's windows are cut in pulse_windows.py, the keyword spotter's in
spotter_windows.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

import pulse_windows
import rhythm
from layout import Layout
from signals import ECG_0001_MINUTES, ECG_0201_MINUTES, Samples, ecg_leads, ecg_noise, read_speech, read_turns

SPEECH_WINDOW, SPEECH_CONTEXT, SPEECH_RATE_HZ = 512, 64, 16000
ECG_HOP = 100
#: Samples between windows of a lead, where neighbours need not follow one another: successive ones are nearly the same.
CALIBRATION_HOP, NOISE_HOP = 1300, 500
NOISE_DECIBELS = 12.0

Arrays = Mapping[str, npt.NDArray[Any]]


def speech_frames(samples: Samples) -> Samples:
    """All windows with their left context, [windows, 576]; the last one padded with zeros."""
    count = -(-samples.size // SPEECH_WINDOW)
    padded = np.zeros(SPEECH_CONTEXT + count * SPEECH_WINDOW, np.float32)
    padded[SPEECH_CONTEXT : SPEECH_CONTEXT + samples.size] = samples
    return np.stack([padded[i * SPEECH_WINDOW :][: SPEECH_CONTEXT + SPEECH_WINDOW] for i in range(count)])


def labels(turns: list[tuple[float, float]], windows: int) -> npt.NDArray[np.int8]:
    """1 speech, 0 none, -1 a window that a turn's edge cuts (10 to 90 % covered): not judged."""
    # Turns overlap one another; a fine grid merges them without interval arithmetic.
    step = 64
    grid = np.zeros((windows, step), bool)
    times = (np.arange(windows * step) + 0.5) * (SPEECH_WINDOW / SPEECH_RATE_HZ / step)
    flat = grid.reshape(-1)
    for begin, end in turns:
        flat |= (times >= begin) & (times < end)
    covered = grid.mean(axis=1)
    return np.where(covered >= 0.9, 1, np.where(covered <= 0.1, 0, -1)).astype(np.int8)


def ecg_frames(lead: Samples, hop: int) -> Samples:
    """Full windows less their minimum, [windows, 1, 1, 1000]; what remains at the end is dropped."""
    count = (lead.size - rhythm.WINDOW) // hop + 1
    windows = np.stack([lead[i * hop : i * hop + rhythm.WINDOW] for i in range(count)])
    return np.asarray(windows - windows.min(axis=1, keepdims=True), np.float32)[:, None, None, :]


def sequences(name: str, parts: Sequence[Samples]) -> dict[str, npt.NDArray[Any]]:
    """The parts one after another; state starts at zero in each."""
    return {name: np.concatenate(parts), "sequence": np.concatenate([np.full(len(p), i) for i, p in enumerate(parts)])}


def speech(layout: Layout) -> dict[str, Arrays]:
    ami = layout.raw / "ami"

    def cut(files: Sequence[Path], turns: str | None = None) -> Arrays:
        parts = [speech_frames(read_speech(file)) for file in files]
        arrays = sequences("input", parts)
        if turns:
            arrays["labels"] = np.concatenate([labels(read_turns(ami / turns, file.stem), len(part)) for file, part in zip(files, parts)])
        return arrays

    return {
        "calibration": cut([ami / f"trn0{n}.wav" for n in range(1, 10)]),
        # Without its turns: in half a minute the area under the curve hangs on a few windows.
        "selection": cut([ami / "trn00.wav", layout.raw / "aepyx.wav"]),
        "evaluation": cut([ami / "dev00.wav", ami / "dev01.wav"], "development.rttm"),
        "unlike": cut([layout.raw / "test.wav"]),
    }


def noisy(leads: Sequence[Samples], noise: Mapping[str, Sequence[Samples]], half: int) -> list[Samples]:
    """Windows of each lead under each kind of noise, from one half of the noise, so much below the whole lead."""
    parts = []
    for kind in sorted(noise):
        for number, lead in enumerate(leads):
            source = noise[kind][number % 2]
            middle = source.size // 2
            piece = source[:middle] if half == 0 else source[middle:]
            piece = np.resize(piece - piece.mean(), lead.size)
            factor = lead.std() / piece.std() * 10 ** (-NOISE_DECIBELS / 20)
            parts.append(ecg_frames((lead + factor * piece).astype(np.float32), NOISE_HOP))
    return parts


def without_noise(layout: Layout, windows: Samples) -> Samples:
    """The windows that the float network does not call noise: those (loose electrodes, mostly) reach several times the
    amplitude of a heartbeat and would make every 8-bit scale too coarse."""
    session = ort.InferenceSession(str(layout.models / "ecg-rhythm.onnx"), providers=["CPUExecutionProvider"])
    noise = rhythm.LABELS.index("noise")
    return np.stack([window for window in windows if session.run(None, {"ecg": window[None]})[0][0].argmax() != noise])


def ecg(layout: Layout) -> dict[str, Arrays]:
    noise = ecg_noise(layout.raw)
    calibration = ecg_leads(layout.raw, "0001", ECG_0001_MINUTES)
    other = [leads[number] for leads in (ecg_leads(layout.raw, r) for r in ("001a", "001b")) for number in (0, 4, 7)]
    held_out = ecg_leads(layout.raw, "0201", ECG_0201_MINUTES)
    return {
        "calibration": sequences("ecg", [without_noise(layout, ecg_frames(lead, CALIBRATION_HOP)) for lead in calibration]),
        "selection": sequences("ecg", [ecg_frames(lead, NOISE_HOP) for lead in other] + noisy(other, noise, 0)),
        "evaluation": sequences("ecg", [ecg_frames(lead, ECG_HOP) for lead in held_out]),
        "noisy": sequences("ecg", noisy(held_out, noise, 1)),
    }


def write(layout: Layout) -> None:
    """Writes `windows/KIND-PURPOSE.npz`; the ECG model must be there."""
    layout.windows.mkdir(parents=True, exist_ok=True)
    for kind, sets in (("speech", speech(layout)), ("ecg", ecg(layout)), ("ppg", pulse_windows.sets(layout))):
        for purpose, arrays in sets.items():
            partial = layout.windows / f".{kind}-{purpose}.npz"
            np.savez(partial, **arrays)
            partial.replace(layout.windows / f"{kind}-{purpose}.npz")
