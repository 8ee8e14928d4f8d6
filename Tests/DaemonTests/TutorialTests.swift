import Glibc
import JouledTestKit
import Testing
import Units
import Wire

/// docs/tutorial.md as a reader follows it: its files are written, its commands are run.
@Suite("Tutorial")
struct TutorialTests {
    /// Debian's Python with PyTorch, which set-up does not install: half a gigabyte for one test.
    private static let hasTorch: Bool = {
        let python = try? Subprocess("/usr/bin/python3", ["-c", "import torch, numpy"])
        return python?.wait(atMost: Seconds(60)) == 0
    }()

    private struct Block {
        var language: String
        var text: String
        /// The file that the block is, by its first line.
        var file: String? {
            guard language != "sh", let first = text.split(separator: "\n").first, first.hasPrefix("# ") else { return nil }
            return String(first.dropFirst(2))
        }
    }

    private func blocks() throws -> [Block] {
        let text = String(decoding: try #require(TemporaryDirectory.contents(of: Installation.root + "/docs/tutorial.md")), as: UTF8.self)
        var (blocks, open) = ([Block](), Block?.none)
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if line.hasPrefix("```") {
                if let block = open { blocks.append(block) }
                open = open == nil ? Block(language: String(line.dropFirst(3)), text: "") : nil
            } else {
                open?.text += line + "\n"
            }
        }
        return blocks
    }

    @Test("From PyTorch to a scheduled stream", .enabled(if: hasTorch, "needs Python with PyTorch: apt install python3-torch"))
    func follow() throws {
        let directory = TemporaryDirectory()
        // Commands of one shell, one after the other; the daemon ends with it.
        var script = "set -e\ncd \(directory.path)\ntrap 'kill $(jobs -p) 2>/dev/null' EXIT\n"
        for block in try blocks() {
            if let file = block.file {
                directory.write(file, block.text)
            } else {
                script += block.text
            }
        }
        #expect(["recordings.py", "train.py", "motion.contract.toml", "motion.toml", "jouled.toml", "policies/plenty.toml", "policies/lean.toml"].allSatisfy { access(directory($0), F_OK) == 0 })
        directory.write("follow.sh", script)
        let shell = try Subprocess(
            "/bin/bash", [directory("follow.sh")], output: directory("out"), error: directory("err"),
            environment: ["PATH": Installation.products + ":/usr/bin:/bin", "JOULED_ONNXRUNTIME": Installation.runtime])
        let status = shell.wait(atMost: Seconds(300))
        #expect(status == 0, "\(directory.text(of: "err").suffix(3000))\n\(directory.text(of: "out").suffix(2000))")
        #expect(directory.text(of: "out").contains("right on 0.9") || directory.text(of: "out").contains("right on 1.0"))
        let windows = try Reference.parse(directory.text(of: "results.jsonl"))
        #expect(windows.count == 399 && windows.allSatisfy { $0.values.count == 3 && abs($0.values.reduce(0, +) - 1) < 1e-3 })
        // Three activities were recorded, and the model finds them.
        for index in 0..<3 { #expect(windows.contains { $0.values[index] > 0.9 }) }
        // The change of policy is told with what it would take to undo it.
        let out = directory.text(of: "out")
        #expect(out.contains("policy lean is in force") && out.contains("(wrist)") && out.contains("30.0 µW by policy"), "\(out.suffix(2000))")
        let variants = Set(windows.map(\.variant))
        #expect(variants.subtracting(["fp32", "int8", "fp16"]).isEmpty && !variants.isEmpty)
    }
}
