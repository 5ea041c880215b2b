"""Stores: the folders in which a stage keeps what it computed, one file per video.

`<root>/<stage>/<data name>-<split>-<settings hash>/<video>.json.gz`, with a `provenance.json` that
says what the files were made from. All runs share them, so nothing is computed twice, and files
made under other settings never mix: another setting, checkpoint or data file is another folder.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rvos import InputError, __version__
from rvos.masks import read_json, write_json


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Store:
    """One stage's files for one split. `open` makes the folder; the rest reads and writes it."""

    path: Path
    provenance: dict[str, Any]

    @classmethod
    def open(
        cls,
        root: Path,
        stage: str,
        *,
        data_name: str,
        split: str,
        settings: dict[str, Any],
        checkpoint_sha256: str | None,
        meta_sha256: str,
    ) -> "Store":
        """The store for exactly these settings (plain JSON values), made if it does not exist.

        Raises InputError when the folder holds files made under other settings or cannot be
        written.
        """
        provenance = {
            "stage": stage,
            "settings": settings,
            "checkpoint_sha256": checkpoint_sha256,
            "meta_expressions_sha256": meta_sha256,
        }
        text = json.dumps(provenance, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        store = cls(Path(root) / stage / f"{data_name}-{split}-{digest}", provenance)
        store.claim()
        return store

    def beside(self, stage: str) -> "Store":
        """The store of what another stage makes at the same time, from the same."""
        folder = self.path.parent.with_name(stage) / self.path.name
        store = Store(folder, {**self.provenance, "stage": stage})
        store.claim()
        return store

    def claim(self) -> None:
        """Check the folder's provenance, or make the folder with ours."""
        if self._provenance_file.is_file():
            return self.check()
        try:
            write_json(self._provenance_file, {**self.provenance, "rvos_version": __version__})
        except OSError as error:
            raise InputError(
                f"paths.stores: cannot write to {self.path}: {error.strerror}"
            ) from None

    def check(self) -> None:
        """Raise InputError naming each setting in which the folder's files differ from ours."""
        found = read_json(self._provenance_file)
        differences = list(_differences(self.provenance, found))
        if differences:
            raise InputError(
                f"{self.path}: made under other settings: "
                + "; ".join(differences)
                + ". Delete the folder or choose the settings it was made with."
            )

    def has(self, video: str) -> bool:
        return self._file(video).is_file()

    def missing(self, videos: Iterable[str]) -> list[str]:
        return [video for video in videos if not self.has(video)]

    def read(self, video: str) -> Any:
        return read_json(self._file(video))

    def write(self, video: str, value: Any) -> None:
        """Write one video's value, atomically."""
        write_json(self._file(video), value)

    @property
    def _provenance_file(self) -> Path:
        return self.path / "provenance.json"

    def _file(self, video: str) -> Path:
        return self.path / f"{video}.json.gz"


def _differences(expected: Any, found: Any, key: str = "") -> Iterable[str]:
    """`key: expected x, found y` for each leaf of `expected` that differs."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for name in expected.keys() | (found.keys() if key else set()):
            path = f"{key}.{name}" if key else name
            yield from _differences(expected.get(name), found.get(name), path)
    elif expected != found:
        yield f"{key}: expected {expected!r}, found {found!r}"
