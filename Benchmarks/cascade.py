#!/usr/bin/env python3
"""The cascade over an hour of speech, music and silence: the keyword spotter alone, and asleep behind voice activity.

A real jouled runs `keyword` over setup's hour twice, faster than it plays: alone, and behind `silero-vad`. What counts is the CPU time of
the daemon (all its threads, /proc/PID/task/*/schedstat), and the detections: a word's probability reaches the threshold, and the same
word is not taken again within the refractory time. Status 1 if a goal is missed:

  detections   those of the ungated run, but for 1 % (missed and new ones both count)
  CPU time     at most 0.35 of the ungated run's
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from processes import RATE, Daemon, Files

THRESHOLD, REFRACTORY_S = 0.9, 1.0
#: Of the same word, this far apart, are one detection in both runs.
SAME_S = 0.25
CHANGED, SHARE = 0.01, 0.35


@dataclass(frozen=True)
class Detection:
    second: float
    word: str


@dataclass
class Run:
    """What a run answered and cost."""

    detections: list[Detection]
    windows: int
    cpu_s: float


def detections(lines: list[dict[str, object]], threshold: float) -> list[Detection]:
    """Onsets: a word at the threshold that was not there, by its own account, within the refractory time."""
    last: dict[str, float] = {}
    found = []
    for line in lines:
        second = float(str(line["end"])) / RATE
        for word, value in line.items():
            if word in ("end", "variant", "joules", "none", "padded") or not isinstance(value, float) or value < threshold:
                continue
            if second - last.get(word, -1e9) > REFRACTORY_S:
                found.append(Detection(second, word))
            last[word] = second
    return found


def differences(one: list[Detection], other: list[Detection]) -> tuple[list[Detection], list[Detection]]:
    """(only in `one`, only in `other`)."""
    left = list(other)
    missing = []
    for detection in one:
        twin = next((d for d in left if d.word == detection.word and abs(d.second - detection.second) <= SAME_S), None)
        if twin is None:
            missing.append(detection)
        else:
            left.remove(twin)
    return missing, left


def stream(daemon: Daemon, joulectl: Path, file: Path, gate: list[str], threshold: float) -> Run:
    """The whole file as fast as the daemon takes it."""
    before = daemon.cpu()
    command = [joulectl, "stream", "keyword", "-q", "--socket", daemon.socket, *gate]
    with file.open("rb") as samples, subprocess.Popen(command, stdin=samples, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        lines = [line for line in map(json.loads, client.stdout) if "juliet" in line]
    if client.returncode != 0:
        raise SystemExit(f"cascade: {' '.join(map(str, command))} ended with status {client.returncode}")
    return Run(detections(lines, threshold), len(lines), daemon.cpu() - before)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=Path, required=True, help="directory with jouled and joulectl (a release build)")
    parser.add_argument("--deps", type=Path, required=True, help="the .deps directory, filled by setup.sh, with bundles")
    parser.add_argument("--signal", default="hour", help="name below signals/: hour (made if absent) or five-minutes")
    parser.add_argument("--threshold", type=float, default=THRESHOLD, help=f"of a word's probability (default: {THRESHOLD})")
    parser.add_argument("--ungated", action="store_true", help="only the run without a gate")
    arguments = parser.parse_args()
    deps = arguments.deps.resolve()
    file = deps / "signals" / f"{arguments.signal}.s16le"
    if arguments.signal == "hour":
        # In set-up's Python and from its sources: always the hour that belongs to this tree.
        hour = Path(__file__).parent.parent / "setup/hour.py"
        subprocess.run([deps / "venv/bin/python", hour, "--deps", deps], check=True)
    summary = json.loads(file.with_suffix(".json").read_text())
    scratch = tempfile.TemporaryDirectory(prefix="jouled-cascade-")
    joulectl = arguments.bin.resolve() / "joulectl"
    daemon = Daemon(arguments.bin.resolve() / "jouled", Files(deps), Path(scratch.name))
    try:
        alone = stream(daemon, joulectl, file, [], arguments.threshold)
        placed = summary["words"]
        heard = sum(any(d.word == w["word"] and w["begin"] <= d.second * RATE <= w["end"] + RATE for d in alone.detections) for w in placed)
        print(f"{summary['samples'] / RATE:.0f} s, {summary['speech_share']:.1%} speech, {len(placed)} words placed")
        print(f"  alone       {alone.windows:6} windows  {alone.cpu_s:7.2f} s CPU  {len(alone.detections):4} detections, {heard} of the placed words")
        if arguments.ungated:
            return 0
        gated = stream(daemon, joulectl, file, ["--gate", "silero-vad"], arguments.threshold)
    finally:
        daemon.stop()
        scratch.cleanup()
    missing, new = differences(alone.detections, gated.detections)
    changed = (len(missing) + len(new)) / max(1, len(alone.detections))
    share = gated.cpu_s / alone.cpu_s
    print(f"  behind VAD  {gated.windows:6} windows  {gated.cpu_s:7.2f} s CPU  {len(gated.detections):4} detections")
    for name, lost in (("missing", missing), ("new", new)):
        for detection in lost:
            print(f"    {name}: {detection.word} at {detection.second:.2f} s")
    ok = [changed <= CHANGED, share <= SHARE]
    print(f"  detections changed {changed:.2%}, goal {CHANGED:.0%}: {'met' if ok[0] else 'MISSED'}")
    print(f"  CPU time {share:.3f} of the ungated run's, goal {SHARE}: {'met' if ok[1] else 'MISSED'}")
    return 0 if all(ok) else 1


if __name__ == "__main__":
    sys.exit(main())
