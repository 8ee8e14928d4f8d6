import Glibc
import JouledTestKit
import Testing
import Units

@testable import InferenceRuntime

/// The real library and models that set-up fetched.
enum Fetched {
    static let root = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3).joined(separator: "/")
    static let library: String = {
        let folder = root + "/.deps/lib"
        return folder + "/" + (TemporaryDirectory.names(in: folder).first { $0.hasPrefix("libonnxruntime.so") } ?? "missing: run setup/setup.sh")
    }()
    static func model(_ name: String) throws -> [UInt8] {
        try #require(TemporaryDirectory.contents(of: "\(root)/.deps/bundles/\(name)"), "run make bundles")
    }
    static func runtime() throws -> OnnxRuntime {
        OnnxRuntime.disableTelemetry()
        return try OnnxRuntime(libraryPath: library)
    }
    static let sileroInputs = [TensorSpec(name: "input", shape: [1, 576]), TensorSpec(name: "h", shape: [1, 1, 128]), TensorSpec(name: "c", shape: [1, 1, 128])]
    static let sileroOutputs = [TensorSpec(name: "speech_probs", shape: [1]), TensorSpec(name: "hn", shape: [1, 1, 128]), TensorSpec(name: "cn", shape: [1, 1, 128])]
}

@Suite("ONNX Runtime")
struct OnnxRuntimeTests {
    @Test("Without telemetry disabled the library is not loaded")
    func telemetry() async {
        // In a process of its own, since the environment belongs to all tests.
        await #expect(processExitsWith: .success) {
            unsetenv("ORT_DISABLE_TELEMETRY")
            do {
                _ = try OnnxRuntime(libraryPath: Fetched.library)
                exit(1)
            } catch {
                guard (error as? JouledError)?.code == .runtimeUnavailable, "\(error)".contains("ORT_DISABLE_TELEMETRY=1") else { exit(2) }
            }
            setenv("ORT_DISABLE_TELEMETRY", "0", 1)
            guard (try? OnnxRuntime(libraryPath: Fetched.library)) == nil else { exit(3) }
            OnnxRuntime.disableTelemetry()
            guard (try? OnnxRuntime(libraryPath: Fetched.library)) != nil else { exit(4) }
            // The library brings no threads of its own.
            guard TemporaryDirectory.names(in: "/proc/self/task").count < 16 else { exit(5) }
        }
    }

    @Test("A missing library, a file that is none, and a library that is another: path and reason")
    func libraries() throws {
        OnnxRuntime.disableTelemetry()
        let directory = TemporaryDirectory()
        directory.write("text.so", "not a library")
        let cases = [("/nonexistent/lib.so", "No such file"), (directory("text.so"), "cannot be loaded"), ("/lib/x86_64-linux-gnu/libm.so.6", "no OrtGetApiBase")]
        for (path, word) in cases where !path.hasPrefix("/lib") || access(path, R_OK) == 0 {
            let error = #expect(throws: JouledError(.runtimeUnavailable, "")) { try OnnxRuntime(libraryPath: path) }
            let text = error?.description ?? ""
            #expect(text.contains(path) && text.contains(word), "\(text)")
        }
    }

    @Test("Versions are read as numbers")
    func versions() {
        #expect(OnnxRuntime.parse(version: "1.32.0").map { [$0.0, $0.1] } == [1, 32])
        #expect(OnnxRuntime.parse(version: "1.9.1").map { $0.0 == 1 && $0.1 == 9 } == true)
        #expect(OnnxRuntime.parse(version: "unknown") == nil)
    }

    @Test("Truncated and foreign model files: the file's name with ONNX Runtime's own words", arguments: [0, 1, 100, 100_000])
    func truncated(bytes: Int) throws {
        let runtime = try Fetched.runtime()
        let model = Array(try Fetched.model("silero-vad/1/fp32.onnx").prefix(bytes))
        let error = #expect(throws: JouledError(.inferenceFailed, "")) {
            try InferenceSession(runtime: runtime, model: model, path: "vad.onnx")
        }
        let text = error?.description ?? ""
        #expect(text.hasPrefix("vad.onnx: cannot be loaded: ") && text.contains("ONNX Runtime error"), "\(text)")
        #expect(text.count > "vad.onnx: cannot be loaded: CreateSessionFromArray:  (ONNX Runtime error 7)".count, "\(text)")
    }

    @Test("A contract that the model breaks: the tensor and both shapes")
    func contract() throws {
        let runtime = try Fetched.runtime()
        let session = try InferenceSession(runtime: runtime, model: try Fetched.model("silero-vad/1/fp32.onnx"), path: "vad.onnx")
        try session.check(inputs: Fetched.sileroInputs, outputs: Fetched.sileroOutputs)

        func message(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) -> String {
            let error = #expect(throws: JouledError(.contractBroken, "")) { try session.check(inputs: inputs, outputs: outputs) }
            return error?.description ?? ""
        }
        var inputs = Fetched.sileroInputs
        inputs[1].shape = [1, 1, 64]
        let shapes = message(inputs, Fetched.sileroOutputs)
        #expect(shapes.contains("vad.onnx: input 'h'") && shapes.contains("[1, 1, 64]") && shapes.contains("128"), "\(shapes)")
        inputs[1] = TensorSpec(name: "hidden", shape: [1, 1, 128])
        let names = message(inputs, Fetched.sileroOutputs)
        #expect(names.contains("no input 'hidden'") && names.contains("h, c"), "\(names)")
        let missing = message([Fetched.sileroInputs[0], Fetched.sileroInputs[1]], Fetched.sileroOutputs)
        #expect(missing.contains("'c' is not declared"), "\(missing)")
        inputs = Fetched.sileroInputs
        inputs[0].elementType = .other(7)
        let types = message(inputs, Fetched.sileroOutputs)
        #expect(types.contains("'input' is float32, declared as int64"), "\(types)")
        var outputs = Fetched.sileroOutputs
        outputs[0].name = "probability"
        #expect(message(Fetched.sileroInputs, outputs).contains("no output 'probability'"))
    }

    @Test("Runs of one session keep their tensors apart, and equal inputs give equal outputs")
    func runs() throws {
        let runtime = try Fetched.runtime()
        let session = try InferenceSession(runtime: runtime, model: try Fetched.model("silero-vad/1/fp32.onnx"), path: "vad.onnx")
        let (first, second) = (
            try InferenceRun(session: session, inputs: Fetched.sileroInputs, outputs: Fetched.sileroOutputs),
            try InferenceRun(session: session, inputs: Fetched.sileroInputs, outputs: Fetched.sileroOutputs))
        for index in 0..<576 { first.input(0)[index] = sinf(Float(index) / 7) }
        try first.run()
        let alone = first.output(0)[0]
        try second.run()
        #expect(first.output(0)[0] == alone)
        #expect(second.output(0)[0] != alone)
        try first.run()
        #expect(first.output(0)[0] == alone)
        #expect(throws: JouledError(.contractBroken, "")) {
            try InferenceRun(session: session, inputs: [TensorSpec(name: "input", shape: [1, -1])], outputs: [])
        }
    }
}
