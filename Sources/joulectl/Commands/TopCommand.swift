import ArgumentParser
import ConfigDocument
import Glibc
import JouledClient
import OperatorViews
import Units
import Wire

/// A live view of power and streams.
struct TopCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "top", abstract: "Battery, budget and streams, live. Keys: q quits, h helps.",
        discussion: "Each refresh wakes the daemon. Where standard output is no terminal, the state after one interval is printed and nothing else.")
    @OptionGroup var daemon: DaemonOptions
    @Option(name: .shortAndLong, help: "Time between refreshes, 200ms to 1h.")
    var interval = "2s"

    func validate() throws { _ = try seconds() }

    private func seconds() throws -> Double {
        guard let seconds = DurationText.seconds(interval) else { throw ValidationError("--interval '\(interval)': write 500ms, 2s or 1m") }
        guard (0.2...3600).contains(seconds) else { throw ValidationError("--interval '\(interval)' is not within 200ms to 1h: each refresh wakes the daemon") }
        return seconds
    }

    func run() throws {
        let seconds = try seconds()
        try reporting {
            let connection = try daemon.connect()
            var screen = TopScreen(hasColour: Console.hasColour)
            screen.show(try sample(connection))
            guard Console.isTerminal, isatty(STDIN_FILENO) == 1, environment("TERM") != "dumb" else {
                usleep(useconds_t(seconds * 1e6))
                screen.show(try sample(connection))
                for line in screen.lines(width: 200, height: 1000).filter({ !$0.isEmpty }).dropLast() { Console.out(line) }
                return
            }
            let terminal = Terminal()
            defer { terminal.restore() }
            try live(connection, &screen, Seconds(seconds))
        }
    }

    private func sample(_ connection: JouledConnection) throws(JouledError) -> TopScreen.Sample {
        let status = try connection.call("io.jouled.Power.GetStatus")["status"] ?? .null
        let streams = try connection.call("io.jouled.Streams.List").list("streams")
        let clocks = SystemClocks()
        return TopScreen.Sample(status: status, streams: streams, time: clocks.monotonic(), clock: CivilTime(clocks.wall().secondsSince1970 + localTimeOffset().value).clock)
    }

    private func live(_ connection: JouledConnection, _ screen: inout TopScreen, _ interval: Seconds) throws {
        let clocks = SystemClocks()
        var due = clocks.monotonic().advanced(by: interval)
        while !Interruption.happened {
            let (width, height) = Terminal.size
            Terminal.draw(screen.lines(width: width, height: height))
            var polled = [STDIN_FILENO, Interruption.descriptor].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            let wait = Int32(max(0, due.since(clocks.monotonic()).milliseconds.rounded(.up)))
            // A change of size interrupts the wait, and the loop draws again.
            if poll(&polled, 2, wait) > 0, polled[0].revents != 0 {
                guard let keys = Terminal.keys() else { return }
                for key in keys {
                    switch screen.press(key) {
                    case .quit: return
                    case .refresh: due = clocks.monotonic()
                    case .none: break
                    }
                }
            }
            guard clocks.monotonic() >= due else { continue }
            screen.show(try sample(connection))
            due = clocks.monotonic().advanced(by: interval)
        }
    }
}

/// The terminal without line editing, on its other screen, until it is restored.
struct Terminal {
    private var before = termios()

    init() {
        tcgetattr(STDIN_FILENO, &before)
        var raw = before
        raw.c_lflag &= ~tcflag_t(ICANON | ECHO)
        tcsetattr(STDIN_FILENO, TCSANOW, &raw)
        Interruption.install()
        // Without a handler the signal would not interrupt a wait.
        var action = sigaction()
        action.__sigaction_handler.sa_handler = { _ in }
        sigaction(SIGWINCH, &action, nil)
        Console.raw("\u{1B}[?1049h\u{1B}[?25l")
    }

    func restore() {
        Console.raw("\u{1B}[?25h\u{1B}[?1049l")
        var before = before
        tcsetattr(STDIN_FILENO, TCSANOW, &before)
    }

    /// Columns and rows.
    static var size: (width: Int, height: Int) {
        var size = winsize()
        guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0, size.ws_row > 0 else { return (80, 24) }
        return (Int(size.ws_col), Int(size.ws_row))
    }

    /// Replaces the screen's content without a flicker: each line is overwritten and its rest cleared.
    static func draw(_ lines: [String]) {
        Console.raw("\u{1B}[H" + lines.map { $0 + "\u{1B}[K" }.joined(separator: "\r\n") + "\u{1B}[J")
    }

    /// What was typed, an escape sequence of three characters as one key; nil at the end of input.
    static func keys() -> [String]? {
        var bytes = [UInt8](repeating: 0, count: 64)
        let count = read(STDIN_FILENO, &bytes, bytes.count)
        guard count > 0 else { return count < 0 && errno == EINTR ? [] : nil }
        var rest = String(decoding: bytes[..<count], as: UTF8.self)[...]
        var keys: [String] = []
        while !rest.isEmpty {
            let length = rest.hasPrefix("\u{1B}[") || rest.hasPrefix("\u{1B}O") ? 3 : 1
            keys.append(String(rest.prefix(length)))
            rest = rest.dropFirst(length)
        }
        return keys
    }
}
