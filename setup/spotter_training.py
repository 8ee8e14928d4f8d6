"""Trains the keyword spotter's head, with numpy alone: synthetic speech in made-up rooms, noise, meetings and music.

Who has which sound (no voice, recording or track serves two purposes):

|            | words             | other speech                                     | music                     |
|------------|-------------------|--------------------------------------------------|---------------------------|
| training   | synthetic         | synthetic, AMI trn01 to trn09, prompts in French | macroform (3 tracks)      |
| evaluation | prompts (English) | AMI dev00, dev01, prompts in English             | reno_project, manolo_camp |

The same seed gives the same head on the same machine; another processor may round otherwise.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

import spotter
from audio import RATE_HZ, at_level, at_rate, coloured_noise, convolved, read_g722, room, under
from signals import Samples, read_speech
from speak import Line, lines, say_all

SEED = 20240607
Floats = npt.NDArray[np.float32]

#: Parts of the words, what sounds like them, and what is said a lot.
OTHERS = """
julia, jewel, joliet, july, juliana, june, julie, judy, gillian, violet, daily, let, you let, duly, truly yet, coolie, jelly yet
play, back, payback, feedback, playlist, playing, replay, player, display, go back, laid back, paperback, flashback, pay the back
good, bye, buy, good day, good boy, by me, nearby, standby, could be, would I, goodness, lullaby, could buy, the boy, hood, guide
yes, Saturday, Wednesday, Thursday, yet, western, yesteryear, esther, restaurant, best of a, today, two days, Tuesday, delay, guest today
to, day, to do, they, display a date, birthday, to die, okay, toady, betray, borrow, sorrow, tomato, Morrow, narrow, zorro, model, two more
tornado, more or less, to morning, marrow, do, not, disturb, do not, do not do it, don't disturb me, disturbing, donut, stirred up, the stub, do not touch
pause, paws, pass, pose, because, posh, pores, post, part, pulse, cause, was, laws, boss, poor, applause, piece, palace, perhaps
zero, one, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen, twenty, hundred, thousand
alpha, bravo, charlie, delta, echo, foxtrot, golf, hotel, india, kilo, lima, mike, november, oscar, papa, quebec, romeo, sierra, tango, uniform, victor
whiskey, x-ray, yankee, zulu, monday, friday, sunday, january, february, march, april, september, october, december
hello, no, please, thank you, sorry, stop, start, left, right, up, down, on, off, louder, quieter, lights, kitchen, weather, timer, music
what time is it, turn on the lights, how are you, see you later, I do not know, what do you think, it is raining, wait a minute, never mind
message, number, press, extension, mailbox, password, record, voice, mail, enter, pound, star, call, transfer, hold, line, busy
the conference, the person at, is not available, please try again, if this is correct, has been saved, you have, new messages
a, the, and, of, in, is, that, it, for, with, as, at, be, this, have, from, or, had, by, word, but, all, we, when, your, can, said, there
people, water, first, been, other, about, many, then, them, these, so, some, her, make, like, him, into, time, has, look, more, write, see
button, colour, remote, design, project, market, think, really, maybe, user, interface, battery, yeah, mm, well, actually, something, right so
options, menu, participants, volume, increase, decrease, listening, speaking, leader, joined, account, followed, administrator, operator, status
"""


@dataclass(frozen=True)
class Sounds:
    """What words are mixed with, and what is none of our words."""

    meetings: Sequence[Samples]
    music: Sequence[Samples]
    #: Clean speech in another language.
    foreign: Sequence[Samples]

    @classmethod
    def load(cls, raw: Path, meetings: Sequence[str], tracks: Sequence[str], foreign: Sequence[Samples] = ()) -> Sounds:
        return cls(
            [read_speech(raw / "ami" / f"{name}.wav") for name in meetings], [read_g722(raw / "music" / f"{name}.g722") for name in tracks], foreign)


def training_sounds(raw: Path) -> Sounds:
    tracks = ("macroform-cold_day", "macroform-robot_dity", "macroform-the_simplicity")
    # French without the alphabet, whose words are English ones.
    files = sorted(file for file in (raw / "prompts-fr").glob("**/*.g722") if file.parent.name not in ("phonetic", "silence"))
    prompts = np.concatenate([read_g722(file) for file in files])
    return Sounds.load(raw, [f"trn0{n}" for n in range(1, 10)], tracks, [prompts])


def other_texts() -> list[str]:
    return [text.strip() for line in OTHERS.strip().splitlines() for text in line.split(",")]


@dataclass(frozen=True)
class Script:
    """What is said: words of ours by their class, words that are none, and long sentences of those."""

    words: Sequence[tuple[int, Line]]
    others: Sequence[Line]
    sentences: Sequence[Line]

    @classmethod
    def write(cls, rng: np.random.Generator, each: int, sentences: int) -> Script:
        texts = other_texts()
        long = [" ".join(str(text) for text in rng.choice(texts, 40, replace=False)) for _ in range(sentences)]
        return cls(
            [(label, line) for label, word in enumerate(spotter.LABELS) if label for line in lines(word.replace('_', ' '), each, rng)],
            [lines(text, 6, rng)[int(rng.integers(6))] for text in texts],
            [lines(text, 6, rng)[number % 6] for number, text in enumerate(long)])


@dataclass(frozen=True)
class Speech:
    """A script as it was spoken."""

    words: Sequence[tuple[int, Samples]]
    others: Sequence[Samples]
    sentences: Sequence[Samples]

    @classmethod
    def spoken(cls, script: Script) -> Speech:
        said = say_all([line for _, line in script.words] + list(script.others) + list(script.sentences))
        words, others = len(script.words), len(script.others)
        return cls([(label, sound) for (label, _), sound in zip(script.words, said)], said[words : words + others], said[words + others :])


class Stage:
    """Puts sounds into windows as a microphone would hear them."""

    def __init__(self, sounds: Sounds, speech: Speech, rng: np.random.Generator) -> None:
        self.sounds, self.speech, self.rng = sounds, speech, rng

    def piece(self, source: Sequence[Samples], count: int) -> Samples:
        whole = source[int(self.rng.integers(len(source)))]
        whole = whole if whole.size > count else np.concatenate([whole, np.zeros(count + 1 - whole.size, np.float32)])
        start = int(self.rng.integers(whole.size - count))
        return whole[start : start + count]

    def heard(self, sound: Samples) -> Samples:
        """With a room, noise and a level."""
        rng = self.rng
        if rng.random() < 0.5:
            sound = convolved(sound, room(rng))
        kind = rng.random()
        if kind < 0.3:
            sound = under(sound, self.piece(self.sounds.meetings, sound.size), rng.uniform(5, 25))
        elif kind < 0.6:
            sound = under(sound, self.piece(self.sounds.music, sound.size), rng.uniform(5, 25))
        elif kind < 0.85:
            sound = under(sound, coloured_noise(sound.size, rng), rng.uniform(5, 40))
        return at_level(sound, rng.uniform(-32, -1))

    def varied(self, sound: Samples) -> Samples:
        return at_rate(sound, RATE_HZ, RATE_HZ * self.rng.uniform(0.88, 1.14))

    def word(self, utterance: Samples) -> Samples:
        """A window with the whole word near its end, maybe after other words."""
        utterance = self.varied(utterance)
        size = spotter.WINDOW
        end = size - int(self.rng.uniform(0.02, 0.3) * RATE_HZ)
        window = np.zeros(size, np.float32)
        begin = max(0, end - utterance.size)
        window[begin:end] = utterance[-(end - begin) :]
        gap = int(self.rng.uniform(0.02, 0.25) * RATE_HZ)
        if begin > gap and self.rng.random() < 0.5:
            window[: begin - gap] = self.piece(self.speech.sentences, begin - gap)
        return self.heard(window)

    def part(self, utterance: Samples) -> Samples:
        """A window that ends before the word's half: nothing has been said yet."""
        utterance = self.varied(utterance)
        window = np.zeros(spotter.WINDOW, np.float32)
        begin = int(utterance.size * self.rng.uniform(0.2, 0.5))
        window[-begin:] = utterance[:begin]
        return self.heard(window)

    def other(self, utterance: Samples, size: int) -> Samples:
        """A word that is none of ours, with silence around it."""
        window = np.zeros(size, np.float32)
        begin = int(self.rng.uniform(0, max(1, size - utterance.size)))
        piece = utterance[: size - begin]
        window[begin : begin + piece.size] = piece
        return self.heard(window)


class Embedder:
    """The spotter without its head, over windows of one size."""

    def __init__(self, raw: Path, embeddings: int = spotter.EMBEDDINGS) -> None:
        composer = spotter.Composer(raw / "melspectrogram.onnx", raw / "embedding_model.onnx", embeddings)
        self.window = composer.window
        options = ort.SessionOptions()
        options.intra_op_num_threads = 2
        self.session = ort.InferenceSession(composer.model(None, "batch").SerializeToString(), options, providers=["CPUExecutionProvider"])

    def features(self, windows: Iterator[Samples], batch: int) -> Floats:
        """[windows, 96 x 6]: of longer windows every run of 6 embeddings. A batch at a time: all windows at once would not fit."""
        parts: list[Floats] = []
        while held := list(itertools.islice(windows, batch)):
            values = self.session.run(None, {"samples": np.stack(held)})[0]
            runs = np.lib.stride_tricks.sliding_window_view(values, spotter.EMBEDDINGS, axis=2)  # [batch, 96, runs, 6]
            parts.append(runs.transpose(0, 2, 1, 3).reshape(-1, spotter.FEATURES * spotter.EMBEDDINGS))
        return np.concatenate(parts)


def examples(raw: Path, stage: Stage, copies: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Features and classes to learn from."""
    single, long = Embedder(raw), Embedder(raw, 96)
    speech, sounds = stage.speech, stage.sounds
    labels = [label for label, _ in speech.words for _ in range(copies)]
    positive = single.features((stage.word(sound) for _, sound in speech.words for _ in range(copies)), 64)
    parts = single.features((stage.part(sound) for _, sound in speech.words), 64)
    size = long.window
    seconds = size / RATE_HZ

    def negatives() -> Iterator[Samples]:
        for source, rounds in ((speech.sentences, 1.5), (sounds.foreign, 2), (sounds.meetings, 1.5), (sounds.music, 1)):
            for _ in range(int(rounds * sum(sound.size for sound in source) / RATE_HZ / seconds)):
                piece = stage.piece(source, size)
                recorded = source is sounds.music or source is sounds.meetings  # with its own room and noise
                yield at_level(piece, stage.rng.uniform(-40, -1)) if recorded else stage.heard(piece)
        for _ in range(12):
            yield at_level(coloured_noise(size, stage.rng), stage.rng.uniform(-50, -1))
        shuffled = [speech.others[i] for i in stage.rng.permutation(len(speech.others))]
        for start in range(0, len(shuffled) - 8, 8):
            yield np.concatenate([stage.other(sound, size // 8) for sound in shuffled[start : start + 8]] + [np.zeros(size % 8, np.float32)])

    negative = long.features(negatives(), 8)
    features = np.concatenate([positive, parts, negative])
    return features, np.array(labels + [0] * (len(parts) + len(negative)))


def train(features: Floats, labels: npt.NDArray[np.int64], hidden: int = 64, epochs: int = 16, batch: int = 512) -> spotter.Head:
    """One hidden layer by Adam, cross-entropy with weight decay and dropout; the features' mean and deviation end up in its weights."""
    rng = np.random.default_rng(SEED)
    mean, deviation = features.mean(axis=0), features.std(axis=0) + np.float32(1e-3)
    inputs = (features - mean) / deviation
    classes = len(spotter.LABELS)
    weights = [
        rng.standard_normal((inputs.shape[1], hidden)).astype(np.float32) * np.float32(np.sqrt(2 / inputs.shape[1])), np.zeros(hidden, np.float32),
        rng.standard_normal((hidden, classes)).astype(np.float32) * np.float32(np.sqrt(1 / hidden)), np.zeros(classes, np.float32)]
    first, second = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    targets = np.eye(classes, dtype=np.float32)[labels]
    steps = epochs * (len(inputs) // batch)
    for step in range(steps):
        if step % (len(inputs) // batch) == 0:
            order = rng.permutation(len(inputs))
        chosen = order[step % (len(inputs) // batch) * batch :][:batch]
        kept = (rng.random((batch, inputs.shape[1])) < 0.8).astype(np.float32) / np.float32(0.8)
        x, y = inputs[chosen] * kept, targets[chosen]
        active = np.maximum(x @ weights[0] + weights[1], 0)
        scores = active @ weights[2] + weights[3]
        scores -= scores.max(axis=1, keepdims=True)
        probabilities = np.exp(scores)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        error = (probabilities - y) / np.float32(batch)
        back = (error @ weights[2].T) * (active > 0)
        gradients = [x.T @ back, back.sum(axis=0), active.T @ error, error.sum(axis=0)]
        rate = 2e-3 * (1 - step / steps)
        for i, gradient in enumerate(gradients):
            if gradient.ndim == 2:
                weights[i] *= np.float32(1 - rate * 0.05)
            first[i] = 0.9 * first[i] + 0.1 * gradient
            second[i] = 0.999 * second[i] + 0.001 * gradient**2
            scale = np.sqrt(1 - 0.999 ** (step + 1)) / (1 - 0.9 ** (step + 1))
            weights[i] = (weights[i] - rate * scale * first[i] / (np.sqrt(second[i]) + 1e-8)).astype(np.float32)
    folded = weights[0] / deviation[:, None]
    return spotter.Head(folded.astype(np.float32), (weights[1] - mean @ folded).astype(np.float32), weights[2], weights[3])


def probabilities(head: spotter.Head, features: Floats) -> Floats:
    scores = np.maximum(features @ head.hidden + head.hidden_bias, 0) @ head.output + head.output_bias
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(scores / scores.sum(axis=1, keepdims=True), np.float32)
