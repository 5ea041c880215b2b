"""Stores: folders in which a stage keeps its results, one file per video.

`<root>/<stage>/<data name>-<split>-<settings hash>/<video>.json.gz`, with a `provenance.json` that
says what the files were made from. All runs share the stores, so that nothing is computed twice.
Files of different settings never mix: another setting, checkpoint or data file has another folder.
"""

import hashlib
import json
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rvos import __version__
from rvos.data.split import Split
from rvos.errors import NO_TEXT, InputError, is_text
from rvos.masks import FileError, TrackFiles, read_json, write_json

AGAIN = "delete it, and start again: it is made anew"  # what is damaged in a store
NOW = "now"  # in the provenance of a store of an older rvos: the name that it would have today
REMARKS = ("weights", "rvos_version", NOW)  # in a provenance: another run may have others
log = logging.getLogger(__name__)


def read_provenance(path: Path) -> dict[str, Any]:
    """A store's provenance.json. Raises FileError."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise FileError(f"{path}: not the provenance of a store; delete the store's folder")
    return content


def flat(value: Any, key: str = "") -> dict[str, Any]:
    """Nested settings -> {dotted key: value}."""
    if not isinstance(value, dict):
        return {key: value}
    result: dict[str, Any] = {}
    for name, item in value.items():
        result |= flat(item, f"{key}.{name}" if key else str(name))
    return result


def differences(before: Any, now: Any) -> list[tuple[str, Any, Any]]:
    """(dotted key, value before, value now) of two nested settings, where they differ."""
    old, new = flat(before), flat(now)
    pairs = [(key, old.get(key), new.get(key)) for key in sorted(old.keys() | new.keys())]
    return [row for row in pairs if row[1] != row[2]]


@dataclass(frozen=True)
class Store:
    """One stage's files for one split. `Stores.open` makes it; the rest reads and writes it."""

    path: Path
    provenance: dict[str, Any]
    origins: dict[str, Any] = field(default_factory=dict)  # of the weights: hub name, revision, ...

    def beside(self, stage: str) -> "Store":
        """The store for a second kind of result that the stage computes from the same settings."""
        folder = self.path.parent.with_name(stage) / self.path.name
        store = Store(folder, {**self.provenance, "stage": stage}, self.origins)
        store.claim()
        return store

    def claim(self) -> None:
        """Check the folder's provenance, or make the folder with ours.

        Raises InputError naming each setting in which the folder's files differ from ours, or
        where the folder cannot be written.
        """
        file = self.path / "provenance.json"
        if not file.is_file():
            self._tell_what_differs()
            try:
                remarks = {"weights": self.origins, "rvos_version": __version__}
                write_json(file, self.provenance | remarks)
            except OSError as error:
                raise InputError(
                    f"paths.stores: cannot write to {self.path}: {error.strerror}"
                ) from None
            return
        before = {key: v for key, v in read_provenance(file).items() if key not in REMARKS}
        if wrong := differences(before, self.provenance):
            lines = "; ".join(f"{key}: expected {now!r}, found {was!r}" for key, was, now in wrong)
            raise InputError(
                f"{self.path}: made under other settings: {lines}. Delete the folder or choose "
                "the settings it was made with."
            )

    def goes_on_as(self, today: "Store") -> bool:
        """Whether this folder is there, of an older rvos, and no other of today's goes on in it.

        The first that does is noted, so that other content of the same old name never mixes.
        """
        file = self.path / "provenance.json"
        if not file.is_file():
            return False
        content = read_provenance(file)
        if NOW not in content:
            with suppress(OSError):  # a folder that can only be read
                write_json(file, content | {NOW: today.path.name})
        return bool(content.get(NOW, today.path.name) == today.path.name)

    def _tell_what_differs(self) -> None:
        """Say why the store is made anew, where there is another one for the same split."""
        split = self.path.name.rpartition("-")[0]
        others = []
        for file in self.path.parent.glob(f"{split}-*/provenance.json"):
            with suppress(FileError):  # what is damaged is not compared
                kept = read_provenance(file)
                other = {key: value for key, value in kept.items() if key in self.provenance}
                others.append((differences(other, self.provenance), file.parent.name))
        if others:
            rows, name = min(others, key=lambda other: len(other[0]))
            told = [f"{key.removeprefix('settings.')} {was!r} -> {now!r}" for key, was, now in rows]
            rest = f" and {len(told) - 3} more" if len(told) > 3 else ""
            log.info(
                "%s %s is new; the nearest, %s, differs in %s%s",
                *(self.path.parent.name, self.path.name, name, "; ".join(told[:3]), rest),
            )

    def has(self, video: str) -> bool:
        """Whether the video's file is there."""
        return self._file(video).is_file()

    def read(self, video: str) -> Any:
        """One video's value. Raises FileError."""
        return read_json(self._file(video))

    def write(self, video: str, value: Any) -> None:
        """Write one video's value, atomically."""
        write_json(self._file(video), value)

    def _file(self, video: str) -> Path:
        return self.path / f"{video}.json.gz"


@dataclass(frozen=True)
class Stores:
    """Where the stores of a dataset lie: `root`, and the `data_name` that their folders carry."""

    root: Path
    data_name: str

    def open(
        self,
        stage: str,
        split: Split,
        *,
        settings: dict[str, Any],
        checkpoint_sha256: str | None = None,
        origins: dict[str, Any] | None = None,
        formerly: dict[str, Any] | None = None,
    ) -> Store:
        """The store of a stage for exactly these settings (plain JSON values), made if needed.

        `origins` says where the weights come from (rvos.weights.provenance.origins). It is kept for
        the reader: the same weights from another place give the same store. `formerly` has the
        parts of the provenance that rvos 0.2.0 wrote otherwise: a store of that name is used where
        there is none of today's.

        Raises InputError when the folder holds files made under other settings or cannot be
        written.
        """
        provenance = {
            "stage": stage,
            "settings": settings,
            "checkpoint_sha256": checkpoint_sha256,
            "meta_expressions_sha256": split.meta_sha256,
        }
        store = self._store(split, provenance, origins)
        if formerly and not store.path.is_dir():
            old = self._store(split, provenance | formerly, origins)
            if old.goes_on_as(store):
                store = old
        store.claim()
        return store

    def _store(
        self, split: Split, provenance: dict[str, Any], origins: dict[str, Any] | None
    ) -> Store:
        digest = hashlib.sha256(json.dumps(provenance, sort_keys=True).encode()).hexdigest()[:12]
        folder = self.root / provenance["stage"] / f"{self.data_name}-{split.name}-{digest}"
        return Store(folder, json.loads(json.dumps(provenance)), origins or {})


def given_files(key: str, path: str | None, *, instances: bool = False) -> TrackFiles:
    """Files of another origin that config key `key` names; `instances` as for `TrackFiles`.

    Raises InputError that names the key or the file.
    """
    if not path:
        raise InputError(f"{key}: expected a file or folder of masks, got nothing")
    try:
        return TrackFiles(path, instances=instances)
    except FileError as error:
        raise InputError(f"{key}: {error}") from None


def given_nouns(key: str, path: str | None) -> dict[str, dict[str, str]]:
    """The file that config key `key` names; which expressions it lacks is not checked here.

    Raises InputError, naming the key, if it is not `{video: {expression_id: noun}}`.
    """
    if not path:
        raise InputError(f"{key}: expected a file {{video: {{expression_id: noun}}}}, got nothing")
    try:
        nouns = read_json(Path(path))
    except FileError as error:
        raise InputError(f"{key}: {error}") from None
    if not isinstance(nouns, dict) or not all(
        isinstance(entry, dict) and all(isinstance(noun, str) for noun in entry.values())
        for entry in nouns.values()
    ):
        raise InputError(f"{key}: {path}: expected {{video: {{expression_id: noun}}}}")
    if no_text := [n for entry in nouns.values() for n in entry.values() if not is_text(n)]:
        raise InputError(f"{key}: {path}: {no_text[0]!r}: {NO_TEXT}")
    return nouns
