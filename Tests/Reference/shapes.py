#!/usr/bin/env python3
"""References for shape inference, by the onnx package.

    shapes.py operators DIRECTORY    write every single-operator test model of the onnx package, integer inputs made
                                     initializers, and the shapes of its true results (from the test's data)
    shapes.py models FILE...         infer the shapes of whole models with onnx.shape_inference

Prints one line per tensor: file, tensor, element type, sizes with `?` for an open one; separated by tabs.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper, shape_inference


def line(file: Path, name: str, kind: int, sizes: list[object]) -> None:
    print(file, name, kind, ",".join(map(str, sizes)), sep="\t")


def operators(directory: Path) -> None:
    from onnx.backend.test.case.node import collect_testcases

    for number, case in enumerate(collect_testcases(None)):
        if case.model is None or not case.data_sets:
            continue
        inputs, outputs = case.data_sets[0]
        if not all(isinstance(value, np.ndarray) for value in [*inputs, *outputs]):
            continue
        model = onnx.ModelProto()
        model.CopyFrom(case.model)
        graph = model.graph
        for info, value in zip(list(graph.input), inputs, strict=False):
            if value.dtype in (np.int64, np.int32, np.bool_) and value.size <= 64:
                graph.input.remove(info)
                graph.initializer.append(numpy_helper.from_array(value, info.name))
        file = directory / f"{number:04}.onnx"
        truth = [(info.name, info.type.tensor_type.elem_type, value.shape) for info, value in zip(graph.output, outputs, strict=False)]
        for info in graph.output:
            if info.type.HasField("tensor_type"):
                info.type.tensor_type.ClearField("shape")
        onnx.save(model, file)
        for name, kind, shape in truth:
            line(file, name, kind, list(shape))


def models(files: list[Path]) -> None:
    for file in files:
        model = onnx.load(file)
        del model.graph.value_info[:]
        inferred = shape_inference.infer_shapes(model, data_prop=True)
        for info in [*inferred.graph.value_info, *inferred.graph.output]:
            tensor = info.type.tensor_type
            if tensor.HasField("shape"):
                line(file, info.name, tensor.elem_type, [d.dim_value if d.HasField("dim_value") else "?" for d in tensor.shape.dim])


if __name__ == "__main__":
    {"operators": lambda: operators(Path(sys.argv[2])), "models": lambda: models([Path(item) for item in sys.argv[2:]])}[sys.argv[1]]()
