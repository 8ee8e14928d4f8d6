"""Reads the recordings that set-up uses: WAV speech, RTTM speaker turns, WFDB format 212 ECG."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

ECG_RATE_HZ = 100
#: Record 0201 is 5 unlabelled minutes and 30 labelled ones. What lies beyond minute 20 of the labelled
#: part is held back for judging: nothing in this repository may calibrate, validate or tune on it.
ECG_0201_MINUTES = 5 + 20
#: Record 0001 is the same recording from 145 minutes earlier; its first two hours overlap 0201 nowhere.
ECG_0001_MINUTES = 120


def wav_chunks(data: bytes) -> dict[bytes, bytes]:
    """The chunks of a RIFF file. The wave module refuses the float files that AMI comes in."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise ValueError("not a RIFF/WAVE file")
    chunks: dict[bytes, bytes] = {}
    offset = 12
    while offset + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, offset)
        chunks.setdefault(name, data[offset + 8 : offset + 8 + size])
        offset += 8 + size + (size & 1)
    return chunks


def wav_data(path: Path) -> tuple[int, bytes]:
    """(format tag, sample bytes) of a mono 16 kHz WAV file."""
    chunks = wav_chunks(path.read_bytes())
    tag, channels, rate = struct.unpack_from("<HHI", chunks[b"fmt "])
    if tag == 0xFFFE:  # extensible: the real tag opens the sub-format
        tag = struct.unpack_from("<H", chunks[b"fmt "], 24)[0]
    if (channels, rate) != (1, 16000):
        raise ValueError(f"{path.name}: expected mono at 16 kHz, found {channels} channels at {rate} Hz")
    return tag, chunks[b"data"]


def read_speech(path: Path) -> Samples:
    """A mono 16 kHz WAV file, 16-bit or float, as float32 in full scale."""
    tag, data = wav_data(path)
    if tag == 1:
        return np.frombuffer(data, "<i2").astype(np.float32) * np.float32(1 / 32768)
    if tag == 3:
        return np.frombuffer(data, "<f4").astype(np.float32)
    raise ValueError(f"{path.name}: WAV format {tag} is neither 16-bit PCM nor float")


def read_turns(path: Path, recording: str) -> list[tuple[float, float]]:
    """The speaker turns (begin, end) in seconds of one recording in an RTTM file."""
    turns: list[tuple[float, float]] = []
    for line in path.read_text().splitlines():
        fields = line.split()
        if len(fields) > 4 and fields[0] == "SPEAKER" and fields[1] == recording:
            begin = float(fields[3])
            turns.append((begin, begin + float(fields[4])))
    return turns


def read_wfdb_212(header: Path, minutes: int) -> npt.NDArray[np.float64]:
    """The first `minutes` of a two-lead format-212 record in mV, shape [samples, 2]."""
    lines = header.read_text().split("\n")
    rate = int(lines[0].split()[2])
    gains = [float(lines[1 + lead].split()[2]) for lead in (0, 1)]
    count = minutes * 60 * rate
    packed = np.frombuffer(header.with_suffix(".dat").read_bytes()[: count * 3], np.uint8)
    packed = packed.reshape(-1, 3).astype(np.int32)
    # Two 12-bit two's-complement samples share three bytes.
    first = packed[:, 0] | ((packed[:, 1] & 0x0F) << 8)
    second = packed[:, 2] | ((packed[:, 1] & 0xF0) << 4)
    leads = np.stack([first, second], axis=1)
    leads = np.where(leads >= 2048, leads - 4096, leads)
    return np.asarray(leads / np.array(gains), np.float64)


def resample_250_to_100(signal: npt.NDArray[np.float64]) -> Samples:
    """250 Hz to 100 Hz (2/5) through a windowed-sinc low-pass at 45 Hz."""
    up, down, half = 2, 5, 60
    index = np.arange(-half, half + 1)
    cutoff = 45 / (250 * up)
    taps = 2 * cutoff * np.sinc(2 * cutoff * index) * np.hamming(index.size)
    taps *= up / taps.sum()
    stuffed = np.zeros(signal.size * up)
    stuffed[::up] = signal
    # Hold the edges: zero padding would put a step as high as the DC level at both ends.
    padded = np.concatenate([np.zeros(half), stuffed, np.zeros(half)])
    padded[half % up : half : up] = signal[0]
    padded[half + stuffed.size :: up] = signal[-1]
    filtered = np.convolve(padded, taps, mode="valid")[::down]
    # A grid of 2^-12 mV (0.24 uV) is far below the converter's 2.5 uV step and makes the file
    # independent of how a CPU orders the sums above.
    return (np.round(filtered * 4096) / 4096).astype(np.float32)


def ecg_lead(raw: Path, record: str, lead: int, minutes: int) -> Samples:
    """One lead of an AHA record at 100 Hz in mV."""
    return resample_250_to_100(read_wfdb_212(raw / f"{record}.hea", minutes)[:, lead])
