"""Cross-layer equalization: the same network with ranges that suit one 8-bit scale per tensor.

Activations are quantized with one scale per tensor, so a channel whose values are small next to another's
loses most of its 8 bits. Between a layer and the next there is freedom: divide channel i of what the
producers write by s_i and multiply what the consumers read by s_i, and nothing changes as long as all that
lies between (ReLU, addition, pooling) keeps a positive factor. s_i is chosen so that the range of the
activation and the range of the weights that read it are shared out evenly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

from quantization import Feed


@dataclass(frozen=True)
class Seam:
    """Nodes that write one set of channels and nodes that read them.

    With several producers (a residual stream) every one of them is scaled alike.
    """

    producers: Sequence[str]
    consumers: Sequence[str]


def channel_peaks(
    model: onnx.ModelProto, tensors: Sequence[str], feeds: Iterable[Feed]
) -> dict[str, npt.NDArray[np.float64]]:
    """The largest positive value (ReLU follows) of each channel (axis 1) of each tensor over the calibration feeds."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    present = {output.name for output in probe.graph.output}
    probe.graph.output.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in tensors if name not in present)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    peaks: dict[str, npt.NDArray[np.float64]] = {}
    for feed in feeds:
        for name, value in zip(tensors, session.run(list(tensors), feed)):
            peak = np.moveaxis(value, 1, 0).reshape(value.shape[1], -1).max(axis=1).astype(np.float64)
            peaks[name] = np.maximum(peaks.get(name, 0.0), peak)
    return peaks


def equalize(
    model: onnx.ModelProto, seams: Sequence[Seam], feeds: Iterable[Feed], balance: float = 0.5
) -> onnx.ModelProto:
    """Returns the equalized model. Layers are Conv [out, in, ...] or Gemm [in, out], with bias."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    nodes = {node.name: node for node in result.graph.node}
    initializers = {item.name: item for item in result.graph.initializer}

    def weights(name: str, index: int) -> npt.NDArray[np.float32]:
        return numpy_helper.to_array(initializers[nodes[name].input[index]])

    def store(name: str, index: int, value: npt.NDArray[np.float64]) -> None:
        item = initializers[nodes[name].input[index]]
        item.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), item.name))

    def input_axis(name: str) -> int:
        node = nodes[name]
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        return 0 if node.op_type == "Gemm" and not transposed else 1

    outputs = [nodes[name].output[0] for seam in seams for name in seam.producers]
    peaks = channel_peaks(result, outputs, feeds)
    for seam in seams:
        activation = np.max([peaks[nodes[name].output[0]] for name in seam.producers], axis=0)
        reading = np.max(
            [np.abs(np.moveaxis(weights(name, 1), input_axis(name), 0).reshape(activation.size, -1)).max(axis=1)
             for name in seam.consumers], axis=0)
        scale = np.maximum(activation, 1e-4) ** balance / np.maximum(reading, 1e-4) ** (1 - balance)
        scale /= np.exp(np.log(scale).mean())
        # Powers of two: the equalized float network is then the original to the last bit.
        scale = 2.0 ** np.round(np.log2(scale))
        for name in seam.producers:
            kernel = weights(name, 1).astype(np.float64)
            store(name, 1, kernel / scale.reshape(-1, *[1] * (kernel.ndim - 1)))
            store(name, 2, weights(name, 2) / scale)
        for name in seam.consumers:
            kernel = weights(name, 1).astype(np.float64)
            shape = [1] * kernel.ndim
            shape[input_axis(name)] = -1
            store(name, 1, kernel * scale.reshape(shape))
    return result
