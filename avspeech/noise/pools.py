"""Pools: the files that a noise draws from, and the voices excluded for an utterance."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from avspeech.files import file_sha256
from avspeech.manifest import Utterance, read_manifest
from avspeech.noise.corpora import CORPORA
from avspeech.noise.recordings import Place, Voice, name_part
from avspeech.noise.spec import GENERATED, SPOKEN, NoiseSpec
from avspeech.shards.reading import Shards, is_shards


@dataclass(frozen=True)
class Pool:
    """What one noise is drawn from."""

    root: Path = Path()  # folder that ``files`` are relative to: the corpus, or the common folder of a manifest's files
    files: tuple[str, ...] = ()  # relative paths with "/"; empty for generated noise and for reverberation only
    source: str = ""  # the folder or manifest, for messages
    voices: tuple[Utterance, ...] = ()  # whose voice each file is, for babble and a talker; empty otherwise
    barred_speakers: frozenset[str] = frozenset()
    shares_test_speakers: bool = False  # true if speakers of the test set are heard, or may be
    rooms: "Pool | None" = None
    manifest_sha256: str | None = None
    shards: Shards | None = None  # whose sounds are the voices, in place of ``files`` and ``voices``

    @property
    def size(self) -> int:
        """Number of recordings."""
        return len(self.files) if self.shards is None else len(self.shards)

    def place(self, index: int) -> Place:
        """Return where a recording is."""
        return self.root / self.files[index] if self.shards is None else Voice(self.shards, int(index))

    def allowed(self, utterance: Utterance) -> np.ndarray:
        """Return which recordings an utterance may use, (``size``,) bool.

        Its own clip is excluded, and its own speaker if the pool has others.
        """
        if not self.voices and self.shards is None:
            return np.ones(self.size, bool)
        numbers, speakers, barred = self._voices
        allowed = ~barred
        allowed[self._own(utterance)] = False
        if utterance.speaker in numbers and utterance.speaker is not None:
            others = speakers != numbers[utterance.speaker]
            allowed &= others if others.any() else True
        return allowed

    @cached_property
    def _voices(self) -> tuple[dict[str | None, int], np.ndarray, np.ndarray]:
        """Return speaker numbers; each voice's speaker, and whether it is barred or has no sound."""
        if self.shards is not None:
            speakers, names = self.shards.codes("speaker")
            return {name: number for number, name in enumerate(names)}, speakers, ~self.shards.has("audio")
        numbers: dict[str | None, int] = {}
        speakers = np.array([numbers.setdefault(voice.speaker, len(numbers)) for voice in self.voices])
        return numbers, speakers, np.array([voice.speaker in self.barred_speakers for voice in self.voices])

    def _own(self, utterance: Utterance) -> Sequence[int] | np.ndarray:
        """Return the voices that are the utterance's own clip, by id or by file."""
        if self.shards is not None:
            return self.shards.find(utterance.id)
        return [*self._clips.get(utterance.id, ()), *self._clips.get(utterance.audio, ())]

    @cached_property
    def _clips(self) -> dict[str | Path | None, list[int]]:
        clips: dict[str | Path | None, list[int]] = {}
        for index, voice in enumerate(self.voices):
            clips.setdefault(voice.id, []).append(index)
            clips.setdefault(voice.audio, []).append(index)
        return clips

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
    voices: Sequence[Utterance] | Shards = (),
    split: str = "test",
) -> dict[str, Pool]:
    """Return the pool of every noise, by name.

    ``utterances`` is the test set, whose speakers are excluded; ``voices`` are training's clips, or shards, for babble
    and talker without a manifest; ``split`` is the default split of a corpus. ValueError: files are missing, a corpus
    has another layout, or too few voices are left.
    """
    pools = {}
    for name, spec in noises.items():
        with _named(f"noises.{name}."):
            rooms = None
            if spec.impulse_responses is not None:
                with _named("impulse_responses: "):
                    rooms = _of_tree(NoiseSpec("folder", path=spec.impulse_responses), spec.impulse_responses, split)
            pool = Pool()
            if spec.manifest is not None or (spec.kind in SPOKEN and voices):
                pool = _of_clips(spec, utterances, voices)
            elif spec.path is not None:
                with _named("path: "):
                    pool = _of_tree(spec, spec.path, spec.split or split)
                if spec.is_babble and len(pool.files) < spec.voices[1]:
                    raise ValueError(
                        f"num_voices={list(spec.voices)} is more than the {len(pool.files)} recordings of the "
                        f"{spec.split or split} split in {spec.path}"
                    )
            elif spec.kind not in (*GENERATED, "reverb"):
                key, option = ("manifest", "noise_manifests") if spec.kind in SPOKEN else ("path", "noise_paths")
                instead = " or a manifest" if spec.kind == "file" else ""
                raise ValueError(
                    f"{key} is not set and kind={spec.kind} needs one{instead}; write it into the YAML, or for a test "
                    f"give --{option} '{{{name}: <{key}>}}'"
                )
            pools[name] = replace(pool, rooms=rooms)
    return pools


def roots_of(noises: Mapping[str, NoiseSpec]) -> dict[str, Path]:
    """Return each noise's folder, by noise and ``<noise>.impulse_responses``. ValueError: a manifest cannot be read."""
    roots: dict[str, Path] = {}
    for name, spec in noises.items():
        if spec.manifest is not None:
            with _named(f"noises.{name}."):
                roots[name] = _common_folder(read_manifest(spec.manifest, require=("audio",)))
        elif spec.path is not None:
            roots[name] = spec.path.parent if spec.kind == "file" else spec.path
        if spec.impulse_responses is not None:
            roots[f"{name}.impulse_responses"] = spec.impulse_responses
    return roots


@contextmanager
def _named(key: str) -> Iterator[None]:
    """Put the key in front of a ValueError's message."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{key}{error}") from error


def _of_tree(spec: NoiseSpec, path: Path, split: str) -> Pool:
    if spec.kind == "file" and not path.is_file():
        raise ValueError(f"{path} is no file, wanted a recording; kind: folder takes all of a folder")
    root, files = path.parent, [path]
    if spec.kind != "file":
        root, files = path, CORPORA[spec.kind].files(path, spec.part, split)
    return Pool(root, tuple(file.relative_to(root).as_posix() for file in files), str(root))


def _of_clips(spec: NoiseSpec, utterances: Sequence[Utterance], given: Sequence[Utterance] | Shards) -> Pool:
    found = given if spec.manifest is None else _read(spec.manifest)
    if isinstance(found, Shards):
        if utterances or spec.kind not in SPOKEN:
            raise ValueError(
                f"manifest: {found.path} are shards, which serve babble and talker in training; wanted a manifest, "
                "because a noise plan names files: data_prep/unpack_shards.py writes both"
            )
        return Pool(source=found.path, shards=found)
    clips = tuple(found)
    root, source = _common_folder(clips), str(spec.manifest or "the training clips")
    sounds = (name_part(Path(os.path.abspath(one.audio)), one.span) for one in clips if one.audio)  # noqa: PTH100
    files = tuple(sound.relative_to(root).as_posix() for sound in sounds)
    pool = Pool(root, files, source, manifest_sha256=spec.manifest and file_sha256(spec.manifest))
    if spec.kind not in SPOKEN:
        return pool
    tested = {one.speaker for one in utterances if one.speaker is not None}
    nameless = next((one for one in (*clips, *utterances) if one.speaker is None), None)
    excludes = spec.test_speakers == "exclude" and bool(utterances)
    if excludes and nameless is not None:
        raise ValueError(
            f"test_speakers=exclude keeps the test set's speakers out of {source}, but clip {nameless.id!r} names no "
            "speaker; fill in 'speaker', or set test_speakers: allow if they may be heard"
        )
    shares = not excludes and (nameless is not None or any(voice.speaker in tested for voice in clips))
    barred = frozenset(tested if excludes else ())
    pool = replace(pool, voices=clips, barred_speakers=barred, shares_test_speakers=shares)
    wanted, own = spec.voices[1] if spec.is_babble else 1, {one.id for one in clips} | {one.audio for one in clips}
    # One utterance of each speaker, with and without a clip of its own in the pool, stands for all.
    for utterance in {(one.speaker, one.id in own or one.audio in own): one for one in utterances}.values():
        if (left := int(pool.allowed(utterance).sum())) < wanted:
            whose = "its own speaker or speakers of the test set" if excludes else "its own speaker"
            raise ValueError(
                f"manifest: {left} of the {len(clips)} clips of {source} are left for utterance {utterance.id!r} of "
                f"speaker {utterance.speaker!r}, wanted {wanted}, and none of {whose}; add clips of others, lower "
                "num_voices, or set test_speakers: allow"
            )
    return pool


def _read(manifest: Path) -> list[Utterance] | Shards:
    with _named("manifest: "):
        return Shards(manifest) if is_shards(manifest) else read_manifest(manifest, require=("audio",))


def _common_folder(clips: Sequence[Utterance]) -> Path:
    folders = [os.path.abspath(one.audio.parent) for one in clips if one.audio is not None]  # noqa: PTH100 - keeps links
    return Path(os.path.commonpath(folders))
