"""The clients of the daemon that is measured. Their own CPU time counts for nobody."""
from __future__ import annotations

import selectors
import socket
import struct
import threading
import time
from dataclasses import dataclass

from processes import RATE, Daemon

HEADER = struct.Struct("<IHHQQ")
DATA, RESULT = 1, 16
CHUNK = 320  # samples of a piece: 20 ms


@dataclass
class Figures:
    cpu: float  # CPU seconds per second of audio and stream
    wakes: float  # per second, of all streams together
    late_p99_ms: float  # results beyond the tolerance
    waited: float  # share of the time in which other programs had the daemon's CPU
    coalescing: int  # windows per wake-up that the daemon chose


def frame(index: int, samples: bytes) -> bytes:
    return HEADER.pack(len(samples), DATA, 0, index, time.monotonic_ns()) + samples


class Reader(threading.Thread):
    """Takes the results of all connections; looks into those of the first and the last."""

    def __init__(self, connections: list[socket.socket], tolerance_ms: int) -> None:
        super().__init__(daemon=True)
        self.connections, self.tolerance = connections, tolerance_ms / 1000
        self.late: list[float] = []
        self.sent_at: dict[int, float] = {}
        self.measures_from = float("inf")
        self.buffers = {connections[0]: b"", connections[-1]: b""}

    def run(self) -> None:
        with selectors.DefaultSelector() as selector:
            for connection in self.connections:
                selector.register(connection, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select():
                    try:
                        piece = key.fileobj.recv(65536)  # type: ignore[union-attr]
                    except OSError:
                        piece = b""
                    if not piece:
                        selector.unregister(key.fileobj)
                    elif key.fileobj in self.buffers:
                        self.take(key.fileobj, piece, time.monotonic())  # type: ignore[arg-type]

    def take(self, connection: socket.socket, piece: bytes, arrived: float) -> None:
        buffer = self.buffers[connection] + piece
        while len(buffer) >= HEADER.size and len(buffer) >= HEADER.size + HEADER.unpack_from(buffer)[0]:
            length, kind, _, index, _ = HEADER.unpack_from(buffer)
            buffer = buffer[HEADER.size + length:]
            # The piece that completed the window.
            sent = self.sent_at.get(-(-index // CHUNK) * CHUNK)
            if kind == RESULT and sent and sent >= self.measures_from:
                self.late.append(max(0.0, arrived - sent - self.tolerance))
        self.buffers[connection] = buffer


def feed(daemon: Daemon, audio: bytes, seconds: float, tolerance_ms: int, streams: int, warm: float = 1.5) -> Figures:
    """Streams audio at its own pace, in pieces of 20 ms, and measures the daemon after a while of getting going."""
    connections = [daemon.open(tolerance_ms) for _ in range(streams)]
    reader = Reader(connections, tolerance_ms)
    reader.start()
    start = time.monotonic()
    index = 0
    mark: tuple[float, int, float, float] | None = None
    while (elapsed := index / RATE) < seconds + warm:
        offset = index * 2 % (len(audio) - CHUNK * 2)
        data = frame(index, audio[offset:offset + CHUNK * 2])
        index += CHUNK
        reader.sent_at[index] = time.monotonic()
        for connection in connections:
            connection.sendall(data)
        if mark is None and elapsed >= warm:
            mark = (daemon.cpu(), daemon.wakes(), time.monotonic(), daemon.waited())
            reader.measures_from = mark[2]
        pause = start + index / RATE - time.monotonic()
        if pause > 0:
            time.sleep(pause)
    assert mark is not None
    span = time.monotonic() - mark[2]
    figures = Figures((daemon.cpu() - mark[0]) / span / streams, (daemon.wakes() - mark[1]) / span, 0, (daemon.waited() - mark[3]) / span, daemon.coalescing())
    time.sleep(tolerance_ms / 1000 + 0.1)
    late = sorted(reader.late)
    if not late:
        raise SystemExit(f"{streams} streams at {tolerance_ms} ms: no results")
    figures.late_p99_ms = late[int(len(late) * 0.99)] * 1000
    for connection in connections:
        connection.shutdown(socket.SHUT_RDWR)
    reader.join()
    for connection in connections:
        connection.close()
    time.sleep(0.2)
    return figures


def push(daemon: Daemon, audio: bytes, windows: int) -> list[float]:
    """Sends so many windows at once and returns their probabilities."""
    connection = daemon.open(1000)
    sender = threading.Thread(target=lambda: [
        connection.sendall(frame(n * 512, audio[n * 1024:(n + 1) * 1024])) for n in range(windows)])
    sender.start()
    probabilities: list[float] = []
    buffer = b""
    while len(probabilities) < windows:
        piece = connection.recv(65536)
        if not piece:
            raise SystemExit("jouled closed the stream")
        buffer += piece
        while len(buffer) >= HEADER.size and len(buffer) >= HEADER.size + HEADER.unpack_from(buffer)[0]:
            length, kind = HEADER.unpack_from(buffer)[:2]
            if kind == RESULT:
                probabilities.append(struct.unpack_from("<f", buffer, HEADER.size + 16)[0])
            buffer = buffer[HEADER.size + length:]
    sender.join()
    connection.close()
    return probabilities


def first_result_ms(daemon: Daemon, audio: bytes) -> float:
    """From the call to Open to the first result, with the whole first window sent as soon as the stream is open."""
    begun = time.monotonic()
    connection = daemon.open(32)
    connection.sendall(frame(0, audio[:1024]))
    kind, buffer = 0, b""
    while kind != RESULT:
        piece = connection.recv(65536)
        if not piece:
            raise SystemExit("jouled closed the stream")
        buffer += piece
        while len(buffer) >= HEADER.size and len(buffer) >= HEADER.size + HEADER.unpack_from(buffer)[0] and kind != RESULT:
            length, kind = HEADER.unpack_from(buffer)[:2]
            buffer = buffer[HEADER.size + length:]
    taken = (time.monotonic() - begun) * 1000
    connection.close()
    return taken
