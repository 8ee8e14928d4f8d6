"""Silero-vad: the recurrent graph, fixed to one window per call, and its cheaper variants.

Quantizing everything ruins this model (AUC 0.97 to 0.65): its STFT convolution feeds a square root whose
small values matter, and the first encoder convolution sees magnitudes over a huge dynamic range.
Both stay in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from equalize import Seam, equalize
from quantization import Feed, dynamic_int8, prepare, save, static_int8
from quantization import session as open_session
from signals import Samples, read_speech

WINDOW, CONTEXT, HIDDEN = 512, 64, 128
#: Every so many windows of each calibration recording; successive windows are nearly the same.
CALIBRATION_STRIDE = 5
#: Clips the rare peaks of the far-field recordings, which would cost all other values their resolution.
PERCENTILE = 99.999


def fix_shapes(source: Path, target: Path) -> None:
    """One window per call: static shapes let onnxruntime plan its memory and drop shape arithmetic."""
    model = onnx.load(source)
    for value in list(model.graph.input) + list(model.graph.output):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param:
                dimension.ClearField("dim_param")
                dimension.dim_value = 1
    # Shapes inferred for the free dimension would contradict the fixed one.
    del model.graph.value_info[:]
    onnx.checker.check_model(model)
    prepared = target.with_suffix(".fixed")
    prepared.write_bytes(model.SerializeToString(deterministic=True))
    prepare(prepared, target)
    prepared.unlink()


def framed(samples: Samples) -> Samples:
    """All windows with their left context, [windows, 576]; the last one padded with zeros."""
    count = -(-samples.size // WINDOW)
    padded = np.zeros(CONTEXT + count * WINDOW, np.float32)
    padded[CONTEXT : CONTEXT + samples.size] = samples
    return np.stack([padded[i * WINDOW : i * WINDOW + CONTEXT + WINDOW] for i in range(count)])


def run(model: Path, frames: Samples, multiple: int = 1) -> npt.NDArray[np.float64]:
    """Probability per window, [windows, 1]; every `multiple`-th window is run, results held between."""
    session = open_session(model)
    h = c = np.zeros((1, 1, HIDDEN), np.float32)
    held = np.empty((len(frames), 1))
    for index in range(0, len(frames), multiple):
        p, h, c = session.run(["speech_probs", "hn", "cn"], {"input": frames[index : index + 1], "h": h, "c": c})
        held[index : index + multiple, 0] = p[0]
    return held


def calibration_feeds(model: Path, recordings: list[Path]) -> Iterator[Feed]:
    """Windows of real speech with the state that the float32 model has at that point."""
    session = open_session(model)
    for recording in recordings:
        h = c = np.zeros((1, 1, HIDDEN), np.float32)
        for index, frame in enumerate(framed(read_speech(recording))):
            feed = {"input": frame[None, :], "h": h, "c": c}
            if index % CALIBRATION_STRIDE == 0:
                yield feed
            h, c = session.run(["hn", "cn"], feed)


def encoder(model: onnx.ModelProto) -> tuple[list[str], list[str]]:
    """The names of the encoder's four convolutions, in order, and of the ReLU after each."""
    nodes = list(model.graph.node)
    convolutions = [node for node in nodes if node.op_type == "Conv"][1:5]  # 0 is the STFT, 5 the decoder
    relus = [
        next(node.name for node in nodes if node.op_type == "Relu" and conv.output[0] in node.input)
        for conv in convolutions
    ]
    return [conv.name for conv in convolutions], relus


def build(source: Path, recordings: list[Path], directory: Path) -> None:
    """Writes every candidate variant into `directory`; validation decides which of them stay."""
    fp32 = directory / "fp32.onnx"
    fix_shapes(source, fp32)
    dynamic_int8(fp32, directory / "int8-lstm.onnx", op_types=["LSTM"])

    model = onnx.load(fp32)
    convolutions, relus = encoder(model)
    feeds = list(calibration_feeds(fp32, recordings))
    seams = [Seam([writer], [reader]) for writer, reader in zip(convolutions, convolutions[1:])]
    equalized, static = directory / "equalized.tmp", directory / "static.tmp"
    save(equalize(model, seams, feeds), equalized)
    for name, first in (("int8-mixed", 1), ("int8-tail", 2)):
        static_int8(equalized, static, feeds, nodes=convolutions[first:] + relus[first:], percentile=PERCENTILE)
        dynamic_int8(static, directory / f"{name}.onnx", op_types=["LSTM"])
    equalized.unlink()
    static.unlink()
