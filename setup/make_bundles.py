"""Builds the model bundles, the demo signals and the reference results below `.deps/`.

Each model is built as float32 and in cheaper variants, every variant is compared with float32 on data that
calibration has not seen, and only variants that hold the thresholds declared here get into a bundle.
Fewer than two cheaper variants fail the set-up.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import metrics
import reference
import rhythm
import signals
import silero
from layout import Layout, replace_directory, sha256_of, write_atomically
from manifest import Manifest, Thresholds, Variant
from timing import time_models



@dataclass(frozen=True)
class Recipe:
    """How one model is built and judged."""

    head: Mapping[str, Any]
    contract: Mapping[str, Any]
    thresholds: Thresholds
    #: variant -> how it is made, for people; in order of preference, float32 first
    schemes: Mapping[str, str]
    #: The one that is let in only if others fail: hardly cheaper than float32, but safe. Processors round
    #: differently, and a variant near its threshold here may be beyond it elsewhere.
    spare: str
    validation_data: str
    #: hop multiples whose quality is measured
    cadences: Sequence[int]
    build: Callable[[Path], None]
    #: (model file, cadence multiple) -> values per window of all validation recordings
    evaluate: Callable[[Path, int], metrics.Values]
    #: 1, 0 or -1 (not judged) per window, where there is ground truth
    labels: np.ndarray[Any, np.dtype[np.int8]] | None
    signal: str

    @property
    def name(self) -> str:
        return str(self.head["name"])


def silero_recipe(layout: Layout) -> Recipe:
    ami = layout.raw / "ami"
    names = ("dev00", "dev01")
    frames = [silero.framed(signals.read_speech(ami / f"{name}.wav")) for name in names]
    seconds = silero.WINDOW / 16000
    labels = [
        metrics.speech_labels(signals.read_turns(ami / "development.rttm", name), len(part), seconds)
        for name, part in zip(names, frames)
    ]
    return Recipe(
        head={
            "format": 1, "name": "silero-vad", "version": 1,
            "summary": "Voice activity, one probability per 32 ms", "licence": "MIT",
            "source": "silero-vad 6.2.3 (PyPI), silero_vad_16k_sequence.onnx", "task": "voice-activity",
        },
        contract={
            "signal": {"kind": "audio", "sample_rate_hz": 16000, "channels": 1, "s16_scale": 1 / 32768,
                       "unit": "full-scale"},
            "window": {"samples": silero.WINDOW, "hop": silero.WINDOW, "context": silero.CONTEXT, "tail": "pad",
                       "normalize": "none"},
            "input": {"name": "input", "shape": [1, silero.CONTEXT + silero.WINDOW]},
            "state": [{"input": i, "output": o, "shape": [1, 1, silero.HIDDEN]} for i, o in (("h", "hn"), ("c", "cn"))],
            "output": [{"name": "speech_probs", "label": "speech_probability", "shape": [1]}],
            "latency": {"tolerance": "250ms"},
        },
        thresholds=Thresholds(agreement_min=0.985, p99_error_max=0.15, auc_loss_max=0.005),
        schemes={
            "fp32": "fp32", "int8-lstm": "dynamic int8 LSTM",
            "int8-mixed": "static int8 encoder 1-3, dynamic int8 LSTM",
            "int8-tail": "static int8 encoder 2-3, dynamic int8 LSTM",
        },
        spare="int8-tail",
        validation_data=f"AMI dev00, dev01: {sum(map(len, frames))} windows",
        cadences=(1, 2, 4),
        build=lambda directory: silero.build(
            layout.raw / "silero_vad_16k_sequence.onnx", sorted(ami.glob("trn*.wav")), directory),
        evaluate=lambda model, multiple: np.concatenate([silero.run(model, part, multiple) for part in frames]),
        labels=np.concatenate(labels),
        signal="speech.s16le",
    )


def rhythm_recipe(layout: Layout) -> Recipe:
    held_out = [
        rhythm.framed(signals.ecg_lead(layout.raw, "0201", lead, signals.ECG_0201_MINUTES)) for lead in (0, 1)
    ]
    return Recipe(
        head={
            "format": 1, "name": "ecg-rhythm", "version": 1,
            "summary": "Heart rhythm of 10 s of one ECG lead, every second; for research, not for diagnosis",
            "licence": "MIT", "source": "openvital 0.2.1 (PyPI), model_rhythm.h5", "task": "ecg-rhythm",
        },
        contract={
            "signal": {"kind": "ecg", "sample_rate_hz": signals.ECG_RATE_HZ, "channels": 1, "s16_scale": 0.0025,
                       "unit": "mV"},
            "window": {"samples": rhythm.WINDOW, "hop": rhythm.HOP, "context": 0, "tail": "drop",
                       "normalize": "subtract-minimum"},
            "input": {"name": "ecg", "shape": [1, 1, 1, rhythm.WINDOW]},
            "output": [{"name": "probabilities", "labels": list(rhythm.LABELS), "shape": [1, len(rhythm.LABELS)]}],
            "latency": {"tolerance": "5s"},
        },
        thresholds=Thresholds(agreement_min=0.99, p99_error_max=0.05),
        schemes={
            "fp32": "fp32", "int8": "static int8 from convolution 1",
            "int8-mixed": "static int8 from convolution 3", "int8-tail": "static int8 from convolution 5",
        },
        spare="int8-tail",
        validation_data=f"AHA 0201, minutes 0 to 25, both leads: {sum(map(len, held_out))} windows",
        cadences=(1, 2, 5),
        build=lambda directory: rhythm.build(
            layout.raw / "model_rhythm.h5",
            [signals.ecg_lead(layout.raw, "0001", lead, signals.ECG_0001_MINUTES) for lead in (0, 1)],
            directory),
        evaluate=lambda model, multiple: np.concatenate([rhythm.run(model, part, multiple) for part in held_out]),
        labels=None,
        signal="ecg-0201.f32le",
    )


def validate(recipe: Recipe, values: metrics.Values, baseline: metrics.Values) -> metrics.Validation:
    loss = None
    if recipe.labels is not None:
        judged = recipe.labels >= 0
        truth = recipe.labels[judged] == 1
        loss = metrics.auc(baseline[judged, 0], truth) - metrics.auc(values[judged, 0], truth)
        loss = round(loss, metrics.DECIMALS)
    return metrics.Validation(
        metrics.agreement(values, baseline), metrics.p99_error(values, baseline), metrics.mean_error(values, baseline), loss)


def build_bundle(recipe: Recipe, layout: Layout) -> Path:
    """Builds beside and renames into place, so that a bundle is either whole or absent."""
    target = layout.bundles / recipe.name / "1"
    work = layout.root / "building" / recipe.name
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    recipe.build(work)
    baseline = recipe.evaluate(work / "fp32.onnx", 1)
    variants: list[Variant] = []
    for name, scheme in recipe.schemes.items():
        path = work / f"{name}.onnx"
        if name == recipe.spare and len(variants) >= 3:
            path.unlink()
            continue
        validation = validate(recipe, recipe.evaluate(path, 1), baseline)
        loss = "" if validation.auc_loss is None else f", AUC loss {validation.auc_loss:.4f}"
        report = f"agreement {validation.agreement:.4f}, p99 error {validation.p99_error:.4f}{loss}"
        if broken := recipe.thresholds.broken_by(validation):
            say(f"{recipe.name} {name}: LEFT OUT, {'; '.join(broken)}")
            path.unlink()
            continue
        size = path.stat().st_size
        say(f"{recipe.name} {name}: {size / 1000:.0f} kB, {report}")
        variants.append(Variant(name, scheme, path.name, size, sha256_of(path), validation))
    if len(variants) < 3:
        raise SystemExit(f"setup: {recipe.name}: fewer than two cheaper variants hold the declared thresholds")
    cadence = {n: metrics.agreement(recipe.evaluate(work / "fp32.onnx", n), baseline) for n in recipe.cadences}
    manifest = Manifest(recipe.head, recipe.contract, recipe.thresholds, cadence, recipe.validation_data, variants)
    (work / "model.toml").write_text(manifest.toml())
    replace_directory(work, target)
    return target


def write_signals(layout: Layout) -> None:
    wav = layout.raw / "test.wav"
    tag, data = signals.wav_data(wav)
    if tag != 1:
        raise SystemExit("setup: test.wav is not 16-bit PCM")
    write_atomically(layout.signals / "speech.wav", wav.read_bytes())
    write_atomically(layout.signals / "speech.s16le", data)
    ecg = signals.ecg_lead(layout.raw, "0201", 0, signals.ECG_0201_MINUTES)
    write_atomically(layout.signals / "ecg-0201.f32le", ecg.astype("<f4").tobytes())


def write_references(recipe: Recipe, bundle: Path, layout: Layout) -> None:
    for file in sorted(bundle.glob("*.onnx")):
        lines = [
            json.dumps({"end": end, "values": values}) + "\n"
            for end, values in reference.results(bundle, file.stem, layout.signals / recipe.signal)
        ]
        write_atomically(layout.references / f"{recipe.name}-{file.stem}.jsonl", "".join(lines).encode())


def say(text: str) -> None:
    print(f"    {text}", flush=True)


def print_timings(bundles: Sequence[Path]) -> None:
    for bundle in bundles:
        for name, (hot, paced) in time_models(sorted(bundle.glob("*.onnx"))).items():
            say(f"{bundle.parent.name} {name}: {hot:.0f} us back to back, {paced:.0f} us once per 32 ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deps", type=Path, required=True, help="the .deps directory, filled by fetch.py")
    parser.add_argument("--timings", action="store_true", help="also time every variant on this machine")
    arguments = parser.parse_args()
    layout = Layout(arguments.deps)
    write_signals(layout)
    bundles = []
    for recipe in (silero_recipe(layout), rhythm_recipe(layout)):
        bundles.append(build_bundle(recipe, layout))
        write_references(recipe, bundles[-1], layout)
    if arguments.timings:
        print_timings(bundles)


if __name__ == "__main__":
    main()
