"""Where set-up keeps what it downloads and builds, all below one git-ignored directory."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """The directories below `.deps/`."""

    root: Path

    @property
    def archives(self) -> Path:
        return self.root / "archives"

    @property
    def raw(self) -> Path:
        """Files taken out of the archives, unchanged."""
        return self.root / "raw"

    @property
    def models(self) -> Path:
        """Float models that had to be converted to ONNX."""
        return self.root / "models"

    @property
    def windows(self) -> Path:
        """Data that models are calibrated, chosen and judged with."""
        return self.root / "windows"

    @property
    def signals(self) -> Path:
        return self.root / "signals"

    @property
    def bundles(self) -> Path:
        return self.root / "bundles"

    @property
    def references(self) -> Path:
        return self.root / "references"


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in lower-case hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Writes beside the target and renames, so that an interrupted set-up leaves no half file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".partial")
    temporary.write_bytes(data)
    os.replace(temporary, path)
