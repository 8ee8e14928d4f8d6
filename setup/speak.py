"""Synthetic speech to train the keyword spotter with: espeak-ng (7 accents, many voices) and flite (4 voices).

Nobody's voice is recorded for it, and each utterance can be made again from its line.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audio import at_rate, trimmed
from signals import Samples, wav_chunks

ACCENTS = ("en-us", "en-gb", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029")
#: Timbres of espeak-ng.
TIMBRES = (
    "m1", "m2", "m3", "m4", "m5", "m7", "f1", "f2", "f3", "f4", "Alex", "Alicia", "Andy", "Annie", "Denis", "Gene", "Jacky", "Lee", "Marco",
    "Michael", "Mike", "Storm", "adam", "anika", "aunty", "belinda", "benjamin", "boris", "caleb", "ed", "edward", "grandma", "grandpa", "iven",
    "john", "linda", "max", "miguel", "norbert", "paul", "pedro", "quincy", "rob", "sandro", "steph", "travis", "victor", "zac",
    "m6", "f5", "Andrea", "Hugo", "david", "shelby", "robert", "michel",
)
FLITE = ("kal16", "rms", "slt", "awb")


@dataclass(frozen=True)
class Line:
    """What is said, and how."""

    text: str
    engine: str
    voice: str
    #: Words a minute of espeak-ng; a stretch in percent of flite.
    speed: int
    #: 0 to 99 of espeak-ng; mean fundamental in Hz of flite.
    pitch: int

    def spoken(self) -> Samples:
        """At 16 kHz, without silence around it. Raises SystemExit if the synthesizer fails."""
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            if self.engine == "espeak-ng":
                command = ["espeak-ng", "-v", self.voice, "-s", str(self.speed), "-p", str(self.pitch), "-w", file.name, self.text]
            else:
                settings = ["--setf", f"duration_stretch={self.speed / 100}", "--setf", f"int_f0_target_mean={self.pitch}"]
                command = ["flite", "-voice", self.voice, *settings, "-t", self.text, "-o", file.name]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                raise SystemExit(f"setup: {' '.join(command)}: {done.stderr.strip()}")
            chunks = wav_chunks(Path(file.name).read_bytes())
        rate = int.from_bytes(chunks[b"fmt "][4:8], "little")
        return trimmed(at_rate(np.frombuffer(chunks[b"data"], "<i2").astype(np.float32) * np.float32(1 / 32768), rate))


def lines(text: str, count: int, rng: np.random.Generator) -> list[Line]:
    """One in three by flite, whose voices are made of recorded ones, the rest by espeak-ng; each with another voice, speed and pitch."""
    result = []
    for number in range(count):
        if number % 3 == 2:
            voice = str(rng.choice(FLITE))
            pitch = int(rng.integers(140, 230)) if voice == "slt" else int(rng.integers(80, 140))
            result.append(Line(text, "flite", voice, int(rng.integers(85, 170)), pitch))
        else:
            voice = f"{rng.choice(ACCENTS)}+{rng.choice(TIMBRES)}"
            result.append(Line(text, "espeak-ng", voice, int(rng.integers(85, 200)), int(rng.integers(25, 75))))
    return result


def say_all(wanted: Sequence[Line]) -> list[Samples]:
    """Every line, in its order; two synthesizers at a time."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(Line.spoken, wanted))
