"""silero-vad's own Python package over a recording; run by bench.py with a Python that has torch.

usage: silero_package.py SOURCES SAMPLES.s16le SECONDS PIECE_MS PACED
SOURCES is the `src` directory of its source archive. Uses the model that load_silero_vad() gives (TorchScript), with one thread and without gradients,
as its README does. Feeds pieces of PIECE_MS, window by window, one piece per wake-up if PACED; prints CPU seconds per audio second and, for each
window, whether its probability is 0.5 or more.
"""
import json
import sys
import time

sys.path.insert(0, sys.argv[1])

import numpy  # noqa: E402
import torch  # noqa: E402
from silero_vad import load_silero_vad  # noqa: E402

RATE, WINDOW = 16000, 512


def main() -> None:
    recording, seconds, piece_ms, paced = sys.argv[2:]
    samples = torch.from_numpy(numpy.fromfile(recording, dtype="<i2").astype(numpy.float32) / 32768)
    model = load_silero_vad()
    windows = max(1, round(int(piece_ms) * RATE / 1000 / WINDOW))
    pieces = int(float(seconds) * RATE) // (windows * WINDOW)
    speech: list[int] = []
    with torch.no_grad():
        # TorchScript compiles in its first runs.
        for _ in range(20):
            model(samples[:WINDOW], RATE)
        model.reset_states()
        begun, before = time.monotonic(), time.process_time()
        for number in range(pieces):
            if paced == "1":
                pause = begun + (number + 1) * windows * WINDOW / RATE - time.monotonic()
                if pause > 0:
                    time.sleep(pause)
            for window in range(windows):
                start = (number * windows + window) * WINDOW % (len(samples) - WINDOW + 1)
                speech.append(int(float(model(samples[start:start + WINDOW], RATE)) >= 0.5))
        used = time.process_time() - before
    print(json.dumps({"cpu": used / (pieces * windows * WINDOW / RATE), "speech": speech}))


main()
