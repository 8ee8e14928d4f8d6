"""Audio for the keyword spotter: G.722 recordings, rates, and how speech, rooms and noise are mixed."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from signals import Samples

RATE_HZ = 16000


def read_g722(path: Path) -> Samples:
    """A raw G.722 file (64 kbit/s, 16 kHz, mono) in full scale."""
    with av.open(str(path), format="g722") as container:
        frames = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    return np.concatenate(frames).astype(np.float32) * np.float32(1 / 32768)


def at_rate(samples: Samples, source_hz: float, target_hz: float = RATE_HZ) -> Samples:
    """Resampled through the spectrum: what lies above half of either rate is cut off, nothing folds back."""
    count = max(1, round(samples.size * target_hz / source_hz))
    spectrum = np.fft.rfft(samples)
    wanted = np.zeros(count // 2 + 1, spectrum.dtype)
    kept = min(wanted.size, spectrum.size)
    wanted[:kept] = spectrum[:kept]
    return (np.fft.irfft(wanted, count) * (count / samples.size)).astype(np.float32)


def trimmed(samples: Samples, decibels: float = 40) -> Samples:
    """Without the silence before and after: blocks of 10 ms so far below the loudest one."""
    block = RATE_HZ // 100
    whole = samples[: samples.size // block * block].reshape(-1, block)
    if whole.size == 0:
        return samples
    level = np.sqrt((whole**2).mean(axis=1))
    loud = np.flatnonzero(level > level.max() * 10 ** (-decibels / 20))
    return samples[loud[0] * block : (loud[-1] + 1) * block]


def power(samples: Samples) -> float:
    """Mean power of the louder part: the silence between words is not speech."""
    block = RATE_HZ // 50
    if samples.size < 2 * block:
        return float((samples**2).mean()) + 1e-12
    blocks = (samples[: samples.size // block * block].reshape(-1, block) ** 2).mean(axis=1)
    return float(blocks[blocks >= blocks.max() / 100].mean()) + 1e-12


def room(rng: np.random.Generator) -> Samples:
    """The response of a made-up room: the direct sound, and noise that dies away within 0.1 to 0.5 s (60 dB)."""
    seconds = rng.uniform(0.1, 0.5)
    time = np.arange(int(0.6 * seconds * RATE_HZ)) / RATE_HZ
    response = rng.standard_normal(time.size) * 10 ** (-3 * time / seconds)
    response *= rng.uniform(0.1, 0.7) / np.sqrt((response**2).sum())
    response[0] = 1
    return response.astype(np.float32)


def convolved(samples: Samples, response: Samples) -> Samples:
    """As long as `samples`: what rings on afterwards is cut off."""
    size = 1 << (samples.size + response.size).bit_length()
    product = np.fft.rfft(samples, size) * np.fft.rfft(response, size)
    return np.fft.irfft(product, size)[: samples.size].astype(np.float32)


def coloured_noise(count: int, rng: np.random.Generator) -> Samples:
    """Between white and brown: its power falls with the frequency's 0th to 2nd power."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    frequency = np.maximum(np.arange(spectrum.size), 1.0)
    noise = np.fft.irfft(spectrum * frequency ** (-rng.uniform(0, 2) / 2), count)
    return np.asarray(noise / np.abs(noise).max(), np.float32)


def under(speech: Samples, noise: Samples, decibels: float) -> Samples:
    """Speech with noise so far below it."""
    factor = np.sqrt(power(speech) / (float((noise**2).mean()) + 1e-12)) * 10 ** (-decibels / 20)
    return (speech + np.float32(factor) * noise).astype(np.float32)


def at_level(samples: Samples, decibels: float) -> Samples:
    """Scaled so that the loudest sample is so many decibels of full scale."""
    loudest = float(np.abs(samples).max())
    return samples if loudest == 0 else (samples * np.float32(10 ** (decibels / 20) / loudest)).astype(np.float32)


def steps(samples: Samples) -> npt.NDArray[np.int16]:
    """As 16-bit samples."""
    return np.clip(np.round(samples * 32768), -32768, 32767).astype("<i2")
