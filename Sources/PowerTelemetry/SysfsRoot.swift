import Glibc
import Units

/// A directory with the layout of /sys, which may be a fake.
public struct SysfsRoot: Hashable, Sendable {
    /// What a file held.
    public enum Content<Value: Hashable & Sendable>: Hashable, Sendable {
        case value(Value)
        /// There is no such file, or the driver has no value at present: nothing is wrong.
        case absent
        /// The file is there and cannot be used; the text says why and names it.
        case unusable(String)

        /// The value, if there is one.
        public var value: Value? { if case .value(let value) = self { value } else { nil } }
        /// Why the file cannot be used, if so.
        public var problem: String? { if case .unusable(let problem) = self { problem } else { nil } }
    }

    /// More than any attribute that is read here holds; attributes end at one page in any case.
    private static let maximumLength = 256
    /// No device has more of one kind; a directory with more is not sysfs.
    private static let maximumEntries = 256

    /// The directory, `/sys` on a real device.
    public let path: String

    /// - Parameter path: the directory, `/sys` on a real device.
    public init(_ path: String = "/sys") { self.path = path }

    /// The text of `file` (a path below the root) without white space around it.
    ///
    /// Drivers answer ENODEV or ENODATA where a value is not known now, which is as good as no file. EIO and
    /// the like mean that something is broken.
    public func text(_ file: String) -> Content<String> {
        let descriptor = open("\(path)/\(file)", O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { return Self.failure(file, errno) }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: Self.maximumLength + 1)
        var count: Int
        repeat { count = read(descriptor, &bytes, bytes.count) } while count < 0 && errno == EINTR
        guard count >= 0 else { return Self.failure(file, errno) }
        guard count <= Self.maximumLength else { return .unusable("\(file): longer than \(Self.maximumLength) bytes") }
        let space: (UInt8) -> Bool = { $0 == 0x20 || (0x09...0x0d).contains($0) }
        var held = bytes[..<count].drop(while: space)
        while let last = held.last, space(last) { held.removeLast() }
        guard let text = String(validating: held, as: UTF8.self) else { return .unusable("\(file): not text") }
        return .value(text)
    }

    private static func failure(_ file: String, _ error: Int32) -> Content<String> {
        switch error {
        case ENOENT, ENOTDIR, ENODEV, ENODATA, ENXIO: .absent
        default: .unusable("\(file): \(String(cString: strerror(error)))")
        }
    }

    /// The whole number that `file` holds, if it lies in `range`.
    public func integer(_ file: String, in range: ClosedRange<Int64> = .min ... .max) -> Content<Int64> {
        switch text(file) {
        case .absent: .absent
        case .unusable(let problem): .unusable(problem)
        case .value(let text):
            if let number = Int64(text) {
                range.contains(number) ? .value(number) : .unusable("\(file): \(number) is out of range")
            } else {
                .unusable("\(file): '\(Self.excerpt(text))' is no whole number")
            }
        }
    }

    private static func excerpt(_ text: String) -> String {
        // Printable only: the text ends up in the journal and on terminals.
        let scalars = text.unicodeScalars.prefix(24).map { $0.isASCII && $0.value >= 0x20 && $0.value != 0x7f ? Character($0) : "?" }
        return String(scalars)
    }

    /// The names in `directory` in order, without hidden ones; empty if it cannot be read.
    public func names(in directory: String) -> [String] {
        guard let stream = opendir("\(path)/\(directory)") else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while names.count < Self.maximumEntries, let entry = readdir(stream) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            if !name.hasPrefix(".") { names.append(name) }
        }
        return names.sorted()
    }
}
