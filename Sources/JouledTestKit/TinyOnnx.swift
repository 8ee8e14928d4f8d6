/// A real ONNX model, small enough to know its answers, written byte by byte.
public enum TinyOnnx {
    private static func varint(_ value: UInt64) -> [UInt8] {
        var (rest, bytes) = (value, [UInt8]())
        while rest > 0x7F {
            bytes.append(UInt8(rest & 0x7F) | 0x80)
            rest >>= 7
        }
        return bytes + [UInt8(rest)]
    }
    private static func number(_ field: UInt64, _ value: UInt64) -> [UInt8] { varint(field << 3) + varint(value) }
    private static func message(_ field: UInt64, _ bytes: [UInt8]) -> [UInt8] { varint(field << 3 | 2) + varint(UInt64(bytes.count)) + bytes }
    private static func text(_ field: UInt64, _ text: String) -> [UInt8] { message(field, Array(text.utf8)) }

    /// A size of 0 leaves the axis open.
    private static func tensor(_ name: String, _ shape: [UInt64]) -> [UInt8] {
        let dimensions = shape.flatMap { message(1, $0 == 0 ? text(2, "windows") : number(1, $0)) }
        return text(1, name) + message(2, message(1, number(1, 1) + message(2, dimensions)))
    }

    /// A model with state: `y = hn = h + x[index]`, from `x` of shape [1, count] and `h` of [1, 1].
    public static func sum(_ index: UInt64, of count: UInt64) -> [UInt8] {
        func node(_ inputs: [String], _ output: String, _ operation: String, _ more: [UInt8] = []) -> [UInt8] {
            message(1, inputs.flatMap { text(1, $0) } + text(2, output) + text(4, operation) + more)
        }
        let axis = message(5, text(1, "axis") + number(3, 1) + number(20, 2))
        let indices = message(5, number(1, 1) + number(2, 7) + message(7, varint(index)) + text(8, "i"))
        let nodes = node(["x", "i"], "g", "Gather", axis) + node(["h", "g"], "y", "Add") + node(["y"], "hn", "Identity")
        let inputs = message(11, tensor("x", [1, count])) + message(11, tensor("h", [1, 1]))
        let outputs = message(12, tensor("y", [1, 1])) + message(12, tensor("hn", [1, 1]))
        return number(1, 8) + message(7, nodes + text(2, "g") + indices + inputs + outputs) + message(8, number(2, 13))
    }

    /// `y = x[x[0]]` for each row of `x`, of shape [windows, count]: a row whose first value is no index fails the whole run.
    public static func picky(of count: UInt64) -> [UInt8] {
        func node(_ inputs: [String], _ output: String, _ operation: String, _ more: [UInt8] = []) -> [UInt8] {
            message(1, inputs.flatMap { text(1, $0) } + text(2, output) + text(4, operation) + more)
        }
        func attribute(_ name: String, _ value: UInt64) -> [UInt8] { message(5, text(1, name) + number(3, value) + number(20, 2)) }
        let indices = message(5, number(1, 1) + number(2, 7) + message(7, varint(0)) + text(8, "i"))
        let nodes = node(["x", "i"], "g", "Gather", attribute("axis", 1)) + node(["g"], "k", "Cast", attribute("to", 7))
            + node(["x", "k"], "y", "GatherElements", attribute("axis", 1))
        let ends = message(11, tensor("x", [0, count])) + message(12, tensor("y", [0, 1]))
        return number(1, 8) + message(7, nodes + text(2, "g") + indices + ends) + message(8, number(2, 13))
    }

    /// `y = x[index]`, from `x` of shape [1, count]. With an index that is out of bounds it loads, since nothing looks before it runs, and
    /// fails when it runs.
    /// - Parameter takesMany: whether the first axis is open, for several windows in one run.
    public static func pick(_ index: UInt64, of count: UInt64, takesMany: Bool = false) -> [UInt8] {
        let rows: UInt64 = takesMany ? 0 : 1
        let axis = text(1, "axis") + number(3, 1) + number(20, 2)
        let node = text(1, "x") + text(1, "i") + text(2, "y") + text(4, "Gather") + message(5, axis)
        let indices = number(1, 1) + number(2, 7) + message(7, varint(index)) + text(8, "i")
        let graph = message(1, node) + text(2, "g") + message(5, indices) + message(11, tensor("x", [rows, count])) + message(12, tensor("y", [rows, 1]))
        return number(1, 8) + message(7, graph) + message(8, number(2, 13))
    }
}
