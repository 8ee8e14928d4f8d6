"""Writes calibration and evaluation windows of the two models as .npz, from what setup/ has fetched.

Calibration: AMI train recordings; AHA record 0001, first two hours. Evaluation: AMI dev; AHA record 0201, first 25
minutes, clean and with synthetic disturbance (a 0.3 Hz wander and white noise, 12 dB).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "setup"))
import metrics  # noqa: E402
import rhythm  # noqa: E402
import signals  # noqa: E402
import silero  # noqa: E402

RAW = ROOT / ".deps" / "raw"


def speech(names: list[str], target: Path, turns: str | None = None) -> None:
    frames = [silero.framed(signals.read_speech(RAW / "ami" / f"{name}.wav")) for name in names]
    arrays = {
        "input": np.concatenate(frames),
        "sequence": np.concatenate([np.full(len(part), index) for index, part in enumerate(frames)]),
    }
    if turns:
        arrays["labels"] = np.concatenate([
            metrics.speech_labels(signals.read_turns(RAW / "ami" / turns, name), len(part), silero.WINDOW / 16000)
            for name, part in zip(names, frames)])
    np.savez(target, **arrays)


def ecg(directory: Path) -> None:
    session = ort.InferenceSession(str(ROOT / ".deps/bundles/ecg-rhythm/1/fp32.onnx"))
    windows = np.concatenate([rhythm.framed(signals.ecg_lead(RAW, "0001", lead, 120), hop=1300) for lead in (0, 1)])
    # What the network itself calls noise reaches several times a heartbeat's amplitude and would coarsen every scale.
    keep = [w for w in windows if session.run(None, {"ecg": w[None]})[0][0].argmax() != rhythm.LABELS.index("noise")]
    np.savez(directory / "ecg-calibration.npz", ecg=np.stack(keep))
    leads = [signals.ecg_lead(RAW, "0201", lead, signals.ECG_0201_MINUTES) for lead in (0, 1)]
    np.savez(directory / "ecg-evaluation.npz", ecg=np.concatenate([rhythm.framed(lead) for lead in leads]))
    generator = np.random.default_rng(1)
    noisy = []
    for lead in leads:
        time = np.arange(lead.size) / signals.ECG_RATE_HZ
        noise = np.sin(2 * np.pi * 0.3 * time) + 0.5 * generator.standard_normal(lead.size)
        noise *= lead.std() / noise.std() * 10 ** (-12 / 20)
        noisy.append(rhythm.framed((lead + noise).astype(np.float32)))
    np.savez(directory / "ecg-noisy.npz", ecg=np.concatenate(noisy))


def main() -> None:
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    speech([f"trn0{index}" for index in range(1, 10)], directory / "speech-calibration.npz")
    speech(["dev00", "dev01"], directory / "speech-evaluation.npz", "development.rttm")
    ecg(directory)


if __name__ == "__main__":
    main()
