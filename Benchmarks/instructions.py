#!/usr/bin/env python3
"""Instructions that jouled's hot path takes around the model, counted by callgrind and held against a committed figure.

Runs the hotpath program on the real model and counts its stream thread: socket, frames, windows, tensors, results, timers. What ONNX
Runtime does inside is left out, for it differs from CPU to CPU. Counting begins when everything is loaded and warm, and the client waits
for each answer; so the count is the same from run to run, on a busy machine too, within some tenths of a percent.
"""
from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
LIMITS = TOP / "Benchmarks/instructions.json"
TOLERANCE = 0.10
# Wake-ups come in pairs of 16 and 15 windows, or of 1 and 2.
MANY, SINGLE = 6, 60


def thread_cost(file: Path) -> int:
    """Instructions of one thread's profile, without those inside of ONNX Runtime."""
    names: dict[str, str] = {}

    def name(text: str) -> str:
        number, _, rest = text.partition(" ")
        if rest:
            names[number] = rest
        return names[number]

    own, inside = 0, 0
    current = callee = ""
    is_call = False
    for line in file.open(errors="replace"):
        if line.startswith("ob="):
            current = callee = name(line[3:].strip())
        elif line.startswith("cob="):
            callee = name(line[4:].strip())
        elif line.startswith("fn="):
            callee = current
        elif line.startswith("calls="):
            is_call = True
        elif line[:1] in "0123456789+-*" and line[:1]:
            cost = int(line.split()[1]) if len(line.split()) > 1 else 0
            if not is_call:
                own += cost
            elif current.endswith("/hotpath") and "libonnxruntime" in callee:
                inside += cost
            if is_call:
                callee = current
            is_call = False
    return own - inside


class Hotpath:
    """The hotpath program under valgrind. Counting begins with `count`, when everything is loaded and warm."""

    def __init__(self, command: list[str | Path], folder: Path) -> None:
        self.out = folder / "out"
        self.process = subprocess.Popen(
            ["valgrind", "-q", "--tool=callgrind", "--separate-threads=yes", "--instr-atstart=no", f"--callgrind-out-file={self.out}", *command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.dumps = 0
        self.expect("ready")

    def expect(self, word: str) -> None:
        line = self.process.stdout.readline().strip()  # type: ignore[union-attr]
        if line != word:
            sys.exit(f"hotpath said '{line}' instead of '{word}' under valgrind (its messages are above)")

    def do(self, what: str, pairs: int) -> None:
        self.process.stdin.write(f"{what} {pairs}\n")  # type: ignore[union-attr]
        self.process.stdin.flush()  # type: ignore[union-attr]
        self.expect("done")

    def control(self, *arguments: str) -> None:
        subprocess.run(["callgrind_control", *arguments, str(self.process.pid)], check=True, stdout=subprocess.DEVNULL)

    def count(self, what: str, pairs: int) -> int:
        """Instructions of the stream's thread, the second one of the program, for so many pairs of wake-ups."""
        if self.dumps == 0:
            self.control("-i", "on")
        self.do(what, 1)
        self.control("-z")
        self.do(what, pairs)
        self.control("-d")
        self.dumps += 1
        return thread_cost(Path(f"{self.out}.{self.dumps}-02"))

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hotpath", type=Path, required=True)
    parser.add_argument("--deps", type=Path, default=TOP / ".deps")
    parser.add_argument("--write", action="store_true", help="commit to what is counted now")
    arguments = parser.parse_args()
    if shutil.which("valgrind") is None:
        print("*** SKIPPED: valgrind is missing; the instructions of the hot path were NOT counted (apt-get install valgrind) ***", file=sys.stderr)
        return
    command = [arguments.hotpath, arguments.deps / "lib/libonnxruntime.so.1.32.0", arguments.deps / "bundles/silero-vad/1/fp32.onnx"]
    with tempfile.TemporaryDirectory(prefix="jouled-callgrind-") as name:
        hotpath = Hotpath(command, Path(name))
        try:
            hotpath.do("many", 1)
            hotpath.do("single", 2)
            per_pair = hotpath.count("many", MANY) / MANY
            per_single = hotpath.count("single", SINGLE) / SINGLE
        finally:
            hotpath.stop()
    # 31 windows in 2 wake-ups, and 3 in 2.
    window = (per_pair - per_single) / (31 - 3)
    counted = {"window": round(window), "wakeup": round((per_single - 3 * window) / 2)}
    known = json.loads(LIMITS.read_text()) if LIMITS.exists() else {}
    machine = platform.machine()
    if arguments.write:
        LIMITS.write_text(json.dumps({**known, machine: counted}, indent=2) + "\n")
    limits = json.loads(LIMITS.read_text()).get(machine) if LIMITS.exists() else None
    if limits is None:
        print(f"*** SKIPPED: no figures are committed for {machine}; counted {counted} ***", file=sys.stderr)
        return
    failed = False
    for what, count in counted.items():
        change = count / limits[what] - 1
        failed |= change > TOLERANCE
        print(f"hot path: {count} instructions a {what} around the model, {limits[what]} committed ({change:+.1%})")
    if failed:
        sys.exit(f"the hot path takes more than {TOLERANCE:.0%} more instructions than committed; if that is meant: {Path(__file__).name} --write")


if __name__ == "__main__":
    main()
