"""Pools: the files that a noise draws from, and the voices excluded for an utterance."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from avspeech.files import file_sha256
from avspeech.manifest import ManifestError, Utterance, read_manifest
from avspeech.noise.corpora import CORPORA
from avspeech.noise.spec import GENERATED, SPOKEN, NoiseSpec


@dataclass(frozen=True)
class Pool:
    """What one noise is drawn from."""

    root: Path = Path()
    """Folder that ``files`` are relative to: the corpus, or the common folder of a manifest's files."""
    files: tuple[str, ...] = ()
    """Relative paths with "/"; empty for generated noise and for reverberation only."""
    source: str = ""
    """The folder or manifest, for messages."""
    voices: tuple[Utterance, ...] = ()
    """Whose voice each file is, for babble and a talker; empty otherwise."""
    barred_speakers: frozenset[str] = frozenset()
    """Speakers who are never heard: those of the test set."""
    shares_test_speakers: bool = False
    """True if speakers of the test set are heard, or may be."""
    rooms: "Pool | None" = None
    manifest_sha256: str | None = None

    def allowed(self, utterance: Utterance) -> np.ndarray:
        """Return which files an utterance may use, (number of files,) bool.

        Its own clip is excluded, and its own speaker if the pool has others.
        """
        if not self.voices:
            return np.ones(len(self.files), bool)
        numbers, speakers, barred, clips = self._voices
        allowed = ~barred
        allowed[[*clips.get(utterance.id, ()), *clips.get(utterance.audio, ())]] = False
        if utterance.speaker in numbers and utterance.speaker is not None:
            others = speakers != numbers[utterance.speaker]
            allowed &= others if others.any() else True
        return allowed

    @cached_property
    def _voices(self) -> tuple[dict[str | None, int], np.ndarray, np.ndarray, dict[str | Path | None, list[int]]]:
        """Return speaker numbers; each voice's speaker and whether it is barred; voices by id and by file."""
        numbers: dict[str | None, int] = {}
        speakers = np.array([numbers.setdefault(voice.speaker, len(numbers)) for voice in self.voices])
        barred = np.array([voice.speaker in self.barred_speakers for voice in self.voices])
        clips: dict[str | Path | None, list[int]] = {}
        for index, voice in enumerate(self.voices):
            clips.setdefault(voice.id, []).append(index)
            clips.setdefault(voice.audio, []).append(index)
        return numbers, speakers, barred, clips

    def facts(self, spec: NoiseSpec) -> dict[str, Any]:
        """Return what the header of a plan says of this noise."""
        found = spec.settings()
        if self.files:
            whose = [[voice.id, voice.speaker] for voice in self.voices] or [[]] * len(self.files)
            listing = json.dumps([[file, *one] for file, one in zip(self.files, whose, strict=True)])
            digest = hashlib.sha256(listing.encode()).hexdigest()
            found |= {"num_files": len(self.files), "files_sha256": digest, "root": str(self.root)}
        if self.manifest_sha256 is not None:
            found["manifest_sha256"] = self.manifest_sha256
        if self.rooms is not None:
            found["impulse_responses"] = self.rooms.facts(NoiseSpec("folder"))
        return found


def open_pools(
    noises: Mapping[str, NoiseSpec],
    utterances: Sequence[Utterance] = (),
    voices: Sequence[Utterance] = (),
    split: str = "test",
) -> dict[str, Pool]:
    """Return the pool of every noise, by name.

    Args:
        noises: source of each.
        utterances: the test set, whose speakers are excluded; empty in training.
        voices: clips for babble and talker without a manifest; empty in a test.
        split: default split of a corpus.

    Raises:
        ValueError: files are missing, a corpus has another layout, or too few voices are left.
    """
    return {name: _open_pool(name, spec, utterances, voices, split) for name, spec in noises.items()}


def roots_of(noises: Mapping[str, NoiseSpec]) -> dict[str, Path]:
    """Return each noise's folder, by noise and ``<noise>.impulse_responses``. ValueError: a manifest cannot be read."""
    roots: dict[str, Path] = {}
    for name, spec in noises.items():
        if spec.manifest is not None:
            roots[name] = _common_folder(_read(name, spec.manifest))
        elif spec.path is not None:
            roots[name] = spec.path.parent if spec.kind == "file" else spec.path
        if spec.impulse_responses is not None:
            roots[f"{name}.impulse_responses"] = spec.impulse_responses
    return roots


def _open_pool(
    name: str, spec: NoiseSpec, utterances: Sequence[Utterance], voices: Sequence[Utterance], split: str
) -> Pool:
    rooms = None
    if spec.impulse_responses is not None:
        try:
            rooms = _tree(spec.impulse_responses, CORPORA["folder"].files(spec.impulse_responses, None, split))
        except ValueError as error:
            raise ValueError(f"noises.{name}.impulse_responses: {error}") from error
    if spec.kind in (*GENERATED, "reverb"):
        return Pool(rooms=rooms)
    if spec.manifest is not None or (spec.kind in SPOKEN and voices):
        return _of_clips(name, spec, utterances, voices, rooms)
    if spec.path is None:
        key, option = ("manifest", "noise_manifests") if spec.kind in SPOKEN else ("path", "noise_paths")
        instead = " or a manifest" if spec.kind == "file" else ""
        raise ValueError(
            f"noises.{name}.{key} is not set and kind={spec.kind} needs one{instead}; write it into the YAML, or for a "
            f"test give --{option} '{{{name}: <{key}>}}'"
        )
    split = spec.split or split
    try:
        if spec.kind == "file" and not spec.path.is_file():
            raise ValueError(f"{spec.path} is no file, wanted a recording; kind: folder takes all of a folder")
        files = [spec.path] if spec.kind == "file" else CORPORA[spec.kind].files(spec.path, spec.part, split)
    except ValueError as error:
        raise ValueError(f"noises.{name}.path: {error}") from error
    if spec.is_babble and len(files) < spec.voices[1]:
        raise ValueError(
            f"noises.{name}.num_voices={list(spec.voices)} is more than the {len(files)} recordings of the "
            f"{split} split in {spec.path}"
        )
    return _tree(spec.path.parent if spec.kind == "file" else spec.path, files, rooms)


def _tree(root: Path, files: Sequence[Path], rooms: Pool | None = None) -> Pool:
    return Pool(root, tuple(file.relative_to(root).as_posix() for file in files), str(root), rooms=rooms)


def _of_clips(
    name: str, spec: NoiseSpec, utterances: Sequence[Utterance], clips: Sequence[Utterance], rooms: Pool | None
) -> Pool:
    clips = tuple(clips if spec.manifest is None else _read(name, spec.manifest))
    root, source = _common_folder(clips), str(spec.manifest or "the training clips")
    files = tuple(Path(os.path.abspath(one.audio)).relative_to(root).as_posix() for one in clips if one.audio)  # noqa: PTH100
    digest = spec.manifest and file_sha256(spec.manifest)
    if spec.kind not in SPOKEN:
        return Pool(root, files, source, rooms=rooms, manifest_sha256=digest)
    tested = {one.speaker for one in utterances if one.speaker is not None}
    nameless = next((one for one in (*clips, *utterances) if one.speaker is None), None)
    excludes = spec.test_speakers == "exclude" and bool(utterances)
    fix = f"noises.{name}.test_speakers: allow if they may be heard"
    if excludes and nameless is not None:
        raise ValueError(
            f"noises.{name}.test_speakers=exclude keeps the test set's speakers out of {source}, but clip "
            f"{nameless.id!r} names no speaker; fill in 'speaker', or set {fix}"
        )
    shares = not excludes and (nameless is not None or any(voice.speaker in tested for voice in clips))
    barred = frozenset(tested if excludes else ())
    pool = Pool(root, files, source, clips, barred, shares, rooms, digest)
    wanted, own = spec.voices[1] if spec.is_babble else 1, {one.id for one in clips} | {one.audio for one in clips}
    # One utterance of each speaker, with and without a clip of its own in the pool, stands for all.
    for utterance in {(one.speaker, one.id in own or one.audio in own): one for one in utterances}.values():
        left = int(pool.allowed(utterance).sum())
        if not left and excludes:
            raise ValueError(
                f"noises.{name}.manifest: no voice is left for utterance {utterance.id!r}: all {len(clips)} clips of "
                f"{source} are its own or of speakers of the test set; give other speakers, or set {fix}"
            )
        if left < wanted:
            raise ValueError(
                f"noises.{name}.num_voices={list(spec.voices)} is more than the {left} of {len(clips)} clips of "
                f"{source} that utterance {utterance.id!r} of speaker {utterance.speaker!r} may hear; lower it or add "
                "clips, since an utterance's own speaker is never in its babble"
            )
    return pool


def _read(name: str, manifest: Path) -> list[Utterance]:
    try:
        return read_manifest(manifest, require=("audio",))
    except ManifestError as error:
        raise ValueError(f"noises.{name}.manifest: {error}") from error


def _common_folder(clips: Sequence[Utterance]) -> Path:
    folders = [os.path.abspath(one.audio.parent) for one in clips if one.audio is not None]  # noqa: PTH100 - keeps links
    return Path(os.path.commonpath(folders))
