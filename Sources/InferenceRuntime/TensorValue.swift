import COnnxRuntime
import Units

/// How tools for models load a session.
public struct LoadSettings: Sendable {
    /// 0 none, 1 basic (constant folding; the graph stays portable), 2 extended, 99 all.
    public var optimization: Int32 = 99
    /// Where ONNX Runtime writes the graph as optimised, if anywhere.
    public var optimizedModelPath: String?
    /// Beginning of the path of ONNX Runtime's profile, if one is wanted; ended by `endProfiling()`.
    public var profilePrefix: String?
    /// Session configuration entries by key.
    public var entries: [String: String] = [:]
    public init() {}

    func apply(to options: OpaquePointer, _ api: UnsafePointer<OrtApi>) throws(JouledError) {
        if optimization != 99 {
            try OnnxRuntime.check(api.pointee.SetSessionGraphOptimizationLevel(options, optimization), api, "optimization level")
        }
        if let optimizedModelPath {
            try OnnxRuntime.check(api.pointee.SetOptimizedModelFilePath(options, optimizedModelPath), api, optimizedModelPath)
        }
        if let profilePrefix {
            try OnnxRuntime.check(api.pointee.EnableProfiling(options, profilePrefix), api, profilePrefix)
        }
        for (key, value) in entries.sorted(by: { $0.key < $1.key }) {
            try OnnxRuntime.check(api.pointee.AddSessionConfigEntry(options, key, value), api, key)
        }
    }
}

/// The values of one tensor, copied out of or into ONNX Runtime.
public struct TensorValue: Sendable, Equatable {
    public enum Values: Sendable, Equatable {
        case float([Float])
        case int64([Int64])
        /// Any other fixed-size type, by its ONNX number, as little-endian bytes.
        case bytes(Int32, [UInt8])
    }
    public var shape: [Int]
    public var values: Values

    public init(shape: [Int], values: Values) {
        self.shape = shape
        self.values = values
    }

    /// The values, if they are float32; else empty.
    public var floats: [Float] {
        if case .float(let values) = values { return values }
        return []
    }

    /// ONNX's number of the element type.
    public var elementType: Int32 {
        switch values {
        case .float: 1
        case .int64: 7
        case .bytes(let type, _): type
        }
    }
}

extension InferenceSession {
    /// Runs the model once on the calling thread, with tensors allocated for this run: for tools, where shapes and types
    /// are not known beforehand. Streams use `InferenceRun`.
    /// - Returns: the named outputs, in order.
    /// - Throws: `.inferenceFailed` with the model's file and ONNX Runtime's message.
    public func run(_ inputs: [(name: String, value: TensorValue)], outputs: [String]) throws(JouledError) -> [TensorValue] {
        let api = runtime.api
        var memory: [UnsafeMutableRawPointer] = []
        var values: [OpaquePointer?] = []
        var results = [OpaquePointer?](repeating: nil, count: outputs.count)
        defer {
            for value in values + results { api.pointee.ReleaseValue(value) }
            for block in memory { block.deallocate() }
        }
        for (name, value) in inputs {
            let (block, size) = Self.copy(value.values)
            memory.append(block)
            let shape = value.shape.map(Int64.init)
            values.append(
                try OnnxRuntime.made("input '\(name)'", api) {
                    api.pointee.CreateTensorWithDataAsOrtValue(runtime.memoryInfo, block, size, shape, shape.count, value.elementType, $0)
                })
        }
        let inputNames = CStrings(inputs.map(\.name))
        let outputNames = CStrings(outputs)
        let status = api.pointee.Run(
            session, nil, inputNames.pointers, values, values.count, outputNames.pointers, outputs.count, &results)
        try OnnxRuntime.check(status, api, modelPath)
        var tensors: [TensorValue] = []
        for (name, result) in zip(outputs, results) {
            guard let result else { throw JouledError(.inferenceFailed, "\(modelPath): output '\(name)' is missing") }
            tensors.append(try value(of: result, name, api))
        }
        return tensors
    }

    /// Ends profiling and returns the path of the profile (JSON) that ONNX Runtime wrote.
    public func endProfiling() throws(JouledError) -> String {
        let api = runtime.api
        let allocator = try OnnxRuntime.made("GetAllocatorWithDefaultOptions", api) { api.pointee.GetAllocatorWithDefaultOptions($0) }
        var text: UnsafeMutablePointer<CChar>?
        try OnnxRuntime.check(api.pointee.SessionEndProfiling(session, allocator, &text), api, "SessionEndProfiling")
        guard let text else { throw JouledError(.inferenceFailed, "\(modelPath): no profile was written") }
        let path = String(cString: text)
        try OnnxRuntime.check(api.pointee.AllocatorFree(allocator, text), api, "AllocatorFree")
        return path
    }

    private static func copy(_ values: TensorValue.Values) -> (UnsafeMutableRawPointer, Int) {
        func copied(_ raw: UnsafeRawBufferPointer) -> (UnsafeMutableRawPointer, Int) {
            let block = UnsafeMutableRawPointer.allocate(byteCount: max(1, raw.count), alignment: 64)
            UnsafeMutableRawBufferPointer(start: block, count: raw.count).copyMemory(from: raw)
            return (block, raw.count)
        }
        switch values {
        case .float(let array): return array.withUnsafeBytes(copied)
        case .int64(let array): return array.withUnsafeBytes(copied)
        case .bytes(_, let array): return array.withUnsafeBytes(copied)
        }
    }

    private func value(of tensor: OpaquePointer, _ name: String, _ api: UnsafePointer<OrtApi>) throws(JouledError) -> TensorValue {
        let info = try OnnxRuntime.made("shape of '\(name)'", api) { api.pointee.GetTensorTypeAndShape(tensor, $0) }
        defer { api.pointee.ReleaseTensorTypeAndShapeInfo(info) }
        var (type, rank): (Int32, Int) = (0, 0)
        try OnnxRuntime.check(api.pointee.GetTensorElementType(info, &type), api, name)
        try OnnxRuntime.check(api.pointee.GetDimensionsCount(info, &rank), api, name)
        var dimensions = [Int64](repeating: 0, count: rank)
        try OnnxRuntime.check(api.pointee.GetDimensions(info, &dimensions, rank), api, name)
        var data: UnsafeMutableRawPointer?
        try OnnxRuntime.check(api.pointee.GetTensorMutableData(tensor, &data), api, name)
        let shape = dimensions.map(Int.init)
        let count = shape.reduce(1, *)
        func array<Element>(_: Element.Type) -> [Element] {
            guard let data, count > 0 else { return [] }
            return Array(UnsafeBufferPointer(start: data.assumingMemoryBound(to: Element.self), count: count))
        }
        switch type {
        case 1: return TensorValue(shape: shape, values: .float(array(Float.self)))
        case 7: return TensorValue(shape: shape, values: .int64(array(Int64.self)))
        default:
            let widths: [Int32: Int] = [2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2]
            guard let width = widths[type], let data else {
                throw JouledError(.inferenceFailed, "\(modelPath): output '\(name)' has ONNX type \(type), which is not supported")
            }
            let bytes = UnsafeRawBufferPointer(start: data, count: count * width)
            return TensorValue(shape: shape, values: .bytes(type, [UInt8](bytes)))
        }
    }
}

extension TensorSpec.ElementType {
    /// The name of an element type by its ONNX number.
    public static func name(_ number: Int32) -> String { Self.init(number).description }
}
