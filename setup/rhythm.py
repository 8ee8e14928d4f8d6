"""The openvital rhythm network (10 s of one ECG lead at 100 Hz, four classes): Keras HDF5 to ONNX, and
its cheaper variants.

Upstream subtracts the window's minimum and does *not* scale it, so the network expects millivolts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from quantization import Feed, prepare, save, static_int8
from quantization import session as open_session
from signals import Samples

WINDOW, HOP = 1000, 100
LABELS = ("sinus", "atrial-fibrillation", "other", "noise")
OPSET = 17
PERCENTILE = 99.999


class Converter:
    """Writes a Keras functional model of 1-D convolutions as an ONNX graph, channels first.

    Convolutions become two-dimensional with a height of one: onnxruntime has its blocked fast path for
    four-dimensional tensors only, and the float32 baseline must be as fast as it can be.
    """

    def __init__(self, path: Path) -> None:
        with h5py.File(path) as file:
            self.layers: list[dict[str, Any]] = json.loads(file.attrs["model_config"])["config"]["layers"]
            self.weights = {
                name: [np.asarray(group[w.decode() if isinstance(w, bytes) else w], np.float32)
                       for w in group.attrs["weight_names"]]
                for name, group in file["model_weights"].items()
            }
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.tensors: dict[str, str] = {}

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, op: str, inputs: list[str], name: str, **attributes: Any) -> str:
        output = name + ":out"
        self.nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        return output

    def activation(self, kind: str, tensor: str, name: str) -> str:
        if kind == "linear":
            return tensor
        if kind == "relu":
            return self.add("Relu", [tensor], name + "/relu")
        if kind == "softmax":
            return self.add("Softmax", [tensor], name + "/softmax", axis=-1)
        raise ValueError(f"{name}: activation '{kind}' is not supported")

    def convert(self) -> onnx.ModelProto:
        result = ""
        for layer in self.layers:
            name, config = layer["name"], layer["config"]
            inbound = layer["inbound_nodes"]
            inputs = [self.tensors[source[0]] for source in inbound[0]] if inbound else []
            result = self.tensors[name] = self.layer(layer["class_name"], name, config, inputs)
        graph = helper.make_graph(
            [*self.nodes, helper.make_node("Identity", [result], ["probabilities"], name="probabilities")],
            "openvital-rhythm",
            [helper.make_tensor_value_info("ecg", TensorProto.FLOAT, [1, 1, 1, WINDOW])],
            [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, len(LABELS)])],
            self.initializers,
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8, producer_name="jouled")

    def layer(self, kind: str, name: str, config: dict[str, Any], inputs: list[str]) -> str:
        match kind:
            case "InputLayer":
                return "ecg"
            case "Conv1D":
                plain = {"data_format": "channels_last", "dilation_rate": [1], "strides": [1]}
                if any(config[key] != value for key, value in plain.items()):
                    raise ValueError(f"{name}: only dense channels-last convolutions of stride 1 are supported")
                kernel, bias = self.weights[name]
                weights = self.constant(name + ":w", kernel.transpose(2, 1, 0)[:, :, None, :])
                size = int(config["kernel_size"][0])
                before = (size - 1) // 2 if config["padding"] == "same" else 0
                after = size - 1 - before if config["padding"] == "same" else 0
                output = self.add(
                    "Conv", [inputs[0], weights, self.constant(name + ":b", bias)], name,
                    kernel_shape=[1, size], pads=[0, before, 0, after])
                return self.activation(config["activation"], output, name)
            case "MaxPooling1D":
                # With "same" and an odd length Keras pads at the end; so does SAME_UPPER.
                return self.add(
                    "MaxPool", inputs, name, kernel_shape=[1, *config["pool_size"]],
                    strides=[1, *config["strides"]], auto_pad="SAME_UPPER")
            case "Add":
                return self.add("Add", inputs, name)
            case "Activation":
                return self.activation(config["activation"], inputs[0], name)
            case "GlobalAveragePooling1D":
                return self.add("Flatten", [self.add("GlobalAveragePool", inputs, name)], name + "/flatten")
            case "Dropout":
                return inputs[0]
            case "Dense":
                kernel, bias = self.weights[name]
                output = self.add(
                    "Gemm", [inputs[0], self.constant(name + ":w", kernel), self.constant(name + ":b", bias)], name)
                return self.activation(config["activation"], output, name)
        raise ValueError(f"{name}: layer class '{kind}' is not supported")


def framed(lead: Samples, hop: int = HOP) -> Samples:
    """Full windows less their minimum, [windows, 1, 1, 1000]; what remains at the end is dropped."""
    count = (lead.size - WINDOW) // hop + 1
    windows = np.stack([lead[i * hop : i * hop + WINDOW] for i in range(count)])
    return np.asarray(windows - windows.min(axis=1, keepdims=True), np.float32)[:, None, None, :]


def run(model: Path, windows: Samples, multiple: int = 1) -> npt.NDArray[np.float64]:
    """Class probabilities per window; every `multiple`-th window is run, results held between."""
    session = open_session(model)
    held = np.empty((len(windows), len(LABELS)))
    for index in range(0, len(windows), multiple):
        held[index : index + multiple] = session.run(None, {"ecg": windows[index : index + 1]})[0]
    return held


def calibration_feeds(fp32: Path, leads: list[Samples]) -> Iterator[Feed]:
    """One 10 s window a minute of each lead, without those that the network itself calls noise.

    Noise reaches several times the amplitude of a heartbeat; with it in, every scale would be too coarse.
    """
    session = open_session(fp32)
    for lead in leads:
        for window in framed(lead, hop=6000):
            feed = {"ecg": window[None]}
            if session.run(None, feed)[0][0].argmax() != LABELS.index("noise"):
                yield feed


def with_entry(model: onnx.ModelProto, tensor: str) -> onnx.ModelProto:
    """Puts a 1x1 identity convolution after `tensor`, where a quantized region is to begin.

    The region's first tensor feeds a convolution *and* a residual addition. onnxruntime turns integer
    convolutions channels-last one by one; when the region's head is not a convolution, every residual
    connection is transposed back and forth and integer max pooling falls to a slow path: 340 us per window
    instead of 200. The identity keeps its input's scale, so it is exact in 8 bits and costs 3 us.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    channels = 32
    for node in result.graph.node:
        for index, name in enumerate(node.input):
            if name == tensor:
                node.input[index] = "entry:out"
    position = 1 + next(i for i, node in enumerate(result.graph.node) if tensor in node.output)
    identity = np.eye(channels, dtype=np.float32)[:, :, None, None]
    result.graph.initializer.append(numpy_helper.from_array(identity, "entry:w"))
    result.graph.node.insert(position, helper.make_node(
        "Conv", [tensor, "entry:w"], ["entry:out"], name="entry", kernel_shape=[1, 1]))
    return result


def build(source: Path, leads: list[Samples], directory: Path) -> None:
    """Writes every candidate variant into `directory`; validation decides which of them stay."""
    fp32, temporary = directory / "fp32.onnx", directory / "graph.tmp"
    save(Converter(source).convert(), temporary)
    prepare(temporary, fp32)
    feeds = list(calibration_feeds(fp32, leads))
    model = onnx.load(fp32)
    relus = [node for node in model.graph.node if node.op_type == "Relu"]
    # The first convolution reads millivolts in which small waves ride on tall ones: 8 bits are too few for
    # it. int8 quantizes all that follows it, int8-mixed what follows the first residual block, int8-tail
    # what follows the second.
    for name, begin in (("int8", relus[0]), ("int8-mixed", relus[3]), ("int8-tail", relus[6])):
        graph = with_entry(model, begin.output[0])
        save(graph, temporary)
        following = list(graph.graph.node)[next(i for i, n in enumerate(graph.graph.node) if n.name == "entry"):]
        # The dense head is a hair of the work and takes the decision: it stays in float.
        head = next(i for i, node in enumerate(following) if node.op_type == "GlobalAveragePool")
        nodes = [node.name for node in following[:head]]
        static_int8(temporary, directory / f"{name}.onnx", feeds, nodes=nodes, percentile=PERCENTILE)
    temporary.unlink()
