import Glibc
import Units

/// Models and references of other hands: what set-up fetched into `.deps`, and the onnx package in set-up's Python.
public enum ReferenceModels {
    public static let root = "\(#filePath)".split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 }
    private static let python = root + "/.deps/venv/bin/python"

    /// Files below `.deps`, as far as set-up has made them.
    public static func available(_ paths: [String]) -> [String] { paths.map { root + "/.deps/" + $0 }.filter { access($0, R_OK) == 0 } }

    private static let unpacked: TemporaryDirectory = {
        // A global is never released, so that its directory must go otherwise.
        atexit { DirectoryTree.remove(ReferenceModels.unpacked.path) }
        return TemporaryDirectory()
    }()

    /// Every model of silero-vad's source archive; empty where set-up has not been run.
    public static let silero: [String] = {
        let archive = root + "/.deps/archives/silero_vad-6.2.3.tar.gz"
        guard access(archive, R_OK) == 0 else { return [] }
        let members = ["--strip-components=4", "--wildcards", "*/src/silero_vad/data/*.onnx"]
        guard output(of: "/bin/tar", ["xzf", archive, "-C", unpacked.path] + members) != nil else { return [] }
        return ["", "_16k_op15", "_16k_sequence", "_half", "_op18_ifless", "_openvino_16k"].map { unpacked("silero_vad\($0).onnx") }
            .filter { access($0, R_OK) == 0 }
    }()

    /// Every ONNX model that set-up leaves, quantized ones too, and those that come with its Python packages.
    public static let all: [String] = {
        let bundles = ["silero-vad/1/fp32", "silero-vad/1/int8-lstm", "silero-vad/1/int8-mixed", "ecg-rhythm/1/fp32", "ecg-rhythm/1/int8", "ecg-rhythm/1/int8-mixed"]
        let small = ["mul_1", "sigmoid", "logreg_iris"].map { "venv/lib/python3.11/site-packages/onnxruntime/datasets/\($0).onnx" }
        return silero + available(bundles.map { "bundles/\($0).onnx" } + small)
    }()

    /// What `Tests/Reference/shapes.py` says of tensors; an open size is nil.
    public struct Shape: Sendable {
        public let file: String
        public let tensor: String
        public let type: Int32
        public let sizes: [Int?]
    }

    /// Runs `Tests/Reference/shapes.py`; nil where set-up has not been run.
    public static func shapes(_ arguments: [String]) -> [Shape]? {
        guard access(python, X_OK) == 0, let text = output(of: python, [root + "/Tests/Reference/shapes.py"] + arguments) else { return nil }
        return text.split(separator: "\n").compactMap { line in
            let fields = line.split(separator: "\t", omittingEmptySubsequences: false)
            guard fields.count == 4, let type = Int32(fields[2]) else { return nil }
            return Shape(file: String(fields[0]), tensor: String(fields[1]), type: type, sizes: fields[3].split(separator: ",").map { Int($0) })
        }
    }

    /// What a program prints, if it ends well within two minutes.
    private static func output(of path: String, _ arguments: [String]) -> String? {
        let directory = TemporaryDirectory()
        guard let process = try? Subprocess(path, arguments, output: directory("out")), process.wait(atMost: Seconds(120)) == 0 else { return nil }
        return directory.text(of: "out")
    }
}
