import Glibc
import JouledTestKit
import Testing
import Units
import Wire

/// `joulectl stream --from`: recordings with headers, and sensors in a fake tree.
@Suite("Sources of streams")
struct StreamSourceTests {
    private let daemon: DaemonHarness
    private let ecg: [Float]

    init() throws {
        daemon = try DaemonHarness()
        let bytes = try Reference.ecg()
        ecg = bytes.withUnsafeBytes { raw in (0..<bytes.count / 4).map { Float(bitPattern: UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self))) } }
    }

    private func little(_ values: some Sequence<some FixedWidthInteger>) -> [UInt8] {
        values.flatMap { value in withUnsafeBytes(of: value.littleEndian) { Array($0) } }
    }
    private func little(_ values: some Sequence<Float>) -> [UInt8] { little(values.map(\.bitPattern)) }

    private func stream(_ arguments: [String], environment: [String: String] = [:]) throws -> (status: Int32?, windows: [Window], error: String) {
        let process = try Subprocess(
            Installation.joulectl, ["stream"] + arguments + ["--socket", daemon.socket], output: daemon.directory("o"), error: daemon.directory("e"), environment: environment)
        let status = process.wait(atMost: Seconds(60))
        defer { unlink(daemon.directory("o")); unlink(daemon.directory("e")) }
        return (status, try Reference.parse(daemon.directory.text(of: "o")), daemon.directory.text(of: "e"))
    }

    /// A RIFF file.
    private func wave(_ samples: [UInt8], code: Int, bits: Int, rate: Int = 16000) -> [UInt8] {
        let format = little([UInt16(code), 1]) + little([UInt32(rate), UInt32(rate * bits / 8)]) + little([UInt16(bits / 8), UInt16(bits)])
        let body = Array("WAVEfmt ".utf8) + little([UInt32(16)]) + format + Array("data".utf8) + little([UInt32(samples.count)]) + samples
        return Array("RIFF".utf8) + little([UInt32(body.count)]) + body
    }

    /// An EDF file of one second a record; each signal is (label, unit, physical range, digital samples).
    private func edf(_ signals: [(label: String, unit: String, range: ClosedRange<Double>, samples: [Int16])], rate: Int, reserved: String = "") -> [UInt8] {
        func field(_ text: String, _ width: Int) -> [UInt8] { Array((text + String(repeating: " ", count: width)).utf8.prefix(width)) }
        let records = (signals.first?.samples.count ?? 0) / rate
        var bytes = field("0", 8) + field("X", 80) + field("X", 80) + field("01.01.2001.00.00", 16) + field("\(256 * (signals.count + 1))", 8)
        bytes += field(reserved, 44) + field("\(records)", 8) + field("1", 8) + field("\(signals.count)", 4)
        for signal in signals { bytes += field(signal.label, 16) }
        for _ in signals { bytes += field("", 80) }
        for signal in signals { bytes += field(signal.unit, 8) }
        for signal in signals { bytes += field("\(signal.range.lowerBound)", 8) }
        for signal in signals { bytes += field("\(signal.range.upperBound)", 8) }
        for _ in signals { bytes += field("-32768", 8) }
        for _ in signals { bytes += field("32767", 8) }
        for _ in signals { bytes += field("", 80) }
        for _ in signals { bytes += field("\(rate)", 8) }
        for _ in signals { bytes += field("", 32) }
        for record in 0..<records { for signal in signals { bytes += little(signal.samples[record * rate..<(record + 1) * rate]) } }
        return bytes
    }

    @Test("WAV of 16 bits, 24 bits and floats: the results of the raw samples")
    func wave() throws {
        let raw = try Reference.speech()
        let samples = (0..<raw.count / 2).map { Int16(truncatingIfNeeded: Int(raw[2 * $0]) | Int(raw[2 * $0 + 1]) << 8) }
        daemon.directory.write("16.wav", wave(raw, code: 1, bits: 16))
        daemon.directory.write("24.WAV", wave(samples.flatMap { [0] + little([$0]) }, code: 1, bits: 24))
        daemon.directory.write("float.wav", wave(little(samples.map { Float($0) / 32768 }), code: 3, bits: 32))
        let reference = try Reference.load("silero-vad-fp32")
        for file in ["16.wav", "24.WAV", "float.wav"] {
            let (status, windows, error) = try stream(["silero-vad", "--from", daemon.directory(file)])
            #expect(status == 0, "\(error)")
            expectEqual(windows, reference, file)
        }
        let (_, some, _) = try stream(["silero-vad", "--from", daemon.directory("16.wav"), "--samples", "5120", "--pace", "--preroll", "9s"])
        expectEqual(some, Array(reference.prefix(10)), "the first 5120 samples")
    }

    @Test("CSV: a column by heading or number, in the model's unit or another")
    func table() throws {
        let rows = ecg.prefix(12_000)
        daemon.directory.write("one.csv", rows.map { "\($0)" }.joined(separator: "\n"))
        daemon.directory.write("two.csv", "time, lead II\n" + rows.enumerated().map { "\(Double($0) / 100), \($1 * 1000)\r\n" }.joined())
        let reference = Array(try Reference.load("ecg-rhythm-fp32").prefix(111))
        for arguments in [["one.csv"], ["two.csv", "--channel", "lead II", "--scale", "0.001"], ["two.csv", "--channel", "2", "--scale", "1e-3"]] {
            let (status, windows, error) = try stream(["ecg-rhythm", "--from", daemon.directory(arguments[0])] + arguments.dropFirst())
            #expect(status == 0, "\(error)")
            expectEqual(windows, reference, "\(arguments)")
        }
    }

    @Test("EDF: a signal by name, microvolts converted, annotations passed over")
    func edf() throws {
        // The recording in steps of a tenth of a microvolt and a half: what quantization adds is far below the tolerance.
        let digital = ecg.prefix(12_000).map { Int16(max(-32768, min(32767, (Double($0) * 1000 + 4915.2) / 9830.4 * 65535 - 32768).rounded())) }
        let noise = digital.indices.map { Int16(truncatingIfNeeded: $0 * 7919) }
        let lead = (label: "ECG II", unit: "uV", range: -4915.2...4915.2, samples: Array(digital))
        daemon.directory.write("one.edf", edf([lead], rate: 100))
        daemon.directory.write("plus.EDF", edf([("Resp", "L/s", -1...1, noise), lead, ("EDF Annotations", "", -1...1, noise)], rate: 100, reserved: "EDF+C"))
        let reference = Array(try Reference.load("ecg-rhythm-fp32").prefix(111))
        for arguments in [["one.edf"], ["plus.EDF", "--channel", "ECG II"], ["plus.EDF", "--channel", "2"]] {
            let (status, windows, error) = try stream(["ecg-rhythm", "--from", daemon.directory(arguments[0])] + arguments.dropFirst())
            #expect(status == 0, "\(error)")
            #expect(windows.count == 111)
            for (window, expected) in zip(windows, reference) { #expect(window.error(against: expected) < 0.01, "\(window) \(expected)") }
        }
    }

    @Test("Files that do not fit are refused with their name and the fault, and no stream is opened")
    func refusals() throws {
        let flat = [Int16](repeating: 5, count: 2000)
        daemon.directory.write("rate.wav", wave([0, 0], code: 1, bits: 16, rate: 8000))
        daemon.directory.write("no.wav", "RIFF")
        daemon.directory.write("bad.csv", "1\n2\nx\n")
        daemon.directory.write("two.csv", "1,2\n3,4\n")
        daemon.directory.write("named.csv", "time, lead II\n1,2\n")
        daemon.directory.write("two.edf", edf([("A", "mV", -1...1, flat), ("B", "mV", -1...1, flat)], rate: 100))
        daemon.directory.write("unit.edf", edf([("A", "bpm", -1...1, flat)], rate: 100))
        daemon.directory.write("rate.edf", edf([("A", "mV", -1...1, flat)], rate: 200))
        daemon.directory.write("parts.edf", edf([("A", "mV", -1...1, flat)], rate: 100, reserved: "EDF+D"))
        daemon.directory.write("short.edf", Array(edf([("A", "mV", -1...1, flat)], rate: 100).prefix(300)))
        let cases: [(String, [String])] = [
            ("rate.wav", ["8000 Hz", "100 Hz"]), ("no.wav", ["no WAV"]), ("bad.csv", ["bad.csv:3", "column 1"]), ("two.csv", ["2 columns (1, 2), the model takes 1", "--channel"]), ("named.csv", ["2 columns (time, leadII)", "--channel"]),
            ("two.edf", ["2 signals", "'A', 'B'"]), ("unit.edf", ["'bpm'", "'mV'", "--scale"]), ("rate.edf", ["200 Hz"]), ("parts.edf", ["EDF+D"]),
            ("short.edf", ["header"]), ("absent.wav", ["absent.wav", "No such file"]),
        ]
        for (file, words) in cases {
            let (status, windows, error) = try stream(["ecg-rhythm", "--from", daemon.directory(file)])
            #expect(status == 1 && windows.isEmpty, "\(file)")
            for word in words + [file] { #expect(error.contains(word), "\(file): '\(error)' does not say '\(word)'") }
        }
        #expect(try stream(["ecg-rhythm", "--channel", "1"]).status == 64)
        #expect(try stream(["ecg-rhythm", "--from", "x.wav", "--rate", "100"]).status == 64)
        #expect(try daemon.call("io.jouled.Streams.Ledger")["entries"] == [])
    }

    // MARK: Sensors

    /// An ADC with two channels of 12 bits in 16, of which the second is the heart.
    private func sensor(buffered: Bool) {
        let device = "root/sys/bus/iio/devices/iio:device3/"
        func write(_ file: String, _ text: String) { daemon.directory.write(device + file, text + "\n") }
        daemon.directory.write("root/sys/bus/iio/devices/iio:device0/name", "thermometer\n")
        write("name", "ads1298")
        write("sampling_frequency", "50")
        for channel in ["in_voltage0", "in_voltage1"] {
            write(channel + "_raw", "300")
            guard buffered else { continue }
            write("scan_elements/\(channel)_en", "1")
            write("scan_elements/\(channel)_index", channel.hasSuffix("0") ? "0" : "1")
            write("scan_elements/\(channel)_type", "be:s12/16>>4")
        }
        write("in_voltage_scale", "0.0025")
        write("in_voltage1_offset", "-100")
        if buffered {
            write("scan_elements/in_timestamp_en", "1")
            write("buffer/enable", "0")
            write("buffer/length", "2")
        }
    }

    private func attribute(_ name: String) -> String { daemon.directory.text(of: "root/sys/bus/iio/devices/iio:device3/\(name)") }

    @Test("A sensor with a buffer: only the chosen channel is switched on, and its scans become the model's unit")
    func buffer() throws {
        sensor(buffered: true)
        // As the converter would deliver it: 2.5 microvolts... a step, big-endian, the upper 12 bits of 16, garbage in the lower four.
        let steps = ecg.prefix(12_000).map { Int16(max(-2048, min(2047, ($0 / 0.0025).rounded() + 100))) }
        let scans = steps.enumerated().flatMap { index, step -> [UInt8] in
            let word = UInt16(bitPattern: step << 4) | UInt16(index & 15)
            return [UInt8(word >> 8), UInt8(truncatingIfNeeded: word)]
        }
        daemon.directory.write("scans", scans)
        daemon.directory.makeDirectory("root/dev")
        try #require(mkfifo(daemon.directory("root/dev/iio:device3"), 0o600) == 0)
        // The driver's part: it delivers once the buffer is read, in pieces that know nothing of samples.
        let driver = try Subprocess("/bin/sh", ["-c", "dd if=\(daemon.directory("scans")) of=\(daemon.directory("root/dev/iio:device3")) bs=333"])
        let (status, windows, error) = try stream(
            ["ecg-rhythm", "--from", "iio:ads1298", "--channel", "in_voltage1"], environment: ["JOULED_IIO_ROOT": daemon.directory("root")])
        #expect(status == 0, "\(error)")
        #expect(driver.wait(atMost: Seconds(5)) == 0)
        // The same values as a file of floats.
        daemon.directory.write("same.f32le", little(steps.map { Float((Double($0) - 100) * 0.0025) }))
        let same = try daemon.run(["stream", "ecg-rhythm", "--format", "f32le"], input: daemon.directory("same.f32le"))
        expectEqual(windows, try Reference.parse(same.out), tolerance: 1e-6)
        #expect(windows.count == 111)
        #expect(attribute("scan_elements/in_voltage0_en") == "0" && attribute("scan_elements/in_voltage1_en") == "1" && attribute("scan_elements/in_timestamp_en") == "0")
        #expect(attribute("sampling_frequency") == "100" && attribute("buffer/length") == "4096")
        #expect(attribute("buffer/enable") == "0", "the buffer is switched off at the end")
    }

    @Test("A sensor without a buffer is read value by value")
    func polled() throws {
        // At 16 kHz every sample is due at once, so that this takes no longer than the reading.
        sensor(buffered: false)
        daemon.directory.write("root/sys/bus/iio/devices/iio:device3/sampling_frequency", "16000\n")
        let (status, windows, error) = try stream(
            ["silero-vad", "--from", "iio:device3", "--channel", "in_voltage1", "--samples", "1024"], environment: ["JOULED_IIO_ROOT": daemon.directory("root")])
        #expect(status == 0, "\(error)")
        daemon.directory.write("same.f32le", little([Float](repeating: 0.5, count: 1024)))
        let same = try daemon.run(["stream", "silero-vad", "--format", "f32le"], input: daemon.directory("same.f32le"))
        expectEqual(windows, try Reference.parse(same.out), tolerance: 1e-6)
        #expect(windows.count == 2)
    }

    @Test("Sensors that do not fit are refused by name")
    func sensorRefusals() throws {
        sensor(buffered: true)
        let environment = ["JOULED_IIO_ROOT": daemon.directory("root")]
        for (arguments, words) in [
            (["--from", "iio:nonesuch"], ["iio:device0 (thermometer)", "iio:device3 (ads1298)"]), (["--from", "iio:3"], ["2 channels", "--channel"]),
            (["--from", "iio:3", "--channel", "in_temp"], ["in_temp", "in_voltage0, in_voltage1"]), (["--from", "iio:0"], ["no channels"]),
        ] {
            let (status, _, error) = try stream(["ecg-rhythm"] + arguments, environment: environment)
            #expect(status == 1)
            for word in words { #expect(error.contains(word), "\(arguments): '\(error)' does not say '\(word)'") }
        }
        daemon.directory.write("root/sys/bus/iio/devices/iio:device3/scan_elements/in_voltage1_type", "le:q12/16\n")
        daemon.directory.write("root/dev/iio:device3", "")
        let (status, _, error) = try stream(["ecg-rhythm", "--from", "iio:3", "--channel", "in_voltage1"], environment: environment)
        #expect(status == 1 && error.contains("in_voltage1_type") && error.contains("le:q12/16"), "\(error)")
        #expect(attribute("buffer/enable") == "0\n")
    }
}
