"""Where a named noise of a test comes from, as it stands under ``noises`` in a conditions YAML.

    noises:
      babble:  {kind: babble, manifest: voices.jsonl, num_voices: 30}
      talker:  {kind: talker, manifest: voices.jsonl}
      music:   {kind: musan, path: /data/musan, part: music}
      kitchen: {kind: demand, path: /data/demand, part: DKITCHEN}
      hall:    {kind: white, impulse_responses: /data/rirs/hall}

An error names the key as ``kind=...``; ``parse_noise`` puts ``noises.<name>.`` before it. What lies behind a path is
looked at only when a plan is made (``avspeech.noise.making``).
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

NOISE_KINDS = ("babble", "talker", "white", "pink", "file", "folder", "musan", "demand", "noisex92", "reverb")
MUSAN_PARTS = ("noise", "music", "speech", "babble")
SPLITS = ("train", "valid", "test")
TEST_SPEAKERS = ("exclude", "allow")
_FROM_MANIFEST = ("babble", "talker", "file")
_FROM_PATH = ("file", "folder", "musan", "demand", "noisex92")
_WITH_PART = ("musan", "demand", "noisex92")
_DEFAULT_VOICES = (6, 6)


@dataclass(frozen=True)
class NoiseSpec:
    """Where one kind of noise comes from."""

    kind: str
    """``white``, ``pink``, ``babble`` (a sum of voices), ``talker`` (one competing voice), ``file`` (one recording, or
    those of a manifest), ``folder`` (of recordings, with its subfolders), the trees of ``musan``, ``demand`` and
    ``noisex92``, or ``reverb`` (a room and no noise, so no SNR)."""
    manifest: Path | None = None
    """Manifest of the voices (babble, talker) or recordings (file); relative to the working directory."""
    num_voices: int | tuple[int, int] = _DEFAULT_VOICES
    """Fewest and most voices of babble; one whole number in YAML means exactly that many. AV-HuBERT's has 30."""
    path: Path | None = None
    """The recording (file), or the root of the tree (folder, musan, demand, noisex92)."""
    part: str | None = None
    """Of musan: ``noise``, ``music``, ``speech`` (one voice) or ``babble``. Of demand and noisex92: one environment or
    recording, such as ``DKITCHEN`` or ``babble``; null takes all."""
    split: str = "test"
    """Of musan: ``train``, ``valid`` or ``test``, 80/10/10 % of the speakers (speech) or files (music, noise)."""
    test_speakers: str = "exclude"
    """``exclude``: no voice of a speaker of the test set is heard. ``allow`` is for corpora of one speaker: an
    utterance is kept from its own clip, and from its own speaker where the pool has others."""
    impulse_responses: Path | None = None
    """Folder of room impulse responses; the speech is reverberated, then the noise is added at the SNR against it."""

    def __post_init__(self) -> None:
        if isinstance(self.num_voices, int):
            object.__setattr__(self, "num_voices", (self.num_voices, self.num_voices))
        if self.kind not in NOISE_KINDS:
            raise ValueError(f"kind={self.kind!r} must be one of {', '.join(NOISE_KINDS)}")
        self._refuse_useless("manifest", self.manifest, None, _FROM_MANIFEST)
        self._refuse_useless("path", self.path, None, _FROM_PATH)
        self._refuse_useless("part", self.part, None, _WITH_PART)
        self._refuse_useless("split", self.split, "test", ("musan",))
        self._refuse_useless("test_speakers", self.test_speakers, "exclude", ("babble", "talker"))
        if self.manifest is not None and self.path is not None:
            raise ValueError(f"path={str(self.path)!r} and manifest={str(self.manifest)!r} came; give one of them")
        low, high = self.voices
        if not 1 <= low <= high:
            raise ValueError(f"num_voices={[low, high]} must be [fewest, most] with 1 <= fewest <= most")
        if not self.is_babble and self.voices != _DEFAULT_VOICES:
            raise ValueError(f"num_voices={[low, high]} has no use with kind={self.kind}; remove it")
        if self.kind == "musan" and self.part not in MUSAN_PARTS:
            raise ValueError(f"part={self.part!r} must be one of {', '.join(MUSAN_PARTS)} with kind=musan")
        if self.split not in SPLITS:
            raise ValueError(f"split={self.split!r} must be one of {', '.join(SPLITS)}")
        if self.test_speakers not in TEST_SPEAKERS:
            raise ValueError(f"test_speakers={self.test_speakers!r} must be one of {', '.join(TEST_SPEAKERS)}")
        if self.kind == "reverb" and self.impulse_responses is None:
            raise ValueError("impulse_responses is missing, and kind=reverb is nothing else; name their folder")

    def _refuse_useless(self, key: str, value: Any, default: Any, kinds: tuple[str, ...]) -> None:
        if value != default and self.kind not in kinds:
            shown = str(value) if isinstance(value, Path) else value
            raise ValueError(f"{key}={shown!r} has no use with kind={self.kind}; remove it")

    @property
    def voices(self) -> tuple[int, int]:
        """Fewest and most voices of babble."""
        both = self.num_voices
        return (both, both) if isinstance(both, int) else both

    @property
    def has_snr(self) -> bool:
        """Whether something is added at an SNR; False for ``reverb``, whose condition has no SNR."""
        return self.kind != "reverb"

    @property
    def is_babble(self) -> bool:
        """Whether several voices are summed."""
        return self.kind == "babble" or (self.kind == "musan" and self.part == "babble")


def parse_noise(key: str, values: Any) -> NoiseSpec:
    """Return the noise that a YAML mapping describes.

    Args:
        key: of the mapping in its file, such as ``noises.babble``.
        values: what YAML gave.

    Raises:
        ValueError: names the key as typed, what came and what was wanted.
    """
    values = dict(typed(key, values, dict, "keys with values, such as {kind: white}"))
    known = [entry.name for entry in fields(NoiseSpec)]
    for name in values:
        if name not in known:
            raise ValueError(f"{key}.{name} is no known key; known are {', '.join(known)}")
    if "kind" not in values:
        raise ValueError(f"{key}.kind is missing; it must be one of {', '.join(NOISE_KINDS)}")
    for name in ("kind", "split", "test_speakers", "part"):
        if name in values and not (name == "part" and values[name] is None):
            typed(f"{key}.{name}", values[name], str, "a word")
    for name in ("manifest", "path", "impulse_responses"):
        if values.get(name) is not None:
            values[name] = Path(typed(f"{key}.{name}", values[name], str, "a path"))
    if "num_voices" in values:
        voices = values["num_voices"] if isinstance(values["num_voices"], list) else [values["num_voices"]] * 2
        wanted = "one whole number, or a list of two"
        if len(voices) != 2:
            raise ValueError(f"{key}.num_voices={voices!r} must be {wanted}")
        values["num_voices"] = tuple(typed(f"{key}.num_voices", voice, int, wanted) for voice in voices)
    try:
        return NoiseSpec(**values)
    except ValueError as error:
        raise ValueError(f"{key}.{error}") from error


def typed(key: str, value: Any, kind: type | tuple[type, ...], wanted: str) -> Any:
    """Return ``value`` if it has the type; a bool is no number."""
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{key}={value!r} must be {wanted}")
    return value
