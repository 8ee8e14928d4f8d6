"""Restarts jouled under open streams, as systemd does with a descriptor store, and compares what the streams got with a reference.

usage: restarts.py JOULED CONFIG SOCKET SPEECH REFERENCE SEED STREAMS RESTARTS [gated]
This script is the service manager: it listens, passes descriptors, keeps those that the daemon gives it (FDSTORE=1), and starts
the next process with them. Its clients cut their frames at random bytes. Exit status 0 if every stream has every window of the
reference once, in order, within 1e-4, and was never closed. With `gated`, each second stream sleeps behind the one before it, and has
just the windows around those on which that one hears speech.
"""

import array
import json
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import time

# Samples before and after what a gate hears.
PREROLL, HOLD = 640, 1600
HEADER = struct.Struct("<IHHQQ")
DATA, END, RESULT, NOTICE, ERROR = 1, 4, 16, 17, 18


class Manager:
    def __init__(self, jouled, config, path):
        self.command, self.stored, self.process = [jouled, "--config", config, "--stderr"], {}, None
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(path)
        self.listener.listen(64)
        self.notify_path = path + ".notify"
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(self.notify_path)
        self.notify.settimeout(20)

    def start(self):
        kept = list(self.stored.items())
        descriptors = [self.listener.fileno()] + [descriptor for _, descriptor in kept]
        names = ["varlink"] + [name for name, _ in kept]
        environment = dict(os.environ, NOTIFY_SOCKET=self.notify_path, JOULED_FDSTORE="1", LISTEN_FDS=str(len(descriptors)),
                           LISTEN_FDNAMES=":".join(names))

        def place():
            # Out of the way first, so that no descriptor is overwritten before it is copied.
            high = [os.dup2(descriptor, 400 + number) for number, descriptor in enumerate(descriptors)]
            for number, descriptor in enumerate(high):
                os.dup2(descriptor, 3 + number)

        # The promise names the process that it is for, which only the process itself knows.
        shell = ["/bin/sh", "-c", 'LISTEN_PID=$$; export LISTEN_PID; exec "$0" "$@"'] + self.command
        self.process = subprocess.Popen(shell, env=environment, preexec_fn=place,
                                        pass_fds=range(3, 3 + len(descriptors)))
        self.listen_until("READY=1")

    def listen_until(self, word):
        while True:
            data, ancillary, _, _ = self.notify.recvmsg(4096, socket.CMSG_SPACE(4 * 16))
            lines = data.decode().splitlines()
            name = next((line[7:] for line in lines if line.startswith("FDNAME=")), None)
            for level, kind, content in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    received = array.array("i", content)
                    assert "FDSTORE=1" in lines and len(received) == 1
                    self.stored[name] = received[0]
            if "FDSTOREREMOVE=1" in lines:
                os.close(self.stored.pop(name))
            if word in lines:
                return

    def restart(self):
        begin = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.notify.settimeout(0.05)
        while self.process.poll() is None or self.pending():
            try:
                self.listen_until("nothing ends this but silence")
            except socket.timeout:
                pass
        assert self.process.returncode == 0, self.process.returncode
        self.notify.settimeout(20)
        self.start()
        return time.monotonic() - begin

    def pending(self):
        return select.select([self.notify], [], [], 0)[0]


class Stream:
    def __init__(self, path, samples, generator, number, gate=None):
        self.gate, self.generator, self.results, self.resumed, self.expected, self.unsent = gate, generator, [], 0, 0, b""
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)
        call = {"method": "io.jouled.Streams.Open", "upgrade": True,
                "parameters": {"model": "silero-vad", "sampleRateHz": 16000, "variant": "fp32", "latencyToleranceMs": 32, "name": f"s{number}"}}
        if gate is not None:
            call["parameters"]["gate"] = {"name": f"s{gate}", "prerollMs": PREROLL // 16, "holdMs": HOLD // 16}
            call["parameters"]["latencyToleranceMs"] = 20000
        self.socket.sendall(json.dumps(call).encode() + b"\0")
        reply = b""
        while b"\0" not in reply:
            reply += self.socket.recv(65536)
        reply, _, self.received = reply.partition(b"\0")
        assert b"error" not in reply, reply
        self.socket.setblocking(False)
        position = 0
        while position < len(samples):
            length = min(len(samples) - position, 2 * generator.randint(1, 4000))
            self.unsent += HEADER.pack(length, DATA, 0, position // 2, 0) + samples[position:position + length]
            position += length
        self.unsent += HEADER.pack(0, END, 0, position // 2, 0)
        self.total, self.ended = len(self.unsent), False

    def windows(self, reference):
        """Those that it is to have."""
        if self.gate is None:
            return reference
        spans = [(window["end"] - 512 - PREROLL, window["end"] + HOLD) for window in reference if window["values"][0] >= 0.5]
        return [window for window in reference if any(window["end"] - 512 < end and window["end"] > start for start, end in spans)]

    def step(self):
        if self.unsent:
            try:
                sent = self.socket.send(self.unsent[:self.generator.randint(1, 9000)])
                self.unsent = self.unsent[sent:]
            except BlockingIOError:
                pass
        try:
            piece = self.socket.recv(65536)
            if not piece:
                self.ended = True
            self.received += piece
        except BlockingIOError:
            pass
        while len(self.received) >= HEADER.size:
            length, kind, _, index, _ = HEADER.unpack_from(self.received)
            if len(self.received) < HEADER.size + length:
                break
            payload, self.received = self.received[HEADER.size:HEADER.size + length], self.received[HEADER.size + length:]
            if kind == RESULT:
                self.results.append((index, struct.unpack("<f", payload[-4:])[0]))
            elif kind == NOTICE:
                notice = json.loads(payload)
                self.resumed += notice["kind"] == "resumed"
                assert notice["kind"] != "ungated", notice
            else:
                sys.exit(f"stream ended: {payload.decode()}")


def main():
    jouled, config, path, speech, reference, seed, count, restarts = sys.argv[1:9]
    gated = sys.argv[9:] == ["gated"]
    generator = random.Random(int(seed))
    with open(speech, "rb") as file:
        samples = file.read()
    with open(reference, encoding="utf-8") as file:
        expected = [json.loads(line) for line in file]
    manager = Manager(jouled, config, path)
    manager.start()
    try:
        streams = [Stream(path, samples, generator, number, number - 1 if gated and number % 2 else None) for number in range(int(count))]
        total = sum(stream.total for stream in streams)
        moments = sorted(0.8 * generator.random() for _ in range(int(restarts)))
        slowest = 0.0
        while not all(stream.ended for stream in streams):
            for stream in streams:
                stream.step()
            if moments and 1 - sum(len(stream.unsent) for stream in streams) / total >= moments[0]:
                moments.pop(0)
                for stream in streams:
                    # One that has sent all may have had its last result.
                    stream.expected += bool(stream.unsent)
                slowest = max(slowest, manager.restart())
            time.sleep(0.0005)
        for stream in streams:
            own = stream.windows(expected)
            assert [end for end, _ in stream.results] == [window["end"] for window in own], f"windows: {len(stream.results)} of {len(own)}"
            if stream.gate is not None:
                # What was let go is missing in the state.
                assert len(own) < len(expected) - 20, len(own)
                continue
            worst = max(abs(value - window["values"][0]) for (_, value), window in zip(stream.results, expected))
            assert worst < 1e-4, worst
        assert all(stream.resumed >= stream.expected for stream in streams), [(stream.resumed, stream.expected) for stream in streams]
        print(f"{count} streams over {restarts} restarts: all {len(expected)} windows, slowest restart {slowest * 1000:.0f} ms")
    finally:
        manager.process.terminate()
        manager.process.wait(10)


main()
