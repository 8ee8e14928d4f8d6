import COnnxRuntime
import Units

/// A weight that a session reads where it lies, instead of keeping a copy.
public struct BorrowedWeight {
    public var name: String
    /// ONNX's number.
    public var elementType: Int32
    public var shape: [Int]
    public var bytes: UnsafeRawBufferPointer

    public init(name: String, elementType: Int32, shape: [Int], bytes: UnsafeRawBufferPointer) {
        self.name = name
        self.elementType = elementType
        self.shape = shape
        self.bytes = bytes
    }

    /// - Returns: values to be released once the session is made.
    static func add(_ weights: [BorrowedWeight], to options: OpaquePointer, _ runtime: OnnxRuntime) throws(JouledError) -> [OpaquePointer?] {
        guard !weights.isEmpty else { return [] }
        let api = runtime.api
        var values: [OpaquePointer?] = []
        do throws(JouledError) {
            for weight in weights {
                let shape = weight.shape.map(Int64.init)
                // Weights are never written to, although the interface takes a mutable pointer.
                let address = UnsafeMutableRawPointer(mutating: weight.bytes.baseAddress)
                values.append(
                    try OnnxRuntime.made("weight '\(weight.name)'", api) {
                        api.pointee.CreateTensorWithDataAsOrtValue(
                            runtime.memoryInfo, address, weight.bytes.count, shape, shape.count, weight.elementType, $0)
                    })
            }
            let names = CStrings(weights.map(\.name))
            try OnnxRuntime.check(api.pointee.AddExternalInitializers(options, names.pointers, values, values.count), api, "AddExternalInitializers")
        } catch {
            for value in values { api.pointee.ReleaseValue(value) }
            throw error
        }
        return values
    }
}
