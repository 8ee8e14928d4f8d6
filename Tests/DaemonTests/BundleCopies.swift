import Glibc
import JouledTestKit
import Testing
import Units

/// A copy of the real bundles that a test may spoil.
struct BundleCopies {
    let directory: TemporaryDirectory
    var path: String { directory("models") }

    init(in directory: TemporaryDirectory, _ names: [String] = ["silero-vad", "ecg-rhythm"]) throws {
        self.directory = directory
        for name in names {
            let source = "\(Installation.bundles)/\(name)/1"
            let files = TemporaryDirectory.names(in: source)
            try #require(files.contains("profile.toml"), "\(source) has no profile: run make test")
            for file in files { directory.write("models/\(name)/1/\(file)", try #require(TemporaryDirectory.contents(of: "\(source)/\(file)"))) }
        }
    }

    /// Replaces the first `old` in a file of a model; it must be there.
    func edit(_ model: String, _ old: String, _ new: String, in file: String = "model.toml") throws {
        let text = directory.text(of: "models/\(model)/1/\(file)")
        let parts = text.split(separator: old, maxSplits: 1, omittingEmptySubsequences: false)
        try #require(parts.count == 2, "\(model)/\(file) has no '\(old)'")
        directory.write("models/\(model)/1/\(file)", parts[0] + new + parts[1])
    }

    /// Makes size and digest in the manifest those of `bytes`.
    func restate(_ model: String, _ variant: String, _ bytes: [UInt8]) throws {
        directory.write("digest", bytes)
        // Output is appended.
        directory.write("sum-\(variant)", "")
        let sum = try Subprocess("/usr/bin/sha256sum", [directory("digest")], output: directory("sum-\(variant)"))
        try #require(sum.wait(atMost: Seconds(10)) == 0)
        let digest = directory.text(of: "sum-\(variant)").prefix(64)
        try change(model, variant, "sha256", "\"\(digest)\"")
        try change(model, variant, "bytes", "\(bytes.count)")
    }

    /// Leaves only cadence 1, so that every window is answered whatever the budget.
    func answerEveryWindow(_ model: String) throws {
        let text = directory.text(of: "models/\(model)/1/model.toml")
        let blocks = text.split(separator: "[[", omittingEmptySubsequences: false)
        let kept = blocks.filter { !$0.hasPrefix("cadence") || $0.contains("multiple = 1\n") }
        directory.write("models/\(model)/1/model.toml", kept.joined(separator: "[["))
    }

    func setQuality(_ model: String, _ variant: String, _ quality: Double) throws { try change(model, variant, "quality", "\(quality)") }

    private func change(_ model: String, _ variant: String, _ key: String, _ value: String) throws {
        let text = directory.text(of: "models/\(model)/1/model.toml")
        var blocks = text.split(separator: "[[variant]]", omittingEmptySubsequences: false).map(String.init)
        let index = try #require(blocks.firstIndex { $0.contains("name = \"\(variant)\"") })
        let lines = blocks[index].split(separator: "\n", omittingEmptySubsequences: false)
        blocks[index] = lines.map { $0.hasPrefix("\(key) = ") ? "\(key) = \(value)" : String($0) }.joined(separator: "\n")
        directory.write("models/\(model)/1/model.toml", blocks.joined(separator: "[[variant]]"))
    }

    /// Gives the variants costs that no noise can reorder: `fp32` dear, the others cheap.
    func fixCosts(_ model: String, _ variants: [String]) {
        var text = "device = \"test\"\nruntime = \"test\"\nwatts_per_core = 1.5\n"
        for (index, variant) in variants.enumerated() {
            let cost = index == 0 ? 1.0 : 0.25
            text += """
                [[option]]
                variant = "\(variant)"
                unit = "cpu"
                basis = "modelled"
                wake = { cpu_s = 4e-5, joules = 6e-5 }
                first = { cpu_s = \(4e-4 * cost), joules = \(6e-4 * cost) }
                next = { cpu_s = \(2e-4 * cost), joules = \(3e-4 * cost) }
                latency = { p50_s = 4e-4, p99_s = 1e-3 }
                next_latency = { p50_s = 2e-4, p99_s = 5e-4 }
                load_s = 0.01
                load_joules = 0.015
                resident_bytes = 1000000

                """
        }
        directory.write("models/\(model)/1/profile.toml", text)
    }
}
