import Units

/// How full a client's socket was when it was read, estimated from what was read.
///
/// The kernel charges a sender for each message with its bookkeeping, so that many small frames fill a socket long
/// before their bytes would. A socket that fills up between two reads holds the client up, or makes it drop samples.
struct SocketLoad {
    /// Bytes, frames and signal time that one read took.
    let bytes: Int
    let frames: UInt64
    let time: Seconds

    /// Linux's default limit of what a Unix socket may hold (net.core.wmem_default); clients may have set more.
    private static let capacity = 212_992.0
    /// What the kernel charges for a message beside its bytes: a socket buffer's bookkeeping, rounded up.
    private static let overhead = 768.0

    /// Share of the socket that was in use, 0 to 1 or a little more.
    private var share: Double { (Double(bytes) + Double(frames) * Self.overhead) / Self.capacity }

    /// True if the client was, or was about to be, held up.
    var isNearlyFull: Bool { share >= 0.5 }

    /// Time until the socket is half full again, if the client keeps its pace.
    var timeToHalfFull: Seconds { share > 0 ? time * (0.5 / share) : Seconds(.infinity) }
}
