import Glibc
import JouledTestKit
import Systemd
import Testing
import Units
import Wire

@testable import JouledDaemon

@Suite("History")
struct HistoryTests {
    private struct Silence: JournalSink {
        func send(_ record: JournalRecord) {}
    }

    private func moment(_ windows: Int, _ joules: Double, wakes: Int) -> HistoryRecorder.Moment {
        let point = HistoryPoint(
            at: WallTime(secondsSince1970: 1e9), span: .zero, charge: 0.5, draw: Watts(3), acOnline: false, budget: nil, planned: Watts(0.1), rest: nil, policy: "p", goal: "none", shares: [])
        let entries = [
            Ledger.Entry(stream: 0, name: "earlier streams", model: "m", variant: "v", windows: 1000, joules: Joules(9), isOpen: false),
            Ledger.Entry(stream: 3, name: "a", model: "m", variant: "v", windows: windows, joules: Joules(joules), isOpen: true),
        ]
        return .init(point: point, ledger: entries, streams: [3: (wakes: wakes, quality: 0.9)])
    }

    private func time(_ seconds: Double) -> MonotonicTime { MonotonicTime(nanoseconds: 0).advanced(by: Seconds(seconds)) }

    @Test("A stretch holds what was done in it, once, and is written when enough wait or they wait long enough")
    func recorder() {
        var recorder = HistoryRecorder()
        #expect(recorder.isDue(at: time(5)))
        recorder.observe(moment(10, 1, wakes: 2), at: time(5))
        #expect(recorder.pending.isEmpty, "the first moment only begins")
        #expect(!recorder.isDue(at: time(64)) && recorder.isDue(at: time(65)))
        recorder.observe(moment(30, 2, wakes: 5), at: time(70))
        recorder.observe(moment(30, 2, wakes: 5), at: time(140))
        guard case .point(let first)? = recorder.pending.first, case .point(let second)? = recorder.pending.last else { return #expect(Bool(false)) }
        #expect(first.span == Seconds(65))
        #expect(first.shares == [HistoryShare(stream: 3, name: "a", model: "m", variant: "v", windows: 20, joules: Joules(1), wakes: 3, quality: 0.9)])
        #expect(second.shares.isEmpty && second.span == Seconds(70))
        #expect(recorder.take(at: time(600)).isEmpty)
        #expect(recorder.take(at: time(671)).count == 2)
        #expect(recorder.take(at: time(10_000)).isEmpty)
        for number in 0..<HistoryRecorder.pendingLimit { recorder.add(.point(first), at: time(700 + Double(number) / 1000)) }
        #expect(recorder.take(at: time(701)).count == HistoryRecorder.pendingLimit)
        for _ in 0..<5000 { recorder.add(.point(first), at: time(800)) }
        #expect(recorder.pending.count <= 4 * HistoryRecorder.pendingLimit)
    }

    @Test("Records survive their line; a line that is not whole is none", arguments: seeds(20))
    func lines(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        func number(_ range: ClosedRange<Double>, _ places: Int) -> Double { Double(decimal(.random(in: range, using: &random), places: places)) ?? 0 }
        let shares = (0..<Int.random(in: 0...4, using: &random)).map { index in
            HistoryShare(
                stream: UInt64(index), name: #"n"\#(index)\"#, model: "m", variant: "v", windows: .random(in: 0...9999, using: &random), joules: Joules(number(0...10, 6)),
                wakes: .random(in: 0...99, using: &random), quality: number(0...1, 4))
        }
        let records: [HistoryRecord] = [
            .point(
                HistoryPoint(
                    at: WallTime(secondsSince1970: Double(Int.random(in: 0...2_000_000_000, using: &random))), span: Seconds(number(0...4000, 1)), charge: Bool.random(using: &random) ? nil : number(0...1, 4),
                    draw: Bool.random(using: &random) ? nil : Watts(number(-9...9, 4)), acOnline: .random(using: &random), budget: Bool.random(using: &random) ? nil : Watts(number(0...9, 6)),
                    planned: Watts(number(0...9, 6)), rest: nil, policy: "lifetime", goal: "feasible", shares: shares)),
            .decision(
                HistoryDecision(
                    at: WallTime(secondsSince1970: 1_700_000_000), number: 7, name: "é\n", model: "m", from: "none", to: "int8", trigger: "tick", quality: number(0...1, 4), reason: "a, \"b\"")),
        ]
        for (index, record) in records.enumerated() {
            let line = Array(record.line(Int64(index) + 5).utf8)
            #expect(!line.contains(10), "seed \(seed)")
            let parsed = HistoryRecord.parse(line)
            #expect(parsed?.record == record && parsed?.sequence == Int64(index) + 5, "seed \(seed): \(String(decoding: line, as: UTF8.self))")
            for cut in 0..<line.count { #expect(HistoryRecord.parse(line[..<cut]) == nil, "seed \(seed), cut at \(cut)") }
        }
    }

    @Test("The store: pages in order, over a restart and a torn line, within its size")
    func store() async throws {
        let directory = TemporaryDirectory()
        let loop = try EventLoop.startThread(named: "history")
        defer { loop.stop() }
        func decision(_ number: Int) -> HistoryRecord {
            .decision(HistoryDecision(at: WallTime(secondsSince1970: Double(1000 + number)), number: number, name: "a", model: "m", from: "x", to: "y", trigger: "tick", quality: 1, reason: "because"))
        }
        func numbers(_ store: HistoryStore, since: Double = 0, page: Int = 7) async -> [Int] {
            var (after, all): (Int64, [Int]) = (0, [])
            while true {
                let (records, last) = await store.read(after: after, since: WallTime(secondsSince1970: since), count: page)
                all += records.map { if case .decision(let decision) = $0 { decision.number } else { -1 } }
                guard let last else { return all }
                after = last
            }
        }
        let limit = 6000
        let first = HistoryStore(directory: directory.path, limit: limit, journal: Silence(), loop: loop)
        #expect(await numbers(first) == [])
        for number in 1...20 { await first.append([decision(number)]) }
        #expect(await numbers(first) == Array(1...20))
        #expect(await numbers(first, since: 1015) == Array(15...20))

        // A power cut in mid-line.
        let descriptor = open(directory("history"), O_WRONLY | O_APPEND)
        _ = "[21,\"d\",10".withCString { write(descriptor, $0, 10) }
        close(descriptor)
        let second = HistoryStore(directory: directory.path, limit: limit, journal: Silence(), loop: loop)
        await second.append([decision(21), decision(22)])
        #expect(await numbers(second) == Array(1...22))

        for number in 23...400 { await second.append([decision(number)]) }
        let kept = await numbers(second, page: 100)
        #expect(kept.last == 400 && kept == Array((kept.first ?? 0)...400) && kept.count > 20)
        let size = ["history", "history.1"].reduce(0) { $0 + (TemporaryDirectory.contents(of: directory($1))?.count ?? 0) }
        #expect(size <= limit && size > limit / 2)
        let none = HistoryStore(directory: directory("none"), limit: 0, journal: Silence(), loop: loop)
        await none.append([decision(1)])
        #expect(await numbers(none) == [])
    }

    @Test("The daemon keeps what its streams did, over a restart; other users do not see it")
    func daemon() throws {
        let daemon = try DaemonHarness { $0.power = "source = \"virtual\"\npoll = \"200ms\"" }
        _ = try daemon.call("io.jouled.Power.History")
        let stream = try TestStream.speech(daemon, ["name": "ear"])
        try stream.send(try Reference.speech()[..<102_400])
        #expect(try stream.wait { stream.windows.count == 100 })
        let page = try daemon.call("io.jouled.Power.History")
        let shares = (page["points"]?.arrayValue ?? []).flatMap { $0["streams"]?.arrayValue ?? [] }
        #expect(shares.count == 1 && shares[0]["windows"] == 100 && shares[0]["name"] == "ear" && shares[0]["variant"] == "fp32", "\(page)")
        #expect(shares.first?["wakes"]?.intValue.map { $0 >= 1 && $0 <= 100 } == true)
        #expect(page["decisions"]?[0]?["streamName"] == "ear" && page["next"] == .null)
        try stream.finish()
        try daemon.restart()
        let later = try daemon.call("io.jouled.Power.History")
        let sum = (later["points"]?.arrayValue ?? []).flatMap { $0["streams"]?.arrayValue ?? [] }.compactMap { $0["windows"]?.intValue }.reduce(0, +)
        #expect(sum == 100 && later["decisions"]?[0]?["number"] == 1, "\(later)")
        let first = try #require(later["points"]?[0]?["timeSeconds"]?.doubleValue)
        #expect(try daemon.call("io.jouled.Power.History", ["sinceSeconds": .double(first + 1e6)])["points"] == [])
    }
}
