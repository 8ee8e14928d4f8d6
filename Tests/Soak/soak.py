"""Keeps jouled busy with clients that come, go, stall and die, and watches that it does not grow.

usage: soak.py JOULED MODELS RUNTIME SPEECH SECONDS [STREAMS [SEED]]      SOAK_DEEDS="die policy" limits what clients do
Clients stream recorded speech at its own pace. At random moments a client ends in order, dies without a word, stops reading its
results for a while, stops sending in the middle of a frame for a while, or calls for status and hangs up; another takes its place.
Policies change, too. Resident memory, descriptors and threads are noted every few seconds; the second half of the run is compared
with the first after a warm-up. Exit status 1, naming what grew, if the median of the second half is over the first's by more than
2 % of memory and 2 MB, by a descriptor beyond the streams', or by a thread, or if a client was closed without cause.
"""

import json
import os
import random
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

HEADER = struct.Struct("<IHHQQ")
RATE, DATA, END, ERROR = 16000, 1, 4, 18


def connect(path):
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(10)
    connection.connect(path)
    return connection


def call(path, method, parameters=None, hang_up=False):
    with connect(path) as connection:
        connection.sendall(json.dumps({"method": method, "parameters": parameters or {}}).encode() + b"\0")
        received = b""
        while b"\0" not in received and not hang_up:
            received += connection.recv(65536)
        return received


class Client:
    def __init__(self, path, speech, chance):
        self.speech, self.chance = speech, chance
        self.socket = connect(path)
        tolerance = chance.choice([32, 100, 250, 1000])
        request = {"method": "io.jouled.Streams.Open", "upgrade": True,
                   "parameters": {"model": "silero-vad", "sampleRateHz": RATE, "latencyToleranceMs": tolerance}}
        self.socket.sendall(json.dumps(request).encode() + b"\0")
        reply = b""
        while b"\0" not in reply:
            piece = self.socket.recv(65536)
            if not piece:
                raise ConnectionError("closed while it opened")
            reply += piece
        if b'"error"' in reply.partition(b"\0")[0]:
            raise ConnectionError(reply.decode(errors="replace"))
        self.socket.setblocking(False)
        self.started, self.sent, self.rest, self.deaf, self.mute, self.ending = time.monotonic(), 0, b"", 0.0, 0.0, False
        self.results = 0

    def step(self, now):
        """True while the client lives."""
        if now >= self.deaf:
            try:
                piece = self.socket.recv(65536)
                if not piece:
                    return False
                self.results += len(piece)
            except BlockingIOError:
                pass
            except ConnectionResetError:
                return False
        if now >= self.mute:
            due = int((now - self.started) * RATE) - self.sent
            if not self.rest and due >= 320 and not self.ending:
                count = min(due, 1600)
                begin = 2 * self.sent % (len(self.speech) - 2 * count)
                self.rest = HEADER.pack(2 * count, DATA, 0, self.sent, 0) + self.speech[begin:begin + 2 * count]
                self.sent += count
            if self.rest:
                try:
                    self.rest = self.rest[self.socket.send(self.rest[:self.chance.randint(1, 4096)]):]
                except BlockingIOError:
                    pass
                except (BrokenPipeError, ConnectionResetError):
                    return False
        return True

    def end(self):
        self.ending = True
        self.rest += HEADER.pack(0, END, 0, self.sent, 0)


def look(process):
    with open(f"/proc/{process}/status", encoding="ascii") as file:
        fields = dict(line.split(":", 1) for line in file)
    return int(fields["RssAnon"].split()[0]), len(os.listdir(f"/proc/{process}/fd")), int(fields["Threads"])


def main():
    jouled, models, runtime, speech_path = sys.argv[1:5]
    seconds = float(sys.argv[5])
    count = int(sys.argv[6]) if len(sys.argv) > 6 else 32
    seed = int(sys.argv[7]) if len(sys.argv) > 7 else int(time.time())
    chance = random.Random(seed)
    with open(speech_path, "rb") as file:
        speech = file.read()
    directory = tempfile.mkdtemp(prefix="jouled-soak-")
    path = directory + "/s"
    os.mkdir(directory + "/policies")
    for name, text in {"unlimited": 'kind = "unlimited"\n', "tight": 'kind = "fixed"\nwatts = 0.05\n'}.items():
        with open(f"{directory}/policies/{name}.toml", "w", encoding="ascii") as file:
            file.write(text)
    with open(directory + "/jouled.toml", "w", encoding="ascii") as file:
        file.write(f'[socket]\npath = "{path}"\n[models]\ndirectory = "{models}"\n[runtime]\nlibrary = "{runtime}"\n'
                   f'[state]\ndirectory = "{directory}"\n[policy]\ndirectory = "{directory}/policies"\nactive = "unlimited"\n'
                   '[power]\nsource = "virtual"\npoll = "2s"\n[virtual_device]\ncapacity_wh = 100\n')
    print(f"seed {seed}, {count} streams, {seconds:.0f} s, {directory}", flush=True)
    journal = open(directory + "/journal", "w", encoding="ascii")
    process = subprocess.Popen([jouled, "--config", directory + "/jouled.toml", "--stderr"], stderr=journal)
    while not os.path.exists(path):
        time.sleep(0.01)
    clients, samples, begin, deeds, wrong = [], [], time.monotonic(), {}, []
    next_look = begin
    try:
        while (now := time.monotonic()) - begin < seconds and process.poll() is None:
            while len(clients) < count:
                clients.append(Client(path, speech, chance))
            for client in list(clients):
                if not client.step(now):
                    clients.remove(client)
                    client.socket.close()
                    if not client.ending:
                        wrong.append(f"a client was closed after {now - client.started:.1f} s without having asked for it")
            if chance.random() < 0.02:
                client = chance.choice(clients)
                deed = chance.choice(os.environ.get("SOAK_DEEDS", "").split() or ["end", "die", "deaf", "mute", "status", "hang up", "policy"])
                deeds[deed] = deeds.get(deed, 0) + 1
                if deed == "end" and not client.rest:
                    client.end()
                elif deed == "die":
                    clients.remove(client)
                    client.socket.close()
                elif deed == "deaf":
                    client.deaf = now + chance.uniform(0, 10)
                elif deed == "mute":
                    client.mute = now + chance.uniform(0, 10)
                elif deed in ("status", "hang up"):
                    call(path, "io.jouled.Power.GetStatus", hang_up=deed == "hang up")
                elif deed == "policy":
                    call(path, "io.jouled.Policy.Set", {"name": chance.choice(["unlimited", "tight"])})
            if now >= next_look:
                samples.append((now - begin, *look(process.pid)))
                next_look = now + min(2, seconds / 60)
            time.sleep(0.004)
        if process.poll() is not None:
            wrong.append(f"jouled ended with {process.returncode}")
    finally:
        process.terminate()
        process.wait(20)
        journal.close()
    settled = [sample for sample in samples if sample[0] > seconds * 0.2]
    half = len(settled) // 2
    for index, (name, unit, slack) in enumerate([("resident memory", "kB", 2048), ("descriptors", "", 2), ("threads", "", 0)], start=1):
        first, second = (statistics.median(sample[index] for sample in part) for part in (settled[:half], settled[half:]))
        print(f"{name}: median {first:.0f} {unit}, then {second:.0f} {unit}; most {max(sample[index] for sample in samples)} {unit}")
        if second > first + max(slack, 0.02 * first * (index == 1)):
            wrong.append(f"{name} grew from {first:.0f} to {second:.0f} {unit}")
    print("resident memory by tenths of the run, MB: " + " ".join(
        f"{statistics.median(sample[1] for sample in samples[len(samples) * tenth // 10:len(samples) * (tenth + 1) // 10]) / 1024:.1f}" for tenth in range(10)))
    print("deeds: " + ", ".join(f"{name} {number}" for name, number in sorted(deeds.items())))
    if wrong:
        sys.exit("FAILED: " + "; ".join(wrong[:5]))
    print("nothing grew, no client was closed without cause")


main()
