#!/usr/bin/env python3
"""What jouled burns around the model, beside a bare C loop over the same library, model and audio, in one run.

Only ratios mean something on a shared machine. Each case runs the daemon and its loop by turns, `--repeats` times, and the medians are
compared. The client of the daemon is this script (its CPU time is not counted).
"""
from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
HEADER = struct.Struct("<IHHQQ")
RATE, CHUNK = 16000, 320  # 20 ms


def build_loop(folder: Path) -> Path:
    binary = folder / "bare_loop"
    subprocess.run(
        ["clang", "-O2", "-I", TOP / "Sources/COnnxRuntime/include", "-o", binary, TOP / "Benchmarks/bare_loop.c", "-ldl"],
        check=True)
    return binary


def loop_cpu(binary: Path, deps: Path, seconds: float, period_ms: float, streams: int) -> float:
    output = subprocess.run(
        ["taskset", "-c", "0", binary, deps / "lib/libonnxruntime.so.1.32.0", deps / "bundles/silero-vad/1/fp32.onnx",
         deps / "signals/speech.s16le", str(seconds), str(period_ms), str(streams)],
        check=True, capture_output=True, text=True).stdout
    return float(json.loads(output)["cpu_per_audio_second"])


class Daemon:
    """A jouled of this run's own, pinned, without power limits."""

    def __init__(self, binary: Path, deps: Path, folder: Path) -> None:
        self.socket = folder / "jouled.sock"
        (folder / "policies").mkdir(exist_ok=True)
        (folder / "policies/unlimited.toml").write_text('kind = "unlimited"\n')
        (folder / "jouled.toml").write_text(
            f'[socket]\npath = "{self.socket}"\n[models]\ndirectory = "{deps}/bundles"\n'
            f'[runtime]\nlibrary = "{deps}/lib/libonnxruntime.so.1.32.0"\n[state]\ndirectory = "{folder}"\n'
            f'[policy]\ndirectory = "{folder}/policies"\nactive = "unlimited"\n[power]\nsource = "virtual"\npoll = "1h"\n'
            '[limits]\nstreams = 128\n')
        self.process = subprocess.Popen(
            ["taskset", "-c", "0", binary, "-c", folder / "jouled.toml", "--stderr"], stderr=open(folder / "log", "w"))
        while not self.socket.exists():
            if self.process.poll() is not None:
                sys.exit((folder / "log").read_text())
            time.sleep(0.01)
        self.tasks = Path(f"/proc/{self.process.pid}/task")

    def cpu(self) -> float:
        return sum(int((task / "schedstat").read_text().split()[0]) for task in self.tasks.iterdir()) / 1e9

    def switches(self) -> int:
        return sum(
            int(line.split()[1]) for task in self.tasks.iterdir()
            for line in (task / "status").read_text().splitlines() if line.startswith("voluntary_ctxt"))

    def pss_kb(self) -> int:
        text = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))

    def open(self, tolerance_ms: int) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self.socket))
        call = {"method": "io.jouled.Streams.Open", "upgrade": True, "parameters": {
            "model": "silero-vad", "sampleRateHz": RATE, "latencyToleranceMs": tolerance_ms, "variant": "fp32"}}
        connection.sendall(json.dumps(call).encode() + b"\0")
        reply = b""
        while not reply.endswith(b"\0"):
            reply += connection.recv(1)
        if b'"error"' in reply:
            sys.exit(reply.decode())
        return connection

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def stream_cpu(daemon: Daemon, audio: bytes, seconds: float, tolerance_ms: int, streams: int) -> dict[str, float]:
    """CPU per audio second and stream, wake-ups per second, and lateness beyond the tolerance."""
    connections = [daemon.open(tolerance_ms) for _ in range(streams)]
    late: list[float] = []
    sent_at: dict[int, float] = {}
    stop = threading.Event()

    def read(connection: socket.socket, measures: bool) -> None:
        buffer = b""
        while not stop.is_set():
            try:
                piece = connection.recv(65536)
            except OSError:
                return
            if not piece:
                return
            arrived = time.monotonic()
            buffer += piece
            while len(buffer) >= 24 and len(buffer) >= 24 + HEADER.unpack_from(buffer)[0]:
                length, kind, _, index, _ = HEADER.unpack_from(buffer)
                buffer = buffer[24 + length:]
                if measures and kind == 16:
                    due = sent_at.get(-(-index // CHUNK) * CHUNK)
                    if due:
                        late.append(max(0.0, arrived - due - tolerance_ms / 1000))

    readers = [threading.Thread(target=read, args=(c, i == 0), daemon=True) for i, c in enumerate(connections)]
    for reader in readers:
        reader.start()
    start = time.monotonic()
    index = 0
    mark: tuple[float, int, float] | None = None
    warm = 2.0
    while (elapsed := index / RATE) < seconds + warm:
        offset = index * 2 % (len(audio) - CHUNK * 2)
        frame = HEADER.pack(CHUNK * 2, 1, 0, index, time.monotonic_ns()) + audio[offset:offset + CHUNK * 2]
        for connection in connections:
            connection.sendall(frame)
        index += CHUNK
        sent_at[index] = time.monotonic()
        if mark is None and elapsed >= warm:
            mark = (daemon.cpu(), daemon.switches(), time.monotonic())
        pause = start + index / RATE - time.monotonic()
        if pause > 0:
            time.sleep(pause)
    assert mark is not None
    span = time.monotonic() - mark[2]
    result = {
        "cpu": (daemon.cpu() - mark[0]) / span / streams, "wakes": (daemon.switches() - mark[1]) / span,
        "late_p99_ms": sorted(late)[int(len(late) * 0.99)] * 1000 if late else 0.0, "pss_kb": daemon.pss_kb(),
    }
    stop.set()
    for connection in connections:
        connection.close()
    time.sleep(0.3)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jouled", type=Path, required=True)
    parser.add_argument("--deps", type=Path, default=TOP / ".deps")
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    deps = arguments.deps.resolve()
    audio = (deps / "signals/speech.s16le").read_bytes()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(prefix="jouled-bench-") as name:
        folder = Path(name)
        loop = build_loop(folder)
        # (streams, tolerance, period of the loop beside it, goal for the ratio)
        cases = [(1, 32, 32, 1.25), (1, 1000, 32, 0.35), (1, 1000, 512, 1.15), (8, 1000, 0, None), (64, 1000, 0, 1.15)]
        daemon = Daemon(arguments.jouled, deps, folder)
        idle = daemon.pss_kb()
        failed = []
        print(f"{'streams':>7} {'tolerance':>9} {'beside C loop':>14} {'jouled us':>10} {'loop us':>8} {'ratio':>6} {'goal':>5} {'wakes/s':>8} {'late p99':>9} {'PSS MB':>7}")
        try:
            for streams, tolerance, period, goal in cases:
                ours, theirs, results = [], [], {}
                for _ in range(arguments.repeats):
                    results = stream_cpu(daemon, audio, arguments.seconds, tolerance, streams)
                    ours.append(results["cpu"])
                    theirs.append(loop_cpu(loop, deps, arguments.seconds, period, streams if period == 0 else 1))
                ratio = statistics.median(ours) / statistics.median(theirs)
                beside = "hot" if period == 0 else f"every {period} ms"
                print(f"{streams:>7} {tolerance:>7}ms {beside:>14} {statistics.median(ours) * 1e6:>10.0f} {statistics.median(theirs) * 1e6:>8.0f} "
                      f"{ratio:>6.2f} {goal or '':>5} {results['wakes']:>8.1f} {results['late_p99_ms']:>6.1f} ms {results['pss_kb'] / 1024:>7.1f}", flush=True)
                if goal and ratio > goal:
                    failed.append(f"{streams} streams at {tolerance} ms beside the loop {beside}: {ratio:.2f} > {goal}")
        finally:
            daemon.stop()
        print(f"idle PSS {idle / 1024:.1f} MB")
        for line in failed:
            print("short of its goal:", line)
        sys.exit(bool(failed))


if __name__ == "__main__":
    main()
