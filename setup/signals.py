"""Reads the recordings that set-up uses: WAV speech, RTTM speaker turns, WFDB and HDF5 ECG."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import h5py
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


def read_wfdb(header: Path, minutes: float | None = None) -> tuple[npt.NDArray[np.float64], int]:
    """(samples in mV [samples, leads], rate in Hz) of the beginning of a record, or of all of it: WFDB formats 212 and 16."""
    lines = [line for line in header.read_text().splitlines() if not line.startswith("#")]
    leads, rate = int(lines[0].split()[1]), int(lines[0].split()[2])
    signals = [line.split() for line in lines[1 : 1 + leads]]
    form, _, skip = signals[0][1].partition("+")  # the byte at which samples begin
    data = header.with_suffix(".dat").read_bytes()[int(skip or 0) :]
    gains = np.array([float(fields[2]) for fields in signals])
    count = None if minutes is None else round(minutes * 60 * rate)
    if form == "212" and leads == 2:
        packed = np.frombuffer(data[: None if count is None else count * 3], np.uint8).reshape(-1, 3).astype(np.int32)
        # Two 12-bit two's-complement samples share three bytes.
        first = packed[:, 0] | ((packed[:, 1] & 0x0F) << 8)
        second = packed[:, 2] | ((packed[:, 1] & 0xF0) << 4)
        values = np.stack([first, second], axis=1)
        values = np.where(values >= 2048, values - 4096, values)
    elif form == "16":
        values = np.frombuffer(data, "<i2").reshape(-1, leads)[:count].astype(np.int32)
    else:
        raise ValueError(f"{header.name}: WFDB format {form} with {leads} leads is not supported")
    return np.asarray(values / gains, np.float64), rate


def resample(signal: npt.NDArray[np.float64], rate: int) -> Samples:
    """From `rate` to 100 Hz through a windowed-sinc low-pass at 45 Hz of 0.24 s."""
    divisor = math.gcd(rate, ECG_RATE_HZ)
    up, down = ECG_RATE_HZ // divisor, rate // divisor
    half = round(0.12 * rate * up)
    index = np.arange(-half, half + 1)
    cutoff = 45 / (rate * up)
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


def ecg_leads(raw: Path, record: str, minutes: float | None = None) -> list[Samples]:
    """Every lead of a record at 100 Hz in mV."""
    values, rate = read_wfdb(raw / f"{record}.hea", minutes)
    return [resample(values[:, lead], rate) for lead in range(values.shape[1])]


def ecg_noise(raw: Path) -> dict[str, list[Samples]]:
    """Recorded noise without heart (NSTDB), both channels, at 100 Hz: `bw` wander, `em` electrode motion, `ma` muscle."""
    with h5py.File(raw / "nstdb.h5") as file:
        return {kind: [resample(np.asarray(file[kind][:, channel]), 360) for channel in (0, 1)] for kind in ("bw", "em", "ma")}
