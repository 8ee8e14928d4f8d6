"""Makes a model that hangs on one window: hang.py IN.onnx OUT.onnx loop|kernel|fail|load

The model answers as before, until all samples of a window are at full scale. Then it computes for ever in a Loop, which ONNX
Runtime can be asked to leave, or for minutes in one NonMaxSuppression over boxes of which none hides another, which it cannot; or
it fails, with an index out of bounds. With `load` it hangs before its first window: ONNX Runtime computes what is made of constants
when it loads a model.
"""
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

source, target, kind = sys.argv[1:]
model = onnx.load(source)
graph = model.graph
signal, answer = graph.input[0].name, graph.output[0].name


def constant(name, value, dtype):
    graph.initializer.append(numpy_helper.from_array(np.array(value, dtype), name))
    return name


def node(op, inputs, output, **attributes):
    graph.node.append(helper.make_node(op, inputs, [output], name=output, **attributes))
    return output


for writer in graph.node:
    for index, name in enumerate(writer.output):
        if name == answer:
            writer.output[index] = "hang_answer"
# Of several windows in one run, one at full scale is enough.
if model.opset_import[0].version >= 18:
    each = node("ReduceMin", [signal, constant("hang_axes", [1], np.int64)], "hang_each", keepdims=0)
else:
    each = node("ReduceMin", [signal], "hang_each", axes=[1], keepdims=0)
least = node("ReduceMax", [each], "hang_least", keepdims=0)
is_full = node("Greater", [least, constant("hang_full", 0.99, np.float32)], "hang_is_full")
if kind == "loop":
    trips = node("Where", [is_full, constant("hang_many", 1 << 62, np.int64), constant("hang_none", 0, np.int64)], "hang_trips")
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["condition_in"], ["condition_out"]),
            helper.make_node("Sin", ["value_in"], ["value_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("trip", TensorProto.INT64, []),
            helper.make_tensor_value_info("condition_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value_in", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("condition_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value_out", TensorProto.FLOAT, []),
        ],
    )
    out = node("Loop", [trips, constant("hang_go", True, np.bool_), least], "hang_out", body=body)
elif kind == "fail":
    index = node("Where", [is_full, constant("hang_beyond", 9, np.int64), constant("hang_first", 0, np.int64)], "hang_index")
    out = node("Gather", [constant("hang_one", [1], np.float32), index], "hang_out")
elif kind == "load":
    line = node("Range", [constant("hang_zero", 0, np.float32), constant("hang_end", 1 << 22, np.float32), constant("hang_step", 1, np.float32)], "hang_line")
    square = node("Reshape", [line, constant("hang_square", [2048, 2048], np.int64)], "hang_0")
    for number in range(1, 2000):
        square = node("Sin", [node("MatMul", [square, square], f"hang_product_{number}")], f"hang_{number}")
    out = node("ReduceMax", [square], "hang_out", keepdims=0)
else:
    count = node("Where", [is_full, constant("hang_many", 600_000, np.int64), constant("hang_one", 1, np.int64)], "hang_count")
    numbers = node("Range", [constant("hang_zero", 0, np.int64), count, constant("hang_step", 1, np.int64)], "hang_numbers")
    left = node("Cast", [numbers], "hang_left", to=TensorProto.FLOAT)
    row = node("Reshape", [left, constant("hang_column", [1, -1, 1], np.int64)], "hang_row")
    boxes = node("Add", [row, constant("hang_box", [[[0, 0, 0.5, 0.5]]], np.float32)], "hang_boxes")
    flat = node("Reshape", [left, constant("hang_line", [1, 1, -1], np.int64)], "hang_flat")
    kept = node("NonMaxSuppression", [boxes, flat, count, constant("hang_overlap", 0.5, np.float32)], "hang_kept")
    rows = node("Cast", [node("ReduceMax", [kept], "hang_last", keepdims=0)], "hang_rows", to=TensorProto.FLOAT)
    out = node("Sin", [rows], "hang_out")
nothing = node("Mul", [out, constant("hang_nothing", 0, np.float32)], "hang_zeroed")
node("Add", ["hang_answer", nothing], answer)
onnx.checker.check_model(model)
onnx.save(model, target)
