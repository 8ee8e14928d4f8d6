"""An hour of what a voice satellite hears, with the spotter's words placed in it: what a gate before the spotter is judged on.

Some 15 % of it is speech, in conversations and lone commands; in a third music plays, some 4 to 28 dB below what is said; the rest is silence
and noise. All of it is recorded, and none of it was learned from: AMI dev, English prompts, tracks of music. The same bytes come out of
every run.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from audio import RATE_HZ, at_level, coloured_noise, read_g722, steps, trimmed
from layout import Layout, write_atomically
from signals import Samples, read_speech
from spotter import LABELS
from spotter_windows import prompts_without_words, recorded_words

SEED = 20250131
TRACKS = ("manolo_camp-morning_coffee", "reno_project-system")
SCENES = 24
#: Of an hour's scene: 2.5 minutes.
SCENE_S = 150


def level(sound: Samples, decibels: float) -> Samples:
    """Scaled to a mean power of so many decibels of full scale, and no sample beyond it."""
    scaled = sound * np.float32(10 ** (decibels / 20) / max(1e-9, float(np.sqrt((sound**2).mean()))))
    return at_level(scaled, -0.5) if np.abs(scaled).max() > 0.95 else scaled.astype(np.float32)


class Hour:
    """Draws scenes one after another; what is used up begins anew."""

    def __init__(self, raw: Path, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.words = recorded_words(raw)
        self.prompts = self.endless([trimmed(read_g722(file)) for file in prompts_without_words(raw)])
        meetings = [read_speech(raw / "ami" / f"{name}.wav") for name in ("dev00", "dev01")]
        self.meetings = self.endless([piece for meeting in meetings for piece in np.array_split(meeting, 4)])
        self.music = self.endless([read_g722(raw / "music" / f"{name}.g722") for name in TRACKS])
        self.placed: list[dict[str, object]] = []
        self.speech = 0

    def endless(self, sounds: list[Samples]) -> Iterator[Samples]:
        """Every sound once in a drawn order, then in another one."""
        while True:
            for index in self.rng.permutation(len(sounds)):
                yield sounds[int(index)]

    def say(self, scene: Samples, at: int, start: int, sound: Samples, decibels: float, word: int = 0) -> int:
        """Adds a sound to a scene that begins at sample `start` of the hour; returns where the sound ends in the scene."""
        sound = level(sound, decibels)[: scene.size - at]
        scene[at : at + sound.size] += sound
        self.speech += sound.size
        if word:
            self.placed.append({"begin": start + at, "end": start + at + sound.size, "word": LABELS[word]})
        return at + sound.size

    def command(self, scene: Samples, at: int, start: int) -> int:
        """The wake word and a command after it, or one word alone."""
        loudness = float(self.rng.uniform(-30, -18))
        wake, rest = self.words[0], self.words[1:]
        for label, sound in [wake, rest[int(self.rng.integers(len(rest)))]][: int(self.rng.integers(1, 3))]:
            at = self.say(scene, at, start, sound, loudness, label) + int(self.rng.uniform(0.3, 0.8) * RATE_HZ)
        return at

    def conversation(self, scene: Samples, at: int, start: int, seconds: float) -> int:
        """Prompts in turn with a word now and then, or a piece of a meeting."""
        if self.rng.random() < 0.3:
            return self.say(scene, at, start, next(self.meetings), -26)
        end, loudness = at + int(seconds * RATE_HZ), float(self.rng.uniform(-32, -20))
        while at < end:
            if self.rng.random() < 0.2:
                label, sound = self.words[int(self.rng.integers(len(self.words)))]
                at = self.say(scene, at, start, sound, loudness, label)
            else:
                at = self.say(scene, at, start, next(self.prompts), loudness)
            at += int(self.rng.uniform(0.1, 0.6) * RATE_HZ)
        return at

    def scene(self, number: int) -> Samples:
        """A third of the scenes have music; a fifth are silent but for what is said, the others have background noise."""
        size, start, rng = SCENE_S * RATE_HZ, number * SCENE_S * RATE_HZ, self.rng
        scene = np.zeros(size, np.float32)
        if number % 3 == 1:
            track = next(self.music)
            scene += level(np.resize(np.roll(track, -int(rng.integers(track.size))), size), float(rng.uniform(-46, -36)))
        elif number % 5 != 0:
            scene += level(coloured_noise(size, rng), float(rng.uniform(-65, -48)))
        at = int(rng.uniform(5, 30) * RATE_HZ)
        at = self.conversation(scene, at, start, float(rng.uniform(12, 28)))
        for _ in range(2):
            at += int(rng.uniform(12, 30) * RATE_HZ)
            if at < size - 5 * RATE_HZ:
                at = self.command(scene, at, start)
        return scene


def write(layout: Layout, name: str, scenes: int, seed: int = SEED) -> dict[str, object]:
    """Writes `signals/NAME.s16le` and `signals/NAME.json`, which says which words are where; returns the latter."""
    hour = Hour(layout.raw, seed)
    data = b"".join(steps(hour.scene(number)).tobytes() for number in range(scenes))
    samples = len(data) // 2
    summary: dict[str, object] = {"samples": samples, "speech_share": round(hour.speech / samples, 4), "words": hour.placed}
    write_atomically(layout.signals / f"{name}.s16le", data)
    write_atomically(layout.signals / f"{name}.json", json.dumps(summary, indent=1).encode())
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deps", type=Path, required=True, help="the .deps directory, filled by setup.sh")
    parser.add_argument("--scenes", type=int, default=SCENES, help=f"how many, {SCENE_S} s each (default: {SCENES}, an hour)")
    parser.add_argument("--name", default="hour", help="name of the files below signals/")
    parser.add_argument("--seed", type=int, default=SEED, help=f"another one draws another hour from the same sounds (default: {SEED})")
    arguments = parser.parse_args()
    summary = write(Layout(arguments.deps), arguments.name, arguments.scenes, arguments.seed)
    words = summary["words"]
    print(f"{summary['samples']} samples, {summary['speech_share']:.1%} speech, {len(words) if isinstance(words, list) else 0} words")


if __name__ == "__main__":
    main()
