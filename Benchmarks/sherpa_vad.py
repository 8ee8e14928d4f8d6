"""sherpa-onnx's voice activity detector over a recording; run by bench.py with the Python that has the wheel.

usage: sherpa_vad.py MODEL.onnx SAMPLES.s16le SECONDS PIECE_MS PACED
Feeds pieces of PIECE_MS (of 32 ms each: one window), one per wake-up if PACED, and prints CPU seconds per audio second and, for
each piece, whether it ended in speech. Without shortest durations, so that the verdict is the model's alone.
"""
import json
import sys
import time

import numpy
import sherpa_onnx

RATE, WINDOW = 16000, 512


def main() -> None:
    model, recording, seconds, piece_ms, paced = sys.argv[1:]
    samples = numpy.fromfile(recording, dtype="<i2").astype(numpy.float32) / 32768
    config = sherpa_onnx.VadModelConfig()
    config.silero_vad.model = model
    config.silero_vad.threshold = 0.5
    config.silero_vad.min_speech_duration = config.silero_vad.min_silence_duration = 0.001
    config.sample_rate = RATE
    config.num_threads = 1
    detector = sherpa_onnx.VoiceActivityDetector(config, buffer_size_in_seconds=60)
    piece = max(1, round(int(piece_ms) * RATE / 1000 / WINDOW)) * WINDOW
    pieces = int(float(seconds) * RATE) // piece
    # Its windows begin with the 64 samples before them, which the first one takes from the recording: with these zeros it has the
    # same windows as jouled.
    detector.accept_waveform(numpy.zeros(64, numpy.float32))
    speech = []
    begun, before = time.monotonic(), time.process_time()
    for number in range(pieces):
        if paced == "1":
            pause = begun + (number + 1) * piece / RATE - time.monotonic()
            if pause > 0:
                time.sleep(pause)
        start = number * piece % (len(samples) - piece)
        detector.accept_waveform(samples[start:start + piece])
        speech.append(int(detector.is_speech_detected()))
        while not detector.empty():
            detector.pop()
    used = time.process_time() - before
    print(json.dumps({"cpu": used / (pieces * piece / RATE), "speech": speech}))


main()
