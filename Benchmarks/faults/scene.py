"""A daemon of the fault runs' own, clients of it, and models that misbehave."""
from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
HEADER = struct.Struct("<IHHQQ")
DATA, END, RESULT, NOTICE, ERROR = 1, 4, 16, 17, 18
RATE, CHUNK = 16000, 512


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def answer_every_window(folder: Path) -> None:
    """Leaves a bundle cadence 1 only: on a machine that is busy otherwise, the plan would skip windows on purpose."""
    blocks = (folder / "model.toml").read_text().split("[[")
    (folder / "model.toml").write_text("[[".join(block for block in blocks if not block.startswith("cadence") or "multiple = 1\n" in block))


def bad_model(deps: Path, models: Path, kind: str) -> None:
    """A copy of the speech model whose best variant misbehaves on a window at full scale."""
    folder = models / f"bad-{kind}" / "1"
    shutil.copytree(deps / "bundles/silero-vad/1", folder)
    text = (folder / "model.toml").read_text().replace('name = "silero-vad"', f'name = "bad-{kind}"', 1)
    head, *variants = text.split("[[variant]]")
    victim = next(index for index, variant in enumerate(variants) if 'name = "fp32"' not in variant)
    name = re.search(r'file = "(.*)"', variants[victim])[1]
    subprocess.run(
        [deps / "venv/bin/python", TOP / "Tests/DaemonTests/Scripts/hang.py", folder / "fp32.onnx", folder / name, kind], check=True)
    content = (folder / name).read_bytes()
    for index, variant in enumerate(variants):
        variants[index] = re.sub(r"(?m)^quality = .*$", "quality = 1.0" if index == victim else "quality = 0.9", variant, count=1)
    variants[victim] = re.sub(r"(?m)^bytes = .*$", f"bytes = {len(content)}", variants[victim], count=1)
    variants[victim] = re.sub(r"(?m)^sha256 = .*$", f'sha256 = "{hashlib.sha256(content).hexdigest()}"', variants[victim], count=1)
    (folder / "model.toml").write_text("[[variant]]".join([head, *variants]))


class Daemon:
    """A jouled without power limits, on a battery of files, its state on a small file system of its own where root runs it."""

    def __init__(self, binary: str, deps: Path, models: Path, folder: Path) -> None:
        self.folder, self.socket, self.state, self.sysfs, self.pressure = folder, folder / "s", folder / "state", folder / "sys", folder / "pressure"
        self.state.mkdir()
        self.has_tmpfs = os.geteuid() == 0 and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "jouled-faults", self.state], stderr=subprocess.DEVNULL).returncode == 0
        os.mkfifo(self.pressure)
        supplies = {
            "BAT0": {"type": "Battery", "present": "1", "status": "Discharging", "capacity": "50", "energy_full": "50000000",
                     "energy_full_design": "57000000", "energy_now": "25000000", "power_now": "8000000", "voltage_now": "11400000"},
            "AC": {"type": "Mains", "online": "0"},
        }
        for supply, attributes in supplies.items():
            (self.sysfs / "class/power_supply" / supply).mkdir(parents=True)
            for name, value in attributes.items():
                (self.sysfs / "class/power_supply" / supply / name).write_text(value + "\n")
        (folder / "policies").mkdir()
        (folder / "policies/unlimited.toml").write_text('kind = "unlimited"\n')
        (folder / "jouled.toml").write_text(
            f'[socket]\npath = "{self.socket}"\n[models]\ndirectory = "{models}"\n[runtime]\nlibrary = "{deps}/lib/libonnxruntime.so.1.32.0"\n'
            f'[state]\ndirectory = "{self.state}"\n[policy]\ndirectory = "{folder}/policies"\nactive = "unlimited"\n'
            f'[power]\nsource = "sysfs"\nsysfs_root = "{self.sysfs}"\npoll = "200ms"\n[memory]\npressure = "{self.pressure}"\n')
        self.log = open(folder / "journal", "w", encoding="utf-8")
        self.process = subprocess.Popen([binary, "-c", folder / "jouled.toml", "--stderr"], stderr=self.log)
        while not self.socket.exists():
            if self.process.poll() is not None:
                sys.exit(self.journal())
            time.sleep(0.01)

    def journal(self) -> str:
        return (self.folder / "journal").read_text(encoding="utf-8", errors="replace")

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(10)
        connection.connect(str(self.socket))
        return connection

    def call(self, method: str, parameters: dict | None = None) -> dict:
        with self.connect() as connection:
            return exchange(connection, method, parameters or {})

    def end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()
        if self.has_tmpfs:
            subprocess.run(["umount", self.state])
        shutil.rmtree(self.folder)


def exchange(connection: socket.socket, method: str, parameters: dict, **flags: bool) -> dict:
    connection.sendall(json.dumps({"method": method, "parameters": parameters, **flags}).encode() + b"\0")
    message = bytearray()
    # Byte by byte: after the NUL of an upgrade's reply come frames.
    while (byte := connection.recv(1)) not in (b"\0", b""):
        message += byte
    reply = json.loads(message or b'{"error": "closed"}')
    if "error" in reply:
        raise ConnectionError(f"{method}: {reply}")
    return reply.get("parameters", {})


class Stream:
    """A client that sends its signal at its own pace and times each window's result."""

    def __init__(self, daemon: Daemon, model: str, rate: int = RATE, form: str = "s16le", offset: float = 0.0) -> None:
        self.socket = daemon.connect()
        exchange(self.socket, "io.jouled.Streams.Open", {"model": model, "sampleRateHz": rate, "format": form}, upgrade=True)
        self.socket.setblocking(False)
        self.sent, self.rest, self.received, self.results = 0, b"", bytearray(), 0
        self.begun = time.monotonic() + offset * CHUNK / RATE
        self.next_due = self.begun + CHUNK / RATE
        self.sent_at: dict[int, tuple[tuple, float]] = {}
        self.latencies: list[tuple[tuple, float]] = []
        self.phase: tuple = ("none",)
        self.problems: list[str] = []
        self.signal = os.urandom(2 * CHUNK)

    def close(self) -> None:
        self.socket.close()

    def frame(self, samples: bytes | None = None) -> bytes:
        frame = HEADER.pack(2 * CHUNK, DATA, 0, self.sent, 0) + (samples or self.signal)
        self.sent += CHUNK
        return frame

    def send_due(self, now: float) -> None:
        while self.next_due <= now:
            self.rest += self.frame()
            self.sent_at[self.sent] = (self.phase, self.next_due)
            self.next_due += CHUNK / RATE
        if self.rest:
            try:
                self.rest = self.rest[self.socket.send(self.rest):]
            except (BlockingIOError, BrokenPipeError, ConnectionResetError):
                pass

    def receive(self, now: float) -> None:
        piece = self.socket.recv(65536)
        if not piece:
            self.problems.append("closed")
        self.received += piece
        while len(self.received) >= HEADER.size:
            length, kind, _, index, _ = HEADER.unpack_from(self.received)
            if len(self.received) < HEADER.size + length:
                return
            payload = bytes(self.received[HEADER.size:HEADER.size + length])
            del self.received[:HEADER.size + length]
            if kind == RESULT:
                self.results += 1
                if index in self.sent_at:
                    phase, sent = self.sent_at.pop(index)
                    self.latencies.append((phase, now - sent))
                else:
                    self.problems.append(f"window {index} twice or never sent")
            elif kind == ERROR:
                self.problems.append(payload.decode())

    def finish(self) -> int:
        """Ends the stream; returns how many windows were lost or came twice."""
        self.socket.settimeout(20)
        self.socket.sendall(self.rest + HEADER.pack(0, END, 0, self.sent, 0))
        while "closed" not in self.problems:
            self.receive(time.monotonic())
        self.socket.close()
        self.problems.remove("closed")
        for problem in self.problems[:3]:
            print(problem, file=sys.stderr)
        return len(self.sent_at) + len(self.problems)
