"""The answer that the daemon must give: a plain onnxruntime loop over a whole signal file.

Shares no code with the daemon nor with the scripts that build the bundles; it follows `model.toml` alone.
Prints one JSON object per window: {"end": N, "values": [...]}, where `end` is one past the last sample of
the signal that the window covers.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

Samples = npt.NDArray[np.float32]


def load(path: Path, manifest: dict[str, Any]) -> Samples:
    """Raw samples: `.s16le` steps times the manifest's scale, `.f32le` as they are."""
    if path.suffix == ".s16le":
        return np.frombuffer(path.read_bytes(), "<i2").astype(np.float32) * np.float32(manifest["signal"]["s16_scale"])
    if path.suffix == ".f32le":
        return np.frombuffer(path.read_bytes(), "<f4")
    raise SystemExit(f"reference: {path}: expected a .s16le or .f32le file")


def signal_for(manifest: dict[str, Any], path: Path) -> Path:
    """A file, or of a directory the one that its signals.toml names for the model's kind of signal and its rate."""
    if not path.is_dir():
        return path
    kind = f"{manifest['signal']['kind']}-{manifest['signal']['sample_rate_hz']}"
    names: dict[str, str] = tomllib.loads((path / "signals.toml").read_text())
    if kind not in names:
        raise SystemExit(f"reference: {path}/signals.toml names no signal for {kind}")
    return path / names[kind]


def windows(signal: Samples, window: dict[str, Any]) -> Iterator[tuple[int, Samples]]:
    """(end, context and samples) of every window, as the manifest lays them out."""
    size, hop, context = window["samples"], window["hop"], window["context"]
    start = covered = 0
    while start + size <= len(signal) or (window["tail"] == "pad" and covered < len(signal)):
        end = min(start + size, len(signal))
        block = np.zeros(context + size, np.float32)
        first = max(0, start - context)
        piece = signal[first:end]
        offset = context - (start - first)  # zeros stand for what was before the first sample
        block[offset : offset + len(piece)] = piece
        yield end, block
        covered = end
        start += hop


def normalized(block: Samples, rule: str) -> Samples:
    if rule == "none":
        return block
    if rule == "subtract-minimum":
        return np.asarray(block - block.min(), np.float32)
    if rule == "standard":
        deviation = block.std()
        return np.asarray((block - block.mean()) / (deviation if deviation > 0 else 1), np.float32)
    raise SystemExit(f"reference: normalize = {rule!r} is not known")


def results(bundle: Path, variant: str, signal_path: Path) -> Iterator[tuple[int, list[float]]]:
    """(end, output values) for each window of the signal."""
    manifest = tomllib.loads((bundle / "model.toml").read_text())
    file = next((v["file"] for v in manifest["variant"] if v["name"] == variant), None)
    if file is None:
        raise SystemExit(f"reference: {bundle} has no variant {variant!r}")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(bundle / file), options, providers=["CPUExecutionProvider"])
    states = manifest.get("state", [])
    carried = {s["input"]: np.zeros(s["shape"], np.float32) for s in states}
    names = [o["name"] for o in manifest["output"]]
    for end, block in windows(load(signal_for(manifest, signal_path), manifest), manifest["window"]):
        block = normalized(block, manifest["window"]["normalize"])
        feed = {manifest["input"]["name"]: block.reshape(manifest["input"]["shape"]), **carried}
        outputs = session.run(names + [s["output"] for s in states], feed)
        carried = {s["input"]: value for s, value in zip(states, outputs[len(names):])}
        yield end, [float(x) for value in outputs[: len(names)] for x in value.reshape(-1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="directory with model.toml")
    parser.add_argument("variant", help="name of a variant, e.g. fp32")
    parser.add_argument("signal", type=Path, help="a .s16le or .f32le file, or a directory with signals.toml")
    arguments = parser.parse_args()
    for end, values in results(arguments.bundle, arguments.variant, arguments.signal):
        sys.stdout.write(json.dumps({"end": end, "values": values}) + "\n")


if __name__ == "__main__":
    main()
