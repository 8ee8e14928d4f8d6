#!/usr/bin/env python3
"""How good the models are that set-up makes itself, on recordings that nothing was learned from; run it in set-up's Python.

keyword: the recorded words at three speeds, clean and under meetings, music and hiss, each a stream of its own; and false alarms an hour
on meetings, prompts without the words, and music. A detection is a word's probability at the threshold in two windows in a row.
ppg-peaks: the pulse beside the rate that the watch found, for windows of which the watch had one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime as ort

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / "setup"))

import pulse  # noqa: E402
import pulse_windows  # noqa: E402
import spotter  # noqa: E402
from audio import RATE_HZ, at_level, at_rate, coloured_noise, power, read_g722  # noqa: E402
from signals import Samples, read_speech  # noqa: E402
from spotter_windows import prompts_without_words, recorded_words  # noqa: E402

THRESHOLDS = (0.5, 0.7, 0.8, 0.9, 0.95)
REFRACTORY = 12


def session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def scores(model: ort.InferenceSession, stream: Samples) -> Samples:
    """Probabilities of every window, as the daemon runs a stream."""
    context = spotter.WINDOW - spotter.HOP
    padded = np.concatenate([np.zeros(context, np.float32), stream])
    windows = range(0, stream.size - spotter.HOP + 1, spotter.HOP)
    return np.concatenate([model.run(None, {"samples": padded[None, i : i + spotter.WINDOW]})[0] for i in windows])


def detections(probabilities: Samples, threshold: float) -> list[int]:
    """Classes in their order: at the threshold twice in a row, not again until it was below for a while."""
    both = np.minimum(probabilities[1:, 1:], probabilities[:-1, 1:])
    last, found = -REFRACTORY, []
    for index, row in enumerate(both):
        if row.max() >= threshold:
            if index - last >= REFRACTORY:
                found.append(int(row.argmax()) + 1)
            last = index
    return found


def judge_words(model: ort.InferenceSession, raw: Path, backgrounds: dict[str, Samples]) -> None:
    rng = np.random.default_rng(99)
    print("keyword: share of the recorded words found (wrong words) by threshold")
    print(f"  {'':16}" + "".join(f"{threshold:>14}" for threshold in THRESHOLDS))
    for background, decibels in (("clean", 0), *((name, level) for name in (*backgrounds, "hiss") for level in (20, 10))):
        found, wrong, all_words = np.zeros(len(THRESHOLDS), int), np.zeros(len(THRESHOLDS), int), 0
        for label, sound in recorded_words(raw):
            for speed in (0.9, 1.0, 1.1):
                for _ in range(2):
                    word = at_rate(sound, RATE_HZ, RATE_HZ * speed)
                    stream = np.concatenate([np.zeros(24000 + int(rng.integers(spotter.HOP))), word, np.zeros(16000)]).astype(np.float32)
                    if background != "clean":
                        noise = coloured_noise(stream.size, rng)
                        if background in backgrounds:
                            start = int(rng.integers(backgrounds[background].size - stream.size))
                            noise = backgrounds[background][start : start + stream.size]
                        noise = noise / np.sqrt((noise**2).mean() + 1e-12)
                        stream = at_level((stream + np.sqrt(power(word)) * 10 ** (-decibels / 20) * noise).astype(np.float32), -6)
                    probabilities = scores(model, stream)
                    all_words += 1
                    for i, threshold in enumerate(THRESHOLDS):
                        heard = detections(probabilities, threshold)
                        found[i] += label in heard
                        wrong[i] += any(other != label for other in heard)
        name = background if background == "clean" else f"{background} {decibels} dB"
        print(f"  {name:16}" + "".join(f"{f'{a}/{all_words} ({b})':>14}" for a, b in zip(found, wrong)))


def judge_silence(model: ort.InferenceSession, streams: dict[str, list[Samples]]) -> None:
    print("keyword: false alarms an hour by threshold")
    for name, parts in streams.items():
        hours = sum(part.size for part in parts) / RATE_HZ / 3600
        heard = [scores(model, part) for part in parts if part.size > 2 * spotter.HOP]
        alarms = [sum(len(detections(part, threshold)) for part in heard) for threshold in THRESHOLDS]
        print(f"  {name:9} {hours * 60:4.1f} min" + "".join(f"{f'{n / hours:.0f} ({n})':>14}" for n in alarms))


def judge_pulse(model: ort.InferenceSession, watch: pulse_windows.Watch) -> None:
    def judged() -> Iterator[tuple[float, float, float]]:
        hop = 5 * pulse.RATE_HZ
        for number, window in enumerate(pulse_windows.frames(watch.samples, hop)):
            rates = watch.rate[number * hop : number * hop + pulse.WINDOW]
            if rates.min() > 0:
                rate, regularity = model.run(None, {"ppg": window[None]})[0][0]
                yield number * 5.0, abs(rate - rates.mean()), regularity
    rows = np.array(list(judged()))
    print("ppg-peaks: absolute error in beats a minute against the watch")
    later = rows[:, 0] >= pulse_windows.SPLIT_S
    for name, chosen in (("all windows", later | True), ("from minute 4", later), ("regularity 0.8", rows[:, 2] >= 0.8), ("both", later & (rows[:, 2] >= 0.8))):
        error = rows[chosen, 1]
        print(f"  {name:15} {error.size:4} windows: median {np.median(error):.2f}, mean {error.mean():.2f}, p90 {np.percentile(error, 90):.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deps", type=Path, default=TOP / ".deps")
    parser.add_argument("--variant", default="fp32")
    arguments = parser.parse_args()
    raw = arguments.deps / "raw"
    bundles = arguments.deps / "bundles"
    judge_pulse(session(bundles / "ppg-peaks/1/fp32.onnx"), pulse_windows.read_watch(raw / "watch.csv"))
    model = session(bundles / f"keyword/1/{arguments.variant}.onnx")
    meetings = [read_speech(raw / "ami" / f"{name}.wav") for name in ("dev00", "dev01")]
    music = read_g722(raw / "music/reno_project-system.g722")
    judge_words(model, raw, {"meetings": np.concatenate(meetings), "music": music})
    judge_silence(model, {"meetings": meetings, "prompts": [read_g722(file) for file in prompts_without_words(raw)], "music": [music]})


if __name__ == "__main__":
    main()
