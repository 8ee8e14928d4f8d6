import SwiftProtobuf
import Units

public typealias Node = Onnx_NodeProto
public typealias Graph = Onnx_GraphProto
public typealias Tensor = Onnx_TensorProto
public typealias Attribute = Onnx_AttributeProto

/// An ONNX model in memory: the protobuf message and where it came from.
public struct OnnxModel: Sendable {
    /// The file that it was read from, for messages.
    public var path: String
    public var proto: Onnx_ModelProto

    public init(path: String, proto: Onnx_ModelProto) {
        self.path = path
        self.proto = proto
    }

    public var graph: Graph {
        get { proto.graph }
        _modify { yield &proto.graph }
    }

    /// Reads a model; tensors kept in files beside it are read in.
    /// - Throws: `.unreadableGraph` for a missing, truncated or corrupt file, naming it (and the tensor whose external
    ///   data is missing or would lie outside the model's directory).
    public static func load(_ path: String) throws(JouledError) -> OnnxModel {
        var model = try parse(BinaryFile.read(path), path: path)
        try ExternalData.readIn(&model)
        return model
    }

    /// Reads a model from bytes that have no external data.
    public static func parse(_ bytes: [UInt8], path: String) throws(JouledError) -> OnnxModel {
        let proto: Onnx_ModelProto
        do {
            proto = try Onnx_ModelProto(serializedBytes: bytes)
        } catch BinaryDecodingError.truncated {
            throw JouledError(.unreadableGraph, "\(path): the file ends in the middle of a field: a truncated ONNX model (\(bytes.count) bytes)")
        } catch {
            throw JouledError(.unreadableGraph, "\(path): not an ONNX model, or a corrupt one (\(error))")
        }
        guard proto.hasGraph, proto.hasIrVersion || !proto.opsetImport.isEmpty else {
            throw JouledError(.unreadableGraph, "\(path): not an ONNX model, or a truncated one: it has no graph (\(bytes.count) bytes)")
        }
        return OnnxModel(path: path, proto: proto)
    }

    /// The model as bytes of one `.onnx` file; the same model gives the same bytes.
    /// - Throws: `.unsupportedGraph` above protobuf's 2 GB; `save` then uses external data.
    public func serialized() throws(JouledError) -> [UInt8] {
        do {
            var options = BinaryEncodingOptions()
            options.useDeterministicOrdering = true
            return try proto.serializedBytes(options: options)
        } catch {
            throw JouledError(.unsupportedGraph, "\(path): cannot be written as one protobuf message (2 GB at most): \(error)", cause: error)
        }
    }

    /// Writes the model whole or not at all.
    /// - Parameter externalData: put large tensors into `PATH.data`; done anyway where one file would exceed 2 GB.
    /// - Throws: `.unwritableFile` naming the path.
    public func save(to path: String, externalData: Bool = false) throws(JouledError) {
        if externalData || weightBytes > 1_900_000_000 {
            try ExternalData.save(self, to: path)
        } else {
            try AtomicFile.write([serialized()], to: path, mode: 0o644)
        }
    }

    /// Bytes of all initializers, subgraphs included.
    public var weightBytes: Int {
        var total = 0
        graph.forEachGraph { total += $0.initializer.reduce(0) { $0 + $1.byteCount } }
        return total
    }

    /// The version of the default operator set.
    public var opset: Int { Int(proto.opsetImport.first { $0.domain.isEmpty || $0.domain == "ai.onnx" }?.version ?? 1) }

    /// Declares that nodes of `domain` are used.
    public mutating func importOpset(_ domain: String, version: Int) {
        guard !proto.opsetImport.contains(where: { $0.domain == domain }) else { return }
        var entry = Onnx_OperatorSetIdProto()
        entry.domain = domain
        entry.version = Int64(version)
        proto.opsetImport.append(entry)
    }
}

/// The domain of ONNX Runtime's own operators.
public let microsoftDomain = "com.microsoft"

extension Graph {
    /// Calls `body` for this graph and for every subgraph of If, Loop, Scan and the like, outer graphs first.
    public func forEachGraph(_ body: (Graph) -> Void) {
        body(self)
        for node in node {
            for attribute in node.attribute {
                if attribute.hasG { attribute.g.forEachGraph(body) }
                for graph in attribute.graphs { graph.forEachGraph(body) }
            }
        }
    }

    /// Lets `body` change this graph and every subgraph, outer graphs first.
    public mutating func updateEachGraph(_ body: (inout Graph) throws(JouledError) -> Void) throws(JouledError) {
        try body(&self)
        for nodeIndex in node.indices {
            for index in node[nodeIndex].attribute.indices {
                if node[nodeIndex].attribute[index].hasG {
                    try node[nodeIndex].attribute[index].g.updateEachGraph(body)
                }
                for inner in node[nodeIndex].attribute[index].graphs.indices {
                    try node[nodeIndex].attribute[index].graphs[inner].updateEachGraph(body)
                }
            }
        }
    }
}
