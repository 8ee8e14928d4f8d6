"""The openvital rhythm network (10 s of one ECG lead at 100 Hz, four classes): Keras HDF5 to ONNX.

Upstream subtracts the window's minimum and does *not* scale it, so the network expects millivolts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from layout import write_atomically

WINDOW = 1000
LABELS = ("sinus", "atrial-fibrillation", "other", "noise")
OPSET = 17


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



def convert(source: Path, target: Path) -> None:
    """Writes a checked float model, serialised so that the same weights give the same bytes."""
    model = Converter(source).convert()
    onnx.checker.check_model(model)
    write_atomically(target, model.SerializeToString(deterministic=True))
