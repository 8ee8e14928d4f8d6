"""Makes of what fetch.py brought: the ECG model as ONNX, the demo's signals, and the windows for `joulectl model build`."""

from __future__ import annotations

import argparse
from pathlib import Path

import rhythm
import windows
from layout import Layout, write_atomically
from signals import ECG_0201_MINUTES, ecg_leads, wav_data


def write_signals(layout: Layout) -> None:
    wav = layout.raw / "test.wav"
    tag, data = wav_data(wav)
    if tag != 1:
        raise SystemExit("setup: test.wav is not 16-bit PCM")
    write_atomically(layout.signals / "speech.wav", wav.read_bytes())
    write_atomically(layout.signals / "speech.s16le", data)
    lead = ecg_leads(layout.raw, "0201", ECG_0201_MINUTES)[0]
    write_atomically(layout.signals / "ecg-0201.f32le", lead.astype("<f4").tobytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deps", type=Path, required=True, help="the .deps directory, filled by fetch.py")
    layout = Layout(parser.parse_args().deps)
    rhythm.convert(layout.raw / "model_rhythm.h5", layout.models / "ecg-rhythm.onnx")
    write_signals(layout)
    windows.write(layout)


if __name__ == "__main__":
    main()
