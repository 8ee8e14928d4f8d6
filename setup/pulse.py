"""The pulse from a raw photoplethysmogram as one graph: Kazemi's dilated network for peaks, and what is before and behind it.

e2epyppg (MIT) filters the signal from 0.5 to 3 Hz, scales it, runs the network over 15 s at 100 Hz, takes maxima of at least 0.7 of the
probabilities' range as peaks, at least 0.35 s apart and where the signal is above its mean. Here all of that is in the graph, so that
a client streams what the sensor gives. The contract's `normalize = "standard"` comes first and takes a sensor's offset out.
Differences: the band is that of a linear-phase filter of 1 s rather than of a Butterworth filter run both ways; of two peaks that are too
close the more probable one stays. The rate is that of the median interval: one peak too many or too few does not move it.

Kazemi et al., Robust PPG Peak Detection Using Dilated Convolutional Neural Networks, Sensors 22 (2022) 6054.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from checkpoint import read_variables
from layout import write_atomically

RATE_HZ, WINDOW = 100, 1500
BAND_HZ = (0.5, 3.0)
#: Taps on either side of the band filter's middle.
HALF = 50
#: Peaks lie at least so many samples apart.
APART = 35
#: Of the range of the window's probabilities.
THRESHOLD = 0.7
#: Intervals so near the median, as a share of it, are regular.
TOLERANCE = 0.2
#: More peaks than fit.
MOST = WINDOW // APART + 2
OPSET = 17


def band_filter() -> npt.NDArray[np.float32]:
    """A Hamming-windowed sinc band-pass, linear in phase, with nothing left of the mean."""
    index = np.arange(-HALF, HALF + 1)
    low, high = (2 * hz / RATE_HZ * np.sinc(2 * hz / RATE_HZ * index) for hz in BAND_HZ)
    window = np.hamming(index.size)
    taps = (high - low) * window
    taps -= window * (taps.sum() / window.sum())
    middle = np.sqrt(BAND_HZ[0] * BAND_HZ[1])
    gain = np.abs((taps * np.exp(-2j * np.pi * middle / RATE_HZ * index)).sum())
    return np.asarray(taps / gain, np.float32)


class Composer:
    """Writes the graph, operation by operation."""

    def __init__(self, variables: dict[str, npt.NDArray[np.float32]]) -> None:
        self.variables = variables
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def constant(self, name: str, value: npt.ArrayLike, kind: type = np.float32) -> str:
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value, kind).reshape(np.shape(value)), name))
        return name

    def add(self, op: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [name + ":out"], name=name, **attributes))
        return name + ":out"

    def standard(self, x: str, name: str) -> str:
        """Zero mean and unit deviation; the least deviation keeps a flat signal flat."""
        x = self.add("Sub", [x, self.add("ReduceMean", [x], name + "/mean", axes=[3])], name + "/centred")
        variance = self.add("ReduceMean", [self.add("Mul", [x, x], name + "/squared")], name + "/variance", axes=[3])
        least = self.add("Add", [variance, self.constant(name + "/least", 1e-8)], name + "/positive")
        return self.add("Div", [x, self.add("Sqrt", [least], name + "/deviation")], name)

    def network(self, x: str) -> str:
        """[1, 1, 1, WINDOW] to the peaks' probabilities of the same shape."""
        for number in range(7):
            kernel, bias = (self.variables[f"layer_with_weights-{number}/{kind}/.ATTRIBUTES/VARIABLE_VALUE"] for kind in ("kernel", "bias"))
            spread = 2**number
            name = f"network.{number}"
            weights = [self.constant(name + ":w", kernel.transpose(2, 1, 0)[:, :, None, :]), self.constant(name + ":b", bias)]
            x = self.add("Conv", [x, *weights], name, kernel_shape=[1, 3], dilations=[1, spread], pads=[0, spread, 0, spread])
            x = self.add("Sigmoid" if number == 6 else "Elu", [x], name + "/activation")
        return x

    def scaled(self, x: str, name: str) -> str:
        """0 at the window's least value, 1 at its largest."""
        least = self.add("ReduceMin", [x], name + "/least", axes=[3])
        width = self.add("Sub", [self.add("ReduceMax", [x], name + "/most", axes=[3]), least], name + "/range")
        width = self.add("Max", [width, self.constant(name + "/narrowest", 1e-6)], name + "/width")
        return self.add("Div", [self.add("Sub", [x, least], name + "/above"), width], name)

    def intervals(self, signal: str, probability: str) -> tuple[str, str]:
        """([MOST - 1] samples between neighbouring peaks, 0 where there is none; their number)."""
        highest = self.add("MaxPool", [probability], "highest", kernel_shape=[1, 2 * APART - 1], strides=[1, 1], pads=[0, APART - 1, 0, APART - 1])
        conditions = [
            self.add("Equal", [probability, highest], "is_highest"),
            self.add("GreaterOrEqual", [probability, self.constant("threshold", THRESHOLD)], "is_probable"),
            self.add("Greater", [signal, self.constant("zero", 0.0)], "is_above"),
        ]
        peaks = self.add("And", [self.add("And", conditions[:2], "is_candidate"), conditions[2]], "is_peak")
        times = self.constant("times", np.arange(1, WINDOW + 1).reshape(1, 1, 1, -1))
        marked = self.add("Where", [peaks, times, "zero"], "marked")
        # The largest first: the times of the peaks from the last to the first, then zeros.
        count = self.constant("most", [MOST], np.int64)
        sorted_name = "sorted"
        self.nodes.append(helper.make_node("TopK", [marked, count], ["sorted:out", "sorted:index"], name=sorted_name, axis=3))
        axis = self.constant("last_axis", [3], np.int64)
        later = self.add("Slice", ["sorted:out", self.constant("s0", [0], np.int64), self.constant("e0", [MOST - 1], np.int64), axis], "later")
        earlier = self.add("Slice", ["sorted:out", self.constant("s1", [1], np.int64), self.constant("e1", [MOST], np.int64), axis], "earlier")
        between = self.add("Sub", [later, earlier], "between")
        there = self.add("Greater", [earlier, "zero"], "there")
        number = self.add("ReduceSum", [self.add("Cast", [there], "there_f", to=TensorProto.FLOAT), axis], "number", keepdims=1)
        return self.add("Where", [there, between, "zero"], "intervals"), number

    def rate(self, intervals: str, number: str) -> str:
        """[1, 2]: beats a minute by the median interval (0 with fewer than three), and the share of intervals near it."""
        one = self.constant("one", 1.0)
        falling = self.constant("rest", [MOST - 1], np.int64)
        self.nodes.append(helper.make_node("TopK", [intervals, falling], ["falling:out", "falling:index"], name="falling", axis=3))
        middle = self.add("Floor", [self.add("Mul", [number, self.constant("half", 0.5)], "half_of")], "middle")
        ranks = self.constant("ranks", np.arange(MOST - 1).reshape(1, 1, 1, -1))
        chosen = self.add("Where", [self.add("Equal", [ranks, middle], "is_middle"), "falling:out", "zero"], "chosen")
        median = self.add("ReduceMax", [chosen], "median", axes=[3])
        enough = self.add("Greater", [number, self.constant("two", 2.0)], "enough")
        beats = self.add("Div", [self.constant("per_minute", 60.0 * RATE_HZ), self.add("Max", [median, one], "safe_median")], "beats")
        offset = self.add("Abs", [self.add("Sub", [intervals, median], "from_median")], "offset")
        near = self.add("LessOrEqual", [offset, self.add("Mul", [median, self.constant("tolerance", TOLERANCE)], "allowed")], "near")
        real = self.add("And", [near, self.add("Greater", [intervals, "zero"], "is_interval")], "regular")
        regular = self.add("ReduceSum", [self.add("Cast", [real], "regular_f", to=TensorProto.FLOAT), "last_axis"], "regulars", keepdims=1)
        share = self.add("Div", [regular, self.add("Max", [number, one], "safe_number")], "share")
        both = [self.add("Where", [enough, x, "zero"], name) for x, name in ((beats, "rate"), (share, "regularity"))]
        return self.add("Flatten", [self.add("Concat", both, "both", axis=3)], "flat")

    def model(self) -> onnx.ModelProto:
        # Reflection rather than zeros: at the ends of the window the signal goes on as it was.
        padded = self.add("Pad", ["ppg", self.constant("pads", [0, 0, 0, HALF, 0, 0, 0, HALF], np.int64)], "padded", mode="reflect")
        taps = self.constant("band:w", band_filter()[::-1].reshape(1, 1, 1, -1))
        filtered = self.add("Conv", [padded, taps], "band", kernel_shape=[1, 2 * HALF + 1])
        signal = self.standard(filtered, "signal")
        probability = self.scaled(self.network(signal), "probability")
        result = self.rate(*self.intervals(signal, probability))
        graph = helper.make_graph(
            [*self.nodes, helper.make_node("Identity", [result], ["pulse"], name="pulse")], "kazemi-ppg",
            [helper.make_tensor_value_info("ppg", TensorProto.FLOAT, [1, 1, 1, WINDOW])],
            [helper.make_tensor_value_info("pulse", TensorProto.FLOAT, [1, 2])], self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8, producer_name="jouled")
        onnx.checker.check_model(model)
        return model


def convert(index: Path, data: Path, target: Path) -> None:
    """Writes the graph, serialised so that the same weights give the same bytes."""
    write_atomically(target, Composer(read_variables(index, data)).model().SerializeToString(deterministic=True))
