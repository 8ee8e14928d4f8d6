"""joulectl model quantize beside onnxruntime's Python quantizer: same models, same calibration windows, one run.

    .deps/venv/bin/python Benchmarks/quantizer/compare.py .build/release/joulectl .deps/windows    (after make bundles)

Prints a Markdown table: file size, error on held-out windows (by joulectl model validate for both), and time. The time of
onnxruntime's is that of its calls alone, without starting Python; joulectl's is that of the whole command.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

ROOT = Path(__file__).resolve().parents[2]
logging.getLogger().setLevel(logging.ERROR)


class Windows(CalibrationDataReader):  # type: ignore[misc]  # the tools carry no types
    """The windows of an .npz, with state carried by the float model, as streams have it."""

    def __init__(self, model: Path, data: Path) -> None:
        arrays = dict(np.load(data))
        session = ort.InferenceSession(str(model))
        inputs = session.get_inputs()
        outputs = [item.name for item in session.get_outputs()]
        self.feeds = []
        state = {i.name: np.zeros(i.shape, np.float32) for i in inputs if i.name not in arrays}
        start = dict(state)
        name = next(i.name for i in inputs if i.name in arrays)
        shape = next(i.shape for i in inputs if i.name == name)
        sequence = arrays.get("sequence", np.zeros(len(arrays[name])))
        for index, window in enumerate(arrays[name]):
            if index and sequence[index] != sequence[index - 1]:
                state = dict(start)
            feed = {name: window.reshape(shape), **state}
            self.feeds.append(feed)
            if state:
                values = dict(zip(outputs, session.run(None, feed)))
                state = {key: values[key + "n"] for key in state}
        self.rewind()

    def rewind(self) -> None:
        self.iterator = iter(self.feeds)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.iterator, None)


def static(method: CalibrationMethod, nodes: list[str]) -> Callable[[Path, Path, Windows], None]:
    def run(model: Path, target: Path, windows: Windows) -> None:
        quantize_static(
            str(model), str(target), windows, quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, calibrate_method=method,
            op_types_to_quantize=["Conv", "Relu", "Add", "MaxPool"], nodes_to_exclude=nodes)
    return run


def dynamic(model: Path, target: Path, windows: Windows) -> None:
    quantize_dynamic(str(model), str(target), op_types_to_quantize=["LSTM", "MatMul", "Gemm"], per_channel=True, weight_type=QuantType.QInt8)


def main() -> None:
    joulectl, data = Path(sys.argv[1]), Path(sys.argv[2])
    models = {
        "silero-vad": (ROOT / ".deps/bundles/silero-vad/1/fp32.onnx", "speech"),
        "ecg-rhythm": (ROOT / ".deps/bundles/ecg-rhythm/1/fp32.onnx", "ecg"),
    }
    print("| model | scheme | tool | bytes | agreement | p99 error | mean error | seconds |\n|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for name, (model, kind) in models.items():
            calibration, evaluation = data / f"{kind}-calibration.npz", data / f"{kind}-evaluation.npz"
            windows = Windows(model, calibration)
            delicate = ["/stft/Conv", "/encoder.0/Conv", "/Relu", "/output/Conv", "/stft/Add", "/Relu_4"] if name == "silero-vad" else ["conv1d_262", "conv1d_262/relu"]
            skip = [f"--skip={node}" for node in delicate[:2]] if name == "silero-vad" else []
            cases: list[tuple[str, Callable[[Path, Path, Windows], None], list[str]]] = [
                ("int8 min-max", static(CalibrationMethod.MinMax, delicate), ["--scheme", "int8", "--method", "min-max", "--no-equalize", *skip]),
                ("int8, each tool's best", static(CalibrationMethod.Percentile, delicate), ["--scheme", "int8", *skip]),
            ]
            if name == "silero-vad":
                cases.append(("int8-dynamic", dynamic, ["--scheme", "int8-dynamic"]))
            for scheme, theirs, flags in cases:
                target = Path(scratch) / "theirs.onnx"
                windows.rewind()
                begin = time.perf_counter()
                with contextlib.redirect_stdout(io.StringIO()):  # it chats about its histograms
                    theirs(model, target, windows)
                seconds = time.perf_counter() - begin
                report(joulectl, name, scheme, "onnxruntime", model, target, evaluation, seconds)
                target = Path(scratch) / "ours.onnx"
                begin = time.perf_counter()
                subprocess.run(
                    [str(joulectl), "model", "quantize", str(model), *flags, "--calibration", str(calibration), "-o", str(target)],
                    check=True, capture_output=True)
                report(joulectl, name, scheme, "joulectl", model, target, evaluation, time.perf_counter() - begin)


def report(joulectl: Path, name: str, scheme: str, tool: str, model: Path, target: Path, evaluation: Path, seconds: float) -> None:
    result = subprocess.run(
        [str(joulectl), "model", "validate", str(model), str(target), "--data", str(evaluation), "--json"], check=True, capture_output=True, text=True)
    values = json.loads(result.stdout)
    error = values["error"]
    print(f"| {name} | {scheme} | {tool} | {target.stat().st_size} | {values['agreement']:.4f} | {error['p99']:.4f} | {error['mean']:.4f} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
