#!/usr/bin/env python3
"""What jouled burns around the model, beside a bare C loop, sherpa-onnx and silero-vad's own package over the same audio, in one run.

Only ratios mean something on a shared machine: each case and what stands beside it run by turns, `--repeats` times, and the median of the
ratios counts. Every figure is printed beside its goal; what falls short is named, and the exit status is 1. Takes some 10 minutes.
"""
from __future__ import annotations

import argparse
import os
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

from processes import DRIVER, TOP, Daemon, Files, Loop, Sherpa, SileroPackage
from report import Check, Report, Row
from streams import Figures, feed, first_result_ms, frame, push

STREAMS = (1, 8, 64)
TOLERANCES_MS = (32, 100, 1000)
WINDOW_MS = 32
# Streams after the first, for the memory of each.
FURTHER = 16


def median(values: list[float]) -> float:
    return statistics.median(values)


def streaming(daemon: Daemon, loop: Loop, files: Files, seconds: float, repeats: int, report: Report) -> dict[int, list[float]]:
    """Streams at every tolerance beside the C loop.
    Returns jouled's CPU time of one stream by tolerance, for comparison with others."""
    alone: dict[int, list[float]] = {}
    for streams in STREAMS:
        ours: dict[int, list[Figures]] = {tolerance: [] for tolerance in TOLERANCES_MS}
        theirs: dict[str, list[float]] = {"paced": [], "coalesced": [], "hot": []}
        for _ in range(repeats):
            ours[32].append(feed(daemon, files.audio, seconds, 32, streams))
            theirs["paced"].append(loop.cpu(seconds, WINDOW_MS, streams))
            ours[100].append(feed(daemon, files.audio, seconds, 100, streams))
            ours[1000].append(feed(daemon, files.audio, seconds, 1000, streams))
            # As many windows a wake-up as the daemon chose.
            coalesced_ms = ours[1000][-1].coalescing * WINDOW_MS
            theirs["coalesced"].append(loop.cpu(seconds, coalesced_ms, streams))
            theirs["hot"].append(loop.cpu(seconds, 0, streams))
        for name, text in (("paced", "C loop, every 32 ms"), ("coalesced", f"C loop, every {coalesced_ms} ms"), ("hot", "C loop, hot")):
            report.row(Row(streams, text, median(theirs[name]) * 1e6))
        for tolerance, figures in ours.items():
            report.row(Row(
                streams, f"jouled, tolerance {tolerance} ms", median([f.cpu for f in figures]) * 1e6,
                median([f.wakes for f in figures]), median([f.late_p99_ms for f in figures]),
                median([f.waited for f in figures])))

        def ratio(tolerance: int, beside: str) -> float:
            return median([f.cpu / other for f, other in zip(ours[tolerance], theirs[beside])])

        if streams == 1:
            alone = {tolerance: [f.cpu for f in figures] for tolerance, figures in ours.items()}
            report.check(Check("1 stream, 1 s: CPU beside the C loop paced at 32 ms", ratio(1000, "paced"), 0.35))
            report.check(Check("1 stream, 1 s: CPU beside the C loop with the same coalescing", ratio(1000, "coalesced"), 1.15))
            report.check(Check("1 stream, 32 ms: CPU beside the C loop paced at 32 ms", ratio(32, "paced"), 1.25))
        if streams == 64:
            report.check(Check("64 streams, 1 s: CPU beside the hot C loop", ratio(1000, "hot"), 1.15))
            report.check(Check("64 streams, 1 s: wake-ups of all", median([f.wakes for f in ours[1000]]), 15, "/s"))
            report.check(Check("64 streams, 1 s: p99 of lateness beyond tolerance", median([f.late_p99_ms for f in ours[1000]]), 5, "ms"))
    return alone


def beside(other: Sherpa | SileroPackage, name: str, daemon: Daemon, files: Files, seconds: float, repeats: int, report: Report) -> None:
    """CPU time beside another detector fed piece by piece, and whether both call the same windows speech."""
    for tolerance, piece_ms in ((32, 32), (1000, 992)):
        ratios, cpus = [], []
        for _ in range(repeats):
            ours = feed(daemon, files.audio, seconds, tolerance, 1).cpu
            cpus.append(other.run(seconds, piece_ms, paced=True)["cpu"])
            ratios.append(ours / cpus[-1])
        report.row(Row(1, f"{name}, pieces of {piece_ms} ms", median(cpus) * 1e6))
        report.check(Check(f"1 stream, {tolerance} ms: CPU beside {name}", median(ratios), 0.5))
    theirs = other.run(len(files.audio) / 2 / 16000, 32, paced=False)["speech"]
    ours = other.verdicts(push(daemon, files.audio, len(theirs)))
    same = sum(a == b for a, b in zip(ours, theirs)) / len(theirs)
    report.check(Check(f"windows on which {name} and jouled agree, of {len(theirs)}", same, 0.99, at_least=True))


def quiet(binary: Path, files: Files, folder: Path, report: Report) -> None:
    """Memory and wake-ups before, with and after streams."""
    daemon = Daemon(binary, files, folder, keep="1s")
    try:
        time.sleep(1)
        idle = daemon.pss_mb()
        before = daemon.wakes()
        time.sleep(20)
        report.check(Check("idle: wake-ups over 20 s", (daemon.wakes() - before) / 20, 0.2, "/s"))
        report.check(Check("idle: PSS", idle, 12, "MB"))
        connections: list[socket.socket] = []
        indices: dict[socket.socket, int] = {}
        figures = []
        for count in (1, FURTHER):
            connections += [daemon.open(100) for _ in range(count)]
            for number in range(100):
                for connection in connections:
                    index = indices.get(connection, 0)
                    connection.sendall(frame(index, files.audio[number * 640:(number + 1) * 640]))
                    indices[connection] = index + 320
                time.sleep(0.02)
            time.sleep(0.3)
            figures.append(daemon.pss_mb())
        report.check(Check("with the first stream: PSS", figures[0], 40, "MB"))
        report.check(Check("each further stream: PSS", (figures[1] - figures[0]) / FURTHER, 0.4, "MB"))
        for connection in connections:
            connection.close()
        time.sleep(3)
        report.check(Check("after the last stream: PSS above idle", daemon.pss_mb() - idle, 3, "MB"))
    finally:
        daemon.stop()


def beginnings(binary: Path, files: Files, folder: Path, repeats: int, report: Report) -> None:
    ready, first = [], []
    for _ in range(repeats):
        daemon = Daemon(binary, files, folder)
        try:
            ready.append(daemon.ready_ms)
            first.append(first_result_ms(daemon, files.audio))
        finally:
            daemon.stop()
    report.check(Check("start to READY", median(ready), 100, "ms"))
    report.check(Check("Open to the first result, nothing loaded, beyond the window itself", median(first), 60, "ms"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jouled", type=Path, required=True)
    parser.add_argument("--deps", type=Path, default=TOP / ".deps")
    parser.add_argument("--python", type=Path, help="a Python that has sherpa-onnx; without it that comparison is left out and counts as short of its goal")
    parser.add_argument("--torch", type=Path, help="a Python that has torch, for silero-vad's own package; without it as for --python")
    parser.add_argument("--seconds", type=float, default=6.72, help="audio of each measurement: whole periods of 30 windows")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--docs", type=Path, help="a folder whose performance.md and performance.svg get the results")
    arguments = parser.parse_args()
    files = Files(arguments.deps)
    os.sched_setaffinity(0, {DRIVER})
    report = Report()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="jouled-bench-") as name:
        folder = Path(name)
        beginnings(arguments.jouled, files, folder, 7, report)
        quiet(arguments.jouled, files, folder, report)
        loop = Loop(files, folder)
        daemon = Daemon(arguments.jouled, files, folder)
        try:
            streaming(daemon, loop, files, arguments.seconds, arguments.repeats, report)
            if arguments.python:
                beside(Sherpa(files, arguments.python, folder), "sherpa-onnx", daemon, files, arguments.seconds, arguments.repeats, report)
            else:
                report.check(Check("beside sherpa-onnx: not measured (--python)", float("nan"), 0.5))
            if arguments.torch:
                beside(SileroPackage(files, arguments.torch, folder), "silero-vad's package", daemon, files, arguments.seconds, arguments.repeats, report)
            else:
                report.check(Check("beside silero-vad's package: not measured (--torch)", float("nan"), 0.5))
        finally:
            daemon.stop()
    print(f"\nin {(time.monotonic() - begun) / 60:.1f} minutes")
    if arguments.docs:
        report.write(arguments.docs)
    sys.exit(report.verdict())


if __name__ == "__main__":
    main()
