#!/usr/bin/env python3
"""Streams raw samples from standard input through a model of jouled; prints one JSON line per window.

Standard library only:  arecord -q -t raw -f S16_LE -r 16000 | ./stream.py silero-vad 16000
"""
import json
import socket
import struct
import sys
import threading
import time

HEADER = struct.Struct("<IHHQQ")
DATA, END, RESULT, NOTICE, ERROR = 1, 4, 16, 17, 18


def receive(connection: socket.socket, count: int) -> bytes:
    """Exactly `count` bytes, or fewer if the connection ends."""
    parts = bytearray()
    while len(parts) < count and (part := connection.recv(count - len(parts))):
        parts += part
    return bytes(parts)


def call(connection: socket.socket, method: str, parameters: dict, **flags: bool) -> dict:
    """One Varlink call: JSON and a NUL each way."""
    connection.sendall(json.dumps({"method": method, "parameters": parameters, **flags}).encode() + b"\0")
    message = bytearray()
    # Byte by byte: after the NUL of an upgrade's reply come frames, which are not ours to take here.
    while (byte := connection.recv(1)) not in (b"\0", b""):
        message += byte
    reply = json.loads(message or b'{"error": "the connection was closed"}')
    if "error" in reply:
        sys.exit(f"{method}: {reply['error']} {reply.get('parameters', '')}")
    return reply["parameters"]


def send(connection: socket.socket, sample_bytes: int) -> None:
    index = 0
    rest = b""
    while piece := sys.stdin.buffer.read1(65536):
        samples = rest + piece
        whole = len(samples) - len(samples) % sample_bytes
        samples, rest = samples[:whole], samples[whole:]
        if samples:
            connection.sendall(HEADER.pack(len(samples), DATA, 0, index, time.monotonic_ns()) + samples)
            index += len(samples) // sample_bytes
    connection.sendall(HEADER.pack(0, END, 0, index, time.monotonic_ns()))


def main() -> None:
    if len(sys.argv) < 3:
        sys.exit("usage: stream.py MODEL RATE_HZ [s16le|f32le] [SOCKET]")
    model, rate = sys.argv[1], int(sys.argv[2])
    sample_format = sys.argv[3] if len(sys.argv) > 3 else "s16le"
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(sys.argv[4] if len(sys.argv) > 4 else "/run/jouled/jouled.sock")
    opened = call(
        connection, "io.jouled.Streams.Open", {"model": model, "sampleRateHz": rate, "format": sample_format}, upgrade=True)
    contract = opened["contract"]
    labels = [label for output in contract["outputs"] for label in output["labels"]]
    sample_bytes = {"s16le": 2, "f32le": 4}[sample_format] * contract["channels"]
    threading.Thread(target=send, args=(connection, sample_bytes), daemon=True).start()
    while len(header := receive(connection, HEADER.size)) == HEADER.size:
        length, kind, _, end, _ = HEADER.unpack(header)
        payload = receive(connection, length)
        if kind == RESULT:
            variant, _, count, joules = struct.unpack_from("<HHId", payload)
            values = struct.unpack_from(f"<{count}f", payload, 16)
            print(json.dumps({"end": end, "variant": contract["variants"][variant], "joules": joules, **dict(zip(labels, values))}))
        elif kind == ERROR:
            sys.exit(json.loads(payload)["message"])
        elif kind == NOTICE:
            print(json.loads(payload)["message"], file=sys.stderr)


if __name__ == "__main__":
    main()
