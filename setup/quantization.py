"""onnxruntime's quantization tools, wrapped so that the same inputs give the same bytes."""

from __future__ import annotations

import contextlib
import io
import logging
import platform
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

Feed = dict[str, npt.NDArray[np.float32]]


class Feeds(CalibrationDataReader):  # type: ignore[misc]  # the tools carry no types
    """Hands calibration inputs to the quantizer one by one."""

    def __init__(self, feeds: Iterable[Feed]) -> None:
        self._iterator: Iterator[Feed] = iter(feeds)

    def get_next(self) -> Feed | None:
        return next(self._iterator, None)


def _weight_type() -> QuantType:
    """Signed 8-bit weights are the fast choice; unsigned ones where signed ones would be wrong.

    x86 processors without VNNI add pairs of signed products in 16 bits, which saturate. A bundle is built
    and validated on the machine that uses it, so the machine may decide.
    """
    x86 = platform.machine() == "x86_64"
    if x86 and "vnni" not in Path("/proc/cpuinfo").read_text():
        return QuantType.QUInt8
    return QuantType.QInt8


def _quietly() -> None:
    # The tools advise pre-processing through the root logger although it has been done.
    logging.getLogger().setLevel(logging.ERROR)


def session(model: Path | bytes) -> ort.InferenceSession:
    """A session as the daemon makes it: one thread that never spins."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = str(model) if isinstance(model, Path) else model
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def save(model: onnx.ModelProto, path: Path) -> None:
    """Writes a checked model; serialised so that the same model gives the same bytes."""
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _normalise(path: Path) -> None:
    """Rewrites what a tool wrote: metadata and opset imports in one order, no doc strings."""
    model = onnx.load(path)
    model.doc_string = ""
    imports = sorted(((item.domain, item.version) for item in model.opset_import))
    # The tools add com.microsoft twins; keep only the domains that nodes use.
    used = {node.domain for node in model.graph.node}
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(d, v) for d, v in imports if d in used)
    del model.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    path.write_bytes(model.SerializeToString(deterministic=True))


def prepare(source: Path, target: Path) -> None:
    """Folds constants and infers shapes, which static quantization wants before it."""
    _quietly()
    quant_pre_process(str(source), str(target), skip_symbolic_shape=True)
    _normalise(target)


def static_int8(
    source: Path,
    target: Path,
    feeds: Iterable[Feed],
    *,
    nodes: Sequence[str],
    percentile: float,
) -> None:
    """QDQ with unsigned 8-bit activations and 8-bit per-channel weights for the named nodes.

    Name the ReLU after a convolution along with it: without it the convolution's output is quantized
    *before* the ReLU, and half of the 256 steps go to values that the ReLU throws away.
    """
    _quietly()
    options: dict[str, Any] = {"CalibPercentile": percentile}
    model = onnx.load(source)
    op_types = sorted({node.op_type for node in model.graph.node if node.name in set(nodes)})
    with contextlib.redirect_stdout(io.StringIO()):  # the tool chats about its histograms
        quantize_static(
            str(source), str(target), Feeds(feeds),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=op_types,
            nodes_to_quantize=list(nodes),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=_weight_type(),
            calibrate_method=CalibrationMethod.Percentile,
            extra_options=options,
        )
    _normalise(target)


def dynamic_int8(source: Path, target: Path, *, op_types: Sequence[str]) -> None:
    """8-bit per-channel weights for `op_types`, activations ranged at run time."""
    _quietly()
    with tempfile.TemporaryDirectory() as scratch:
        # The tool writes helper files beside its source.
        copy = Path(scratch) / "source.onnx"
        copy.write_bytes(source.read_bytes())
        quantize_dynamic(
            str(copy), str(target), op_types_to_quantize=list(op_types), per_channel=True,
            weight_type=_weight_type())
    _normalise(target)
