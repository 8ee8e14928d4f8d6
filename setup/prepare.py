"""Makes of what fetch.py brought: the float models that are no ONNX yet, signals to stream, and the windows for `joulectl model build`."""

from __future__ import annotations

import argparse
from pathlib import Path

import hour
import pulse
import pulse_windows
import rhythm
import spotter_windows
import windows
from layout import Layout, write_atomically
from signals import ECG_0201_MINUTES, ecg_leads, wav_data


#: What a model is tried with, by the kind and rate of its signal: setup/reference.py looks here.
SIGNALS = {"audio-16000": "speech.s16le", "ecg-100": "ecg-0201.f32le", "ppg-100": "ppg-watch.f32le"}


def write_signals(layout: Layout) -> None:
    wav = layout.raw / "test.wav"
    tag, data = wav_data(wav)
    if tag != 1:
        raise SystemExit("setup: test.wav is not 16-bit PCM")
    write_atomically(layout.signals / "speech.wav", wav.read_bytes())
    write_atomically(layout.signals / "speech.s16le", data)
    lead = ecg_leads(layout.raw, "0201", ECG_0201_MINUTES)[0]
    write_atomically(layout.signals / "ecg-0201.f32le", lead.astype("<f4").tobytes())
    watch = pulse_windows.read_watch(layout.raw / "watch.csv")
    write_atomically(layout.signals / "ppg-watch.f32le", watch.samples.astype("<f4").tobytes())
    # Two scenes of the hour: for tests, which have no minute for an hour.
    hour.write(layout, "five-minutes", 2)
    index = "".join(f'{kind} = "{name}"\n' for kind, name in SIGNALS.items())
    write_atomically(layout.signals / "signals.toml", index.encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deps", type=Path, required=True, help="the .deps directory, filled by fetch.py")
    layout = Layout(parser.parse_args().deps)
    rhythm.convert(layout.raw / "model_rhythm.h5", layout.models / "ecg-rhythm.onnx")
    pulse.convert(layout.raw / "kazemi.index", layout.raw / "kazemi.data-00000-of-00001", layout.models / "ppg-peaks.onnx")
    write_signals(layout)
    windows.write(layout)
    spotter_windows.write(layout)


if __name__ == "__main__":
    main()
