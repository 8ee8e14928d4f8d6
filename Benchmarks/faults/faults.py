#!/usr/bin/env python3
"""What faults cost the streams beside them: windows lost, and how their p99 latency moves.

usage: faults.py JOULED DEPS [--seconds 6] [--rounds 3] [FAULT...]

Eight streams of speech run at their own pace against one daemon. For each fault, calm and faulty phases take turns in the same run, and the
latency of a window (from its last sample sent to its result received) is counted to the phase that its sample was sent in. Only ratios mean
something on a shared machine; how far two halves of the calm phases are apart says how much of a ratio is noise. Exit status 1 if a window
is lost, comes twice, or the daemon ends.
"""
from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scene import CHUNK, Daemon, Stream, answer_every_window, bad_model, percentile

STREAMS = 8


class Fault:
    """Something that goes wrong for a while. `step` is called every few milliseconds while it does."""

    # What the daemon's journal says of it, so that a fault which did not happen is not taken for one that costs nothing.
    tells = ""

    def __init__(self, daemon: Daemon, deps: Path) -> None:
        self.daemon, self.deps, self.connections, self.last = daemon, deps, [], 0.0

    def start(self) -> None: ...
    def step(self, now: float) -> None: ...

    def stop(self) -> None:
        for connection in self.connections:
            connection.close()
        self.connections = []

    def every(self, seconds: float, now: float) -> bool:
        if now - self.last < seconds:
            return False
        self.last = now
        return True


class SlowReader(Fault):
    """four clients that never read their results"""

    def start(self) -> None:
        self.connections = [Stream(self.daemon, "silero-vad") for _ in range(4)]

    def step(self, now: float) -> None:
        for stream in self.connections:
            stream.send_due(now)


class HalfFrame(Fault):
    """eight clients that stop in the middle of a frame"""

    def start(self) -> None:
        self.connections = [Stream(self.daemon, "silero-vad") for _ in range(8)]
        for stream in self.connections:
            stream.socket.send(stream.frame()[:700])


class Noise(Fault):
    """clients that send noise, ten a second"""

    tells = "ended after 0 windows"

    def step(self, now: float) -> None:
        if self.every(0.1, now):
            self.stop()
            stream = Stream(self.daemon, "silero-vad")
            stream.socket.send(os.urandom(4096))
            self.connections = [stream]


class Descriptors(Fault):
    """no descriptor to spare while twenty clients come"""

    tells = "No new connections"

    def start(self) -> None:
        used = len(os.listdir(f"/proc/{self.daemon.process.pid}/fd"))
        subprocess.run(["prlimit", "--pid", str(self.daemon.process.pid), f"--nofile={used + 6}:4096"], check=True)
        self.connections = [self.daemon.connect() for _ in range(20)]

    def stop(self) -> None:
        super().stop()
        subprocess.run(["prlimit", "--pid", str(self.daemon.process.pid), "--nofile=1024:4096"], check=True)


class Pressure(Fault):
    """memory is short, told every 0.2 s, with idle streams to unload"""

    tells = "Memory is short"

    def start(self) -> None:
        self.connections = [Stream(self.daemon, "ecg-rhythm", rate=100, form="f32le") for _ in range(4)]

    def step(self, now: float) -> None:
        if self.every(0.2, now):
            pipe = os.open(self.daemon.pressure, os.O_WRONLY | os.O_NONBLOCK)
            os.write(pipe, b"x")
            os.close(pipe)


class NoSpace(Fault):
    """no space left for state"""

    tells = "No space left"

    def start(self) -> None:
        filler = os.open(self.daemon.state / "filler", os.O_WRONLY | os.O_CREAT)
        try:
            while True:
                os.write(filler, b"\0" * 4096)
        except OSError:
            os.close(filler)

    def stop(self) -> None:
        try:
            os.unlink(self.daemon.state / "filler")
        except FileNotFoundError:
            pass


class ReadOnly(Fault):
    """a state directory that is read-only"""

    tells = "Read-only file system"

    def start(self) -> None:
        subprocess.run(["mount", "-o", "remount,ro", self.daemon.state], check=True)

    def stop(self) -> None:
        subprocess.run(["mount", "-o", "remount,rw", self.daemon.state], check=True)


class BadModel(Fault):
    """a model that {}"""

    kind = ""

    def start(self) -> None:
        # Read again, its variants are forgiven and tried again: the fault is there in each round.
        self.daemon.call("io.jouled.Policy.Reload")
        self.connections = [Stream(self.daemon, f"bad-{self.kind}")]
        stream = self.connections[0]
        for _ in range(6):
            stream.socket.send(stream.frame(b"\xff\x7f" * CHUNK))


class Failing(BadModel):
    """a model that fails when it runs"""

    tells = "out of data bounds"

    kind = "fail"


class Looping(BadModel):
    """a model that hangs, and ends when it is told"""

    tells = "its run is ended"

    kind = "loop"


class Stuck(BadModel):
    """a model that hangs for good (its thread is given up)"""

    tells = "its thread is given up"

    kind = "kernel"


class Battery(Fault):
    """a battery taken out and put back, twice a second"""

    def step(self, now: float) -> None:
        if self.every(0.25, now):
            there, gone = self.daemon.sysfs / "class/power_supply/BAT0", self.daemon.sysfs / "BAT0"
            there.rename(gone) if there.exists() else gone.rename(there)

    def stop(self) -> None:
        gone = self.daemon.sysfs / "BAT0"
        if gone.exists():
            gone.rename(self.daemon.sysfs / "class/power_supply/BAT0")


class Plug(Fault):
    """a charger that flaps, five times a second"""

    tells = "External power is on"

    def step(self, now: float) -> None:
        if self.every(0.1, now):
            online = self.daemon.sysfs / "class/power_supply/AC/online"
            online.write_text("0\n" if online.read_text().strip() == "1" else "1\n")

    def stop(self) -> None:
        (self.daemon.sysfs / "class/power_supply/AC/online").write_text("0\n")


class Policy(Fault):
    """a policy that is set anew, ten times a second"""

    tells = "read again"

    def step(self, now: float) -> None:
        if self.every(0.1, now):
            self.daemon.call("io.jouled.Policy.Set", {"name": "unlimited"})


FAULTS = {
    kind.__name__.lower(): kind
    for kind in (SlowReader, HalfFrame, Noise, Descriptors, Pressure, NoSpace, ReadOnly, Failing, Looping, Stuck, Battery, Plug, Policy)
}


def run(streams: list[Stream], fault: Fault | None, seconds: float, phase: tuple) -> None:
    for stream in streams:
        stream.phase = phase
    end = time.monotonic() + seconds
    by_socket = {stream.socket: stream for stream in streams}
    if fault:
        fault.start()
    while (now := time.monotonic()) < end:
        for stream in streams:
            stream.send_due(now)
        if fault:
            fault.step(now)
        wait = max(0.0, min(min(stream.next_due for stream in streams) - time.monotonic(), 0.01))
        for ready in select.select(list(by_socket), [], [], wait)[0]:
            by_socket[ready].receive(time.monotonic())
    if fault:
        fault.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("jouled")
    parser.add_argument("deps", type=Path)
    parser.add_argument("--seconds", type=float, default=6, help="of a phase")
    parser.add_argument("--rounds", type=int, default=3, help="of a calm and a faulty phase, for each fault")
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=", ".join(FAULTS))
    arguments = parser.parse_intermixed_args()
    unknown = set(arguments.faults) - set(FAULTS)
    if unknown:
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    folder = Path(tempfile.mkdtemp(prefix="jouled-faults-"))
    models = folder / "models"
    for model in ("silero-vad", "ecg-rhythm"):
        shutil.copytree(arguments.deps / "bundles" / model, models / model)
        answer_every_window(models / model / "1")
    for kind in ("fail", "loop", "kernel"):
        bad_model(arguments.deps, models, kind)
    daemon = Daemon(arguments.jouled, arguments.deps, models, folder)
    failed = False
    try:
        print("| fault | others' p99, calm | with it | ratio | calm halves | longest | windows | lost |\n|---|---|---|---|---|---|---|---|")
        for name in arguments.faults or FAULTS:
            fault = FAULTS[name](daemon, arguments.deps)
            if isinstance(fault, (NoSpace, ReadOnly)) and not daemon.has_tmpfs:
                print(f"| {fault.__doc__} | skipped: needs root | | | | | | |")
                continue
            told = len(daemon.journal())
            streams = [Stream(daemon, "silero-vad", offset=index / STREAMS) for index in range(STREAMS)]
            run(streams, None, 2, ("warm",))
            for turn in range(arguments.rounds):
                run(streams, None, arguments.seconds, ("calm", turn))
                run(streams, fault, arguments.seconds, ("fault", turn))
            run(streams, None, 2, ("warm",))
            lost = sum(stream.finish() for stream in streams)

            def latencies(kind: str, turns: set[int] | None = None) -> list[float]:
                return [
                    latency for stream in streams for phase, latency in stream.latencies
                    if phase[0] == kind and (turns is None or phase[1] in turns)
                ]

            calm, faulty = percentile(latencies("calm"), 0.99), percentile(latencies("fault"), 0.99)
            half = arguments.rounds // 2
            parts = [percentile(latencies("calm", set(turns)), 0.99) for turns in (range(half), range(half, arguments.rounds)) if turns]
            noise = max(parts) / min(parts) - 1 if len(parts) > 1 else 0
            print(
                f"| {fault.__doc__} | {calm * 1e3:.1f} ms | {faulty * 1e3:.1f} ms | {faulty / calm:.3f} | {noise * 100:.1f} % apart | "
                f"{max(latencies('fault')) * 1e3:.0f} ms | {len(latencies('fault'))} | {lost} |", flush=True)
            failed |= lost > 0
            if fault.tells not in daemon.journal()[told:]:
                print(f"the journal has no '{fault.tells}': the fault did not happen", file=sys.stderr)
                failed = True
            if daemon.process.poll() is not None:
                print(f"jouled ended with {daemon.process.returncode}: {daemon.journal()[-2000:]}", file=sys.stderr)
                failed = True
                break
    finally:
        daemon.end()
    sys.exit(failed)


main()
