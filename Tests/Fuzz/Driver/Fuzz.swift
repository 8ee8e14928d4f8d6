import FuzzTargets
import Glibc

// Built by `make fuzz` with libFuzzer, which calls the target named by JOULED_FUZZ_TARGET.
#if LIBFUZZER
    // Set on the first call, on the only thread that libFuzzer calls from.
    private let target = FuzzTarget(rawValue: getenv("JOULED_FUZZ_TARGET").map { String(cString: $0) } ?? "")

    private func testOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
        guard let target else { fatalError("JOULED_FUZZ_TARGET is none of \(FuzzTarget.allCases.map(\.rawValue))") }
        target.run(Array(UnsafeBufferPointer(start: bytes, count: count)))
        return 0
    }

    /// libFuzzer's own main without its name. Swift's calling convention is C's for integers and pointers, few as they are here.
    @_silgen_name("LLVMFuzzerRunDriver")
    private func runDriver(
        _ count: UnsafeMutablePointer<CInt>, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>,
        _ callback: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
    ) -> CInt

    /// The package manager makes this the program's entry, so that libFuzzer's main would not be found.
    @_cdecl("fuzz_main")
    public func fuzzMain(_ count: CInt, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?) -> CInt {
        var (count, arguments) = (count, arguments)
        return runDriver(&count, &arguments) { testOneInput($0, $1) }
    }
#else
    import JouledTestKit

    /// `fuzz TARGET FILE...` runs a target on files, to look at what a fuzzer found; `fuzz TARGET --runs N SEED FILE...` makes accidents
    /// of the files and leaves the one that it is at in `fuzz-input`.
    @main
    enum Fuzz {
        static func main() {
            let arguments = CommandLine.arguments.dropFirst()
            guard let target = arguments.first.flatMap(FuzzTarget.init) else {
                print("usage: fuzz TARGET [--runs N SEED] FILE...\ntargets: \(FuzzTarget.allCases.map(\.rawValue).joined(separator: " "))")
                exit(64)
            }
            let rest = Array(arguments.dropFirst())
            guard rest.first == "--runs", rest.count > 3, let runs = Int(rest[1]), let seed = UInt64(rest[2]) else {
                for file in rest { target.run(TemporaryDirectory.contents(of: file) ?? []) }
                return
            }
            let corpus = rest[3...].compactMap { TemporaryDirectory.contents(of: $0) }
            var mutator = Mutator(seed: seed)
            for _ in 0..<runs {
                let input = mutator.next(corpus)
                let file = open("fuzz-input", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
                _ = input.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
                close(file)
                target.run(input)
            }
            unlink("fuzz-input")
        }
    }
#endif
