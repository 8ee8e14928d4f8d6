"""The programs that are measured: jouled, the bare C loop, sherpa-onnx's VAD. Each runs on the first CPU; who drives them on the last."""
from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
RATE = 16000
CPUS = sorted(os.sched_getaffinity(0))
MEASURED, DRIVER = CPUS[0], CPUS[-1]


def pinned(command: list[str | Path], **options: object) -> subprocess.Popen:
    """Starts a program on the CPU of those that are measured."""
    return subprocess.Popen(command, preexec_fn=lambda: os.sched_setaffinity(0, {MEASURED}), **options)  # type: ignore[call-overload]


def output_of(command: list[str | Path]) -> dict:
    process = pinned(command, stdout=subprocess.PIPE, text=True)
    text = process.communicate()[0]
    if process.returncode != 0:
        sys.exit(f"{command[0]} ended with status {process.returncode}")
    return json.loads(text)


class Files:
    """What set-up fetched and made."""

    def __init__(self, deps: Path) -> None:
        self.deps = deps.resolve()
        self.library = self.deps / "lib/libonnxruntime.so.1.32.0"
        self.model = self.deps / "bundles/silero-vad/1/fp32.onnx"
        self.speech = self.deps / "signals/speech.s16le"
        self.audio = self.speech.read_bytes()


class Loop:
    """The bare C loop (bare_loop.c): the same library, model and audio, without anything around them."""

    def __init__(self, files: Files, folder: Path) -> None:
        self.files = files
        self.binary = folder / "bare_loop"
        subprocess.run(
            ["clang", "-O2", "-I", TOP / "Sources/COnnxRuntime/include", "-o", self.binary, TOP / "Benchmarks/bare_loop.c", "-ldl"],
            check=True)

    def cpu(self, seconds: float, period_ms: float, streams: int) -> float:
        """CPU seconds per second of audio and stream; period 0 runs hot."""
        files = self.files
        return output_of([self.binary, files.library, files.model, files.speech, str(seconds), str(period_ms), str(streams)])["cpu_per_audio_second"]


class Sherpa:
    """sherpa-onnx's voice activity detector out of its wheel, fed piece by piece at the pace of the audio."""

    def __init__(self, files: Files, python: Path, folder: Path) -> None:
        import tarfile
        self.files, self.python = files, python
        self.model = folder / "silero_vad.onnx"
        archive = next(files.deps.glob("archives/silero_vad-*.tar.gz"))
        with tarfile.open(archive) as tar:
            name = next(n for n in tar.getnames() if n.endswith("/data/silero_vad.onnx"))
            self.model.write_bytes(tar.extractfile(name).read())  # type: ignore[union-attr]

    def run(self, seconds: float, piece_ms: int, paced: bool) -> dict:
        """`cpu`: CPU seconds per audio second; `speech`: for each piece, whether it is speech."""
        return output_of([self.python, TOP / "Benchmarks/sherpa_vad.py", self.model, self.files.speech, str(seconds), str(piece_ms), str(int(paced))])

    @staticmethod
    def verdicts(probabilities: list[float], threshold: float = 0.5, release: float = 0.15) -> list[int]:
        """sherpa-onnx's rule without shortest durations: speech begins with the second window in a row above the threshold, and ends
        with the second below threshold - release unless one above the threshold comes between them."""
        result = []
        speech = rising = falling = False
        for p in probabilities:
            if not speech:
                speech, rising, falling = p > threshold and rising, p > threshold, False
            elif p > threshold:
                falling = False
            elif p <= threshold - release:
                speech, rising, falling = not falling, False, not falling
            result.append(int(speech))
        return result


class SileroPackage:
    """silero-vad's own Python package out of its source archive, fed piece by piece at the pace of the audio."""

    def __init__(self, files: Files, python: Path, folder: Path) -> None:
        import tarfile
        self.files, self.python = files, python
        archive = next(files.deps.glob("archives/silero_vad-*.tar.gz"))
        with tarfile.open(archive) as tar:
            # Its digest was checked by set-up.
            tar.extractall(folder / "silero")
        self.sources = next((folder / "silero").glob("*/src"))

    def run(self, seconds: float, piece_ms: int, paced: bool) -> dict:
        """`cpu`: CPU seconds per audio second; `speech`: for each window, whether it is speech."""
        return output_of([
            self.python, TOP / "Benchmarks/silero_package.py", self.sources, self.files.speech, str(seconds), str(piece_ms), str(int(paced))])

    @staticmethod
    def verdicts(probabilities: list[float]) -> list[int]:
        return [int(p >= 0.5) for p in probabilities]


class Daemon:
    """A jouled of its own, without power limits. `ready_ms` is the time from its start to READY=1."""

    def __init__(self, binary: Path, files: Files, folder: Path, keep: str = "1h") -> None:
        self.socket = folder / "jouled.sock"
        self.socket.unlink(missing_ok=True)
        (folder / "policies").mkdir(exist_ok=True)
        (folder / "policies/unlimited.toml").write_text('kind = "unlimited"\n')
        (folder / "jouled.toml").write_text(
            f'[socket]\npath = "{self.socket}"\n[models]\ndirectory = "{files.deps}/bundles"\n'
            f'[runtime]\nlibrary = "{files.library}"\nkeep = "{keep}"\n[state]\ndirectory = "{folder}"\n'
            f'[policy]\ndirectory = "{folder}/policies"\nactive = "unlimited"\n[power]\nsource = "virtual"\npoll = "1h"\n'
            '[limits]\nstreams = 128\n')
        notify_path = folder / "notify"
        notify_path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, open(folder / "log", "w") as log:
            notify.bind(str(notify_path))
            notify.settimeout(20)
            begun = time.monotonic()
            self.process = pinned(
                [binary, "-c", folder / "jouled.toml", "--stderr"], stderr=log, env={**os.environ, "NOTIFY_SOCKET": str(notify_path)})
            try:
                while "READY=1" not in notify.recv(4096).decode():
                    pass
            except TimeoutError:
                sys.exit("jouled did not become ready:\n" + (folder / "log").read_text())
            self.ready_ms = (time.monotonic() - begun) * 1000
        self.proc = Path(f"/proc/{self.process.pid}")

    def cpu(self) -> float:
        return sum(int((task / "schedstat").read_text().split()[0]) for task in (self.proc / "task").iterdir()) / 1e9

    def waited(self) -> float:
        """Seconds in which it was ready to run and other programs had its CPU."""
        return sum(int((task / "schedstat").read_text().split()[1]) for task in (self.proc / "task").iterdir()) / 1e9

    def wakes(self) -> int:
        """Voluntary context switches so far: each is a wake-up."""
        return sum(
            int(line.split()[1]) for task in (self.proc / "task").iterdir()
            for line in (task / "status").read_text().splitlines() if line.startswith("voluntary_ctxt"))

    def pss_mb(self) -> float:
        text = (self.proc / "smaps_rollup").read_text()
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) / 1024

    def call(self, method: str, parameters: dict, **options: bool) -> tuple[socket.socket, dict]:
        """Its connection, and the parameters of the reply."""
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self.socket))
        connection.sendall(json.dumps({"method": method, "parameters": parameters, **options}).encode() + b"\0")
        reply = b""
        while not reply.endswith(b"\0"):
            # After the reply to Open come frames, which are not for here.
            piece = connection.recv(1)
            if not piece:
                sys.exit("jouled closed the connection")
            reply += piece
        if b'"error"' in reply:
            sys.exit(reply.decode())
        return connection, json.loads(reply[:-1])["parameters"]

    def open(self, tolerance_ms: int) -> socket.socket:
        """A stream of silero-vad on its own connection."""
        return self.call("io.jouled.Streams.Open", {
            "model": "silero-vad", "sampleRateHz": RATE, "latencyToleranceMs": tolerance_ms, "variant": "fp32"}, upgrade=True)[0]

    def coalescing(self) -> int:
        """Windows per wake-up of the first open stream."""
        connection, reply = self.call("io.jouled.Streams.List", {})
        connection.close()
        return reply["streams"][0]["coalescing"]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()
