"""The files that a noise may be drawn from, and whose voices an utterance may not hear."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from avspeech.files import file_sha256
from avspeech.manifest import ManifestError, Utterance, read_manifest
from avspeech.noise.corpora import demand_files, folder_files, musan_files, noisex92_files
from avspeech.noise.spec import NoiseSpec

SETTINGS = ("kind", "num_voices", "part", "split", "test_speakers")
"""Keys of a noise that decide what is drawn, besides the files; see ``Pool.settings``."""


@dataclass(frozen=True)
class Pool:
    """What one noise is drawn from."""

    root: Path = Path()
    """Folder that ``files`` are relative to: the tree's, or the deepest one that holds all files of a manifest."""
    files: tuple[str, ...] = ()
    """Relative paths with "/"; empty for generated noise and for reverberation alone."""
    source: str = ""
    """The folder or manifest, for messages."""
    voices: tuple[Utterance, ...] = ()
    """For babble and a talker: whose voice each file is."""
    barred_speakers: frozenset[str] = frozenset()
    """Speakers who may not be heard by anybody: those of the test set."""
    shares_test_speakers: bool = False
    """Whether speakers of the test set are heard, or may be."""
    speakers: Mapping[str | None, int] = field(default_factory=dict)
    """Clips of each speaker."""
    rooms: "Pool | None" = None
    """Impulse responses."""
    manifest_sha256: str | None = None

    def allows(self, index: int, utterance: Utterance) -> bool:
        """Whether an utterance may hear a file: not its own clip, nor its own speaker where the pool has others."""
        if not self.voices:
            return True
        voice = self.voices[index]
        if voice.id == utterance.id or voice.audio == utterance.audio or voice.speaker in self.barred_speakers:
            return False
        own = self.speakers.get(utterance.speaker, 0) if utterance.speaker is not None else 0
        return not own or own == len(self.voices) or voice.speaker != utterance.speaker

    def facts(self, spec: NoiseSpec) -> dict[str, Any]:
        """Return what the header of a plan says."""
        found = self.settings(spec)
        if self.files:
            found |= {"num_files": len(self.files), "files_sha256": self._files_sha256(), "root": str(self.root)}
        if self.manifest_sha256 is not None:
            found["manifest_sha256"] = self.manifest_sha256
        if self.rooms is not None:
            found["impulse_responses"] = self.rooms.facts(NoiseSpec("folder"))
        return found

    def _files_sha256(self) -> str:
        whose = [[voice.id, voice.speaker] for voice in self.voices] or [[]] * len(self.files)
        listing = [[file, *one] for file, one in zip(self.files, whose, strict=True)]
        return hashlib.sha256(json.dumps(listing).encode()).hexdigest()

    @staticmethod
    def settings(spec: NoiseSpec) -> dict[str, Any]:
        """Return the settings of a noise that have a use with its kind, without paths."""
        found: dict[str, Any] = {"kind": spec.kind}
        if spec.is_babble:
            found["num_voices"] = list(spec.voices)
        if spec.part is not None:
            found["part"] = spec.part
        if spec.kind == "musan":
            found["split"] = spec.split
        if spec.kind in ("babble", "talker"):
            found["test_speakers"] = spec.test_speakers
        return found


def open_pools(noises: Mapping[str, NoiseSpec], utterances: Sequence[Utterance]) -> dict[str, Pool]:
    """Return the pool of every noise, by name.

    Raises:
        ValueError: files are missing, a tree looks otherwise, or nobody is left to babble; names the key.
    """
    return {name: _open_pool(name, spec, utterances) for name, spec in noises.items()}


def roots_of(noises: Mapping[str, NoiseSpec]) -> dict[str, Path]:
    """Return the folder of each noise's files, by noise, and of rooms, by ``<noise>.impulse_responses``.

    Raises:
        ValueError: a manifest cannot be read; names the key.
    """
    roots: dict[str, Path] = {}
    for name, spec in noises.items():
        if spec.manifest is not None:
            roots[name] = _common_folder([one.audio for one in _read(name, spec.manifest) if one.audio is not None])
        elif spec.path is not None:
            roots[name] = spec.path.parent if spec.kind == "file" else spec.path
        if spec.impulse_responses is not None:
            roots[f"{name}.impulse_responses"] = spec.impulse_responses
    return roots


def _open_pool(name: str, spec: NoiseSpec, utterances: Sequence[Utterance]) -> Pool:
    rooms = None
    if spec.impulse_responses is not None:
        try:
            rooms = _tree(spec.impulse_responses, folder_files(spec.impulse_responses))
        except ValueError as error:
            raise ValueError(f"noises.{name}.impulse_responses: {error}") from error
    if spec.kind in ("white", "pink", "reverb"):
        return Pool(rooms=rooms)
    if spec.kind in ("babble", "talker") or spec.manifest is not None:
        return _of_manifest(name, spec, utterances, rooms)
    if spec.path is None:
        instead = " or a manifest" if spec.kind == "file" else ""
        raise ValueError(
            f"noises.{name}.path is not set and kind={spec.kind} needs one{instead}; write it into the conditions "
            f"file or give --noise_paths '{{{name}: <path>}}'"
        )
    try:
        pool = _tree(spec.path.parent if spec.kind == "file" else spec.path, _files(spec, spec.path), rooms)
    except ValueError as error:
        raise ValueError(f"noises.{name}.path: {error}") from error
    if spec.is_babble and len(pool.files) < spec.voices[1]:
        raise ValueError(
            f"noises.{name}.num_voices={list(spec.voices)} is more than the {len(pool.files)} recordings of the "
            f"{spec.split} split in {spec.path}"
        )
    return pool


def _files(spec: NoiseSpec, path: Path) -> list[Path]:
    if spec.kind == "musan":
        assert spec.part is not None
        return musan_files(path, spec.part, spec.split)
    if spec.kind == "demand":
        return demand_files(path, spec.part)
    if spec.kind == "noisex92":
        return noisex92_files(path, spec.part)
    if spec.kind == "folder":
        return folder_files(path)
    if not path.is_file():
        raise ValueError(f"{path} is no file, wanted a recording; kind: folder takes all of a folder")
    return [path]


def _tree(root: Path, files: Sequence[Path], rooms: Pool | None = None) -> Pool:
    return Pool(root, tuple(file.relative_to(root).as_posix() for file in files), str(root), rooms=rooms)


def _of_manifest(name: str, spec: NoiseSpec, utterances: Sequence[Utterance], rooms: Pool | None) -> Pool:
    if spec.manifest is None:
        raise ValueError(
            f"noises.{name}.manifest is not set and kind={spec.kind} needs one; write it into the conditions "
            f"file or give --noise_manifests '{{{name}: <manifest>}}'"
        )
    voices = tuple(_read(name, spec.manifest))
    audio = [voice.audio for voice in voices if voice.audio is not None]
    root = _common_folder(audio)
    pool = Pool(
        root,
        tuple(Path(os.path.abspath(file)).relative_to(root).as_posix() for file in audio),  # noqa: PTH100
        str(spec.manifest),
        rooms=rooms,
        manifest_sha256=file_sha256(spec.manifest),
    )
    return pool if spec.kind == "file" else _with_voices(name, spec, pool, voices, utterances)


def _with_voices(
    name: str, spec: NoiseSpec, pool: Pool, voices: tuple[Utterance, ...], utterances: Sequence[Utterance]
) -> Pool:
    tested = {one.speaker for one in utterances if one.speaker is not None}
    nameless = next((one for one in (*voices, *utterances) if one.speaker is None), None)
    excludes = spec.test_speakers == "exclude"
    fix = f"noises.{name}.test_speakers: allow if they may be heard"
    if excludes and nameless is not None:
        raise ValueError(
            f"noises.{name}.test_speakers=exclude keeps the test set's speakers out of {spec.manifest}, but clip "
            f"{nameless.id!r} names no speaker; fill in 'speaker', or set {fix}"
        )
    shares = not excludes and (nameless is not None or any(voice.speaker in tested for voice in voices))
    full = Pool(
        pool.root,
        pool.files,
        pool.source,
        voices,
        frozenset(tested) if excludes else frozenset(),
        shares,
        Counter(voice.speaker for voice in voices),
        pool.rooms,
        pool.manifest_sha256,
    )
    wanted = spec.voices[1] if spec.is_babble else 1
    own = {voice.id for voice in voices} | {voice.audio for voice in voices}
    # One of each speaker, with and without an own clip in the pool, stands for all.
    for utterance in {(one.speaker, one.id in own or one.audio in own): one for one in utterances}.values():
        heard = (index for index in range(len(voices)) if full.allows(index, utterance))
        left = len(list(islice(heard, wanted)))  # not all: a pool may have 100,000 clips, a test set 400 speakers
        if not left and excludes:
            raise ValueError(
                f"noises.{name}.manifest: no voice is left for utterance {utterance.id!r}: all {len(voices)} clips of "
                f"{spec.manifest} are its own or of speakers of the test set; give other speakers, or set {fix}"
            )
        if left < wanted:
            raise ValueError(
                f"noises.{name}.num_voices={list(spec.voices)} is more than the {left} of {len(voices)} clips of "
                f"{spec.manifest} that utterance {utterance.id!r} of speaker {utterance.speaker!r} may hear; lower it "
                "or add clips, since nobody babbles behind himself"
            )
    return full


def _read(name: str, manifest: Path) -> list[Utterance]:
    try:
        return read_manifest(manifest, require=("audio",))
    except ManifestError as error:
        raise ValueError(f"noises.{name}.manifest: {error}") from error


def _common_folder(files: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([os.path.abspath(file.parent) for file in files]))  # noqa: PTH100 - keeps links
