import Wire

extension Coverage {
    public var json: JSONValue {
        .object([
            "path": .string(path), "windows": .int(Int64(windows)), "few": .bool(isFew),
            "inputs": .array(inputs.map { item in
                .object([
                    "tensor": .string(item.tensor),
                    "quantiles": .array(zip(Tails.shares, item.quantiles).map { .object(["share": .double($0), "value": .double(Double($1))]) }),
                ])
            }),
            "near_duplicates": .object([
                "measure": .string("normalized correlation at no lag, at least \(NearDuplicates.leastCorrelation)"),
                "windows": .int(Int64(duplicates)), "compared": .int(Int64(compared)),
                "examples": .array(examples.map { .array([.int(Int64($0.window)), .int(Int64($0.like))]) }),
            ]),
            "constant_windows": .array(silent.prefix(100).map { .int(Int64($0)) }),
            "others": .array(others.map(\.json)),
        ])
    }
}

extension Coverage.Other {
    var json: JSONValue {
        .object([
            "path": .string(path), "windows": .int(Int64(windows)), "near_calibration_windows": .int(Int64(copies)), "compared": .int(Int64(compared)),
            "outside": .array(tensors.map { item in
                .object([
                    "tensor": .string(item.tensor), "input": .bool(item.isInput), "lower": .double(Double(item.lower)), "upper": .double(Double(item.upper)),
                    "values": .double(item.values), "windows": .double(item.windows), "farthest_widths": .double(item.farthest),
                ])
            }),
        ])
    }
}
