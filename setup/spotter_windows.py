"""The keyword spotter's float model and the windows that its variants are calibrated and judged with (.npz, see docs/quantization.md).

Training's cost is speech and features, so the speech is kept in `cache/` under a digest of every line, and the head under one of all that
decides it.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

import spotter
import spotter_training as training
from audio import RATE_HZ, at_level, at_rate, coloured_noise, read_g722, steps, trimmed, under
from layout import Layout, write_atomically
from signals import Samples, read_speech

#: The recorded prompts that hold one of the words and nothing else.
RECORDED = {
    "juliet": ("phonetic/j_p",), "do_not_disturb": ("do-not-disturb",), "playback": ("dictate/playback",),
    "goodbye": ("goodbye", "vm-goodbye"), "yesterday": ("digits/yesterday",), "tomorrow": ("digits/tomorrow",),
}
#: Prompts that say one of the words among others, or nothing at all.
MIXED = ("demo-thanks", "dictate/", "silence/")
EACH, SENTENCES, COPIES = 150, 80, 6


def say(text: str) -> None:
    print(f"    {text}", flush=True)


def prompts_without_words(raw: Path) -> list[Path]:
    """The recorded prompts that none of the words is in."""
    root = raw / "prompts"
    words = {name for names in RECORDED.values() for name in names}
    names = sorted(str(file.relative_to(root).with_suffix("")) for file in root.glob("**/*.g722"))
    return [root / f"{name}.g722" for name in names if name not in words and not name.startswith(MIXED)]


def recorded_words(raw: Path) -> list[tuple[int, Samples]]:
    """(class, samples) of the recorded words."""
    return [
        (spotter.LABELS.index(word), trimmed(read_g722(raw / "prompts" / f"{name}.g722"))) for word, names in RECORDED.items() for name in names]


def digest(*parts: str | bytes) -> str:
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8, "little") + data)
    return whole.hexdigest()


def synthesizers() -> str:
    """Their versions: another one speaks otherwise."""
    return "".join(subprocess.run(command, capture_output=True, text=True).stdout for command in (["espeak-ng", "--version"], ["flite", "--version"]))


def speech(layout: Layout) -> training.Speech:
    """The training's speech, from the cache where it is there."""
    script = training.Script.write(np.random.default_rng(training.SEED), EACH, SENTENCES)
    key = digest(repr(script), synthesizers(), (Path(__file__).parent / "speak.py").read_bytes())
    path = layout.root / "cache" / f"speech-{key[:16]}.npz"
    words, others = len(script.words), len(script.others)
    if not path.exists():
        say(f"speaking {words + others + len(script.sentences)} lines for the keyword spotter")
        spoken = training.Speech.spoken(script)
        said = [sound for _, sound in spoken.words] + [*spoken.others, *spoken.sentences]
        path.parent.mkdir(parents=True, exist_ok=True)
        for old in path.parent.glob("speech-*.npz"):
            old.unlink()
        partial = path.with_name("partial.npz")
        np.savez(partial, samples=steps(np.concatenate(said)), sizes=np.array([sound.size for sound in said]))
        partial.replace(path)
    # Always from the file, in 16-bit steps: a second run must see what the first saw.
    with np.load(path) as file:
        sounds = np.split(file["samples"].astype(np.float32) * np.float32(1 / 32768), np.cumsum(file["sizes"])[:-1])
    return training.Speech([(label, sound) for (label, _), sound in zip(script.words, sounds)], sounds[words : words + others], sounds[words + others :])


def head(layout: Layout, spoken: training.Speech) -> spotter.Head:
    """The trained head, from the cache where it is there."""
    here = Path(__file__).parent
    sources = [(here / name).read_bytes() for name in ("spotter.py", "spotter_training.py", "audio.py", "signals.py", "speak.py")]
    key = digest(*sources, str((EACH, SENTENCES, COPIES)), *(sound.tobytes() for _, sound in spoken.words))
    path = layout.root / "cache" / f"head-{key[:16]}.npz"
    if not path.exists():
        say("embedding half an hour of speech, meetings and music")
        stage = training.Stage(training.training_sounds(layout.raw), spoken, np.random.default_rng(training.SEED + 2))
        features, labels = training.examples(layout.raw, stage, COPIES)
        say(f"training the spotter's head on {len(labels)} windows")
        trained = training.train(features, labels)
        for old in path.parent.glob("head-*.npz"):
            old.unlink()
        partial = path.with_name("partial.npz")
        np.savez(partial, **vars(trained))
        partial.replace(path)
    with np.load(path) as file:
        return spotter.Head(**{name: file[name] for name in file.files})


def calibration(stage: training.Stage) -> Samples:
    """What the head learned from: words, sentences, meetings and music."""
    rng = stage.rng
    size = spotter.WINDOW
    chosen = rng.choice(len(stage.speech.words), 150, replace=False)
    windows = [stage.word(stage.speech.words[i][1]) for i in chosen]
    windows += [stage.heard(stage.piece(stage.speech.sentences, size)) for _ in range(100)]
    for source, count in ((stage.sounds.foreign, 100), (stage.sounds.meetings, 150), (stage.sounds.music, 50)):
        windows += [at_level(stage.piece(source, size), rng.uniform(-40, -1)) for _ in range(count)]
    return np.stack(windows)


def evaluation(raw: Path, sounds: training.Sounds) -> dict[str, npt.NDArray[np.generic]]:
    """Recorded words at three speeds, clean and under noise, and what has none of them; none of it was learned from."""
    rng = np.random.default_rng(training.SEED + 4)
    size = spotter.WINDOW
    windows: list[Samples] = []
    labels: list[int] = []
    for label, sound in recorded_words(raw):
        for speed in (0.9, 1.0, 1.1):
            for noise in ("", "meetings", "music", "hiss"):
                for _ in range(2):
                    word = at_rate(sound, RATE_HZ, RATE_HZ * speed)[-size:]
                    end = size - int(rng.uniform(0.02, 0.3) * RATE_HZ)
                    window = np.zeros(size, np.float32)
                    window[max(0, end - word.size) : end] = word[-end:]
                    if noise == "hiss":
                        window = under(window, coloured_noise(size, rng), 15)
                    elif noise:
                        source: Sequence[Samples] = getattr(sounds, noise)
                        whole = source[int(rng.integers(len(source)))]
                        start = int(rng.integers(whole.size - size))
                        window = under(window, whole[start : start + size], 15)
                    windows.append(at_level(window, rng.uniform(-20, -1)))
                    labels.append(label)
    others = np.concatenate([read_g722(file) for file in prompts_without_words(raw)])
    for stream, hop in ((others, 40), (np.concatenate(sounds.meetings), 6), (np.concatenate(sounds.music), 25)):
        # Whole hops of the stream, so many of them apart.
        for start in range(0, stream.size - size, hop * spotter.HOP):
            windows.append(stream[start : start + size])
            labels.append(0)
    return {"samples": np.stack(windows), "labels": np.array(labels, np.int64)}


def check(layout: Layout) -> None:
    """The composed graph gives the features that the two graphs give that it was made of."""
    window = read_speech(layout.raw / "test.wav")[None, : spotter.WINDOW]
    spectrogram, embedding = (
        ort.InferenceSession(str(layout.raw / name), providers=["CPUExecutionProvider"]) for name in ("melspectrogram.onnx", "embedding_model.onnx"))
    frames = spectrogram.run(None, {"input": window * 32768})[0].reshape(-1, 32) / 10 + 2
    images = np.stack([frames[8 * n : 8 * n + 76] for n in range(spotter.EMBEDDINGS)])[..., None]
    expected = embedding.run(None, {"input_1": images})[0].reshape(spotter.EMBEDDINGS, spotter.FEATURES).T.reshape(-1)
    difference = np.abs(training.Embedder(layout.raw).features(iter(window), 1)[0] - expected).max()
    if difference > 1e-3 * np.abs(expected).max():
        raise SystemExit(f"setup: the keyword spotter's graph differs from its sources by {difference}")


def write(layout: Layout) -> None:
    """Writes `models/keyword.onnx` and `windows/keyword-*.npz`."""
    check(layout)
    spoken = speech(layout)
    composer = spotter.Composer(layout.raw / "melspectrogram.onnx", layout.raw / "embedding_model.onnx")
    write_atomically(layout.models / "keyword.onnx", composer.model(head(layout, spoken)).SerializeToString(deterministic=True))
    stage = training.Stage(training.training_sounds(layout.raw), spoken, np.random.default_rng(training.SEED + 5))
    judges = training.Sounds.load(layout.raw, ["dev00", "dev01"], ["reno_project-system", "manolo_camp-morning_coffee"])
    test = read_speech(layout.raw / "test.wav")
    for purpose, arrays in (
        ("calibration", {"samples": calibration(stage)}),
        ("evaluation", evaluation(layout.raw, judges)),
        ("unlike", {"samples": np.stack([test[i : i + spotter.WINDOW] for i in range(0, test.size - spotter.WINDOW, 4 * spotter.HOP)])}),
    ):
        partial = layout.windows / f".keyword-{purpose}.npz"
        np.savez(partial, **arrays)
        partial.replace(layout.windows / f"keyword-{purpose}.npz")
