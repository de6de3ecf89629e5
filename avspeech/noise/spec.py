"""Source of a named noise, with the same keys in a conditions YAML and a training configuration.

    noises:
      babble:  {kind: babble, manifest: voices.jsonl, num_voices: 30}
      talker:  {kind: talker, manifest: voices.jsonl}
      music:   {kind: musan, path: /data/musan, part: music}
      kitchen: {kind: demand, path: /data/demand, part: DKITCHEN}
      hall:    {kind: white, impulse_responses: /data/rirs/hall}

Files are opened only when a plan is made (``making``) or training starts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avspeech.noise.corpora import CORPORA, SPLITS
from avspeech.noise.mixing import Level, Rule, check_rule, check_snrs

GENERATED, SPOKEN, TEST_SPEAKERS = ("white", "pink"), ("babble", "talker"), ("exclude", "allow")


@dataclass(frozen=True)
class NoiseSpec:
    """Where one noise comes from."""

    kind: str
    """white, pink, babble, talker (one voice), file, folder, musan, demand, noisex92 or reverb (room only, no SNR)."""
    manifest: Path | None = None
    """Manifest of voices or recordings; in training, null takes ``data.noise_manifest`` or the training clips."""
    num_voices: int | tuple[int, int] = (6, 6)
    """Voices of babble: a number, or fewest and most. AV-HuBERT uses 30."""
    path: Path | None = None
    """The recording (file), or the root of the corpus or folder."""
    part: str | None = None
    """musan: ``noise``, ``music``, ``speech`` (one voice), ``babble``; demand, noisex92: one name, null for all."""
    split: str | None = None
    """musan's ``train``, ``valid`` or ``test``; null: ``test`` in a test, else the split being trained or validated."""
    num_recordings: int = 1
    """Recordings averaged into one noise (``noise_num`` of AV-HuBERT's code)."""
    test_speakers: str = "exclude"
    """``exclude`` test speakers, or ``allow`` them: only own clip and, if possible, own speaker are excluded."""
    impulse_responses: Path | None = None
    """Folder of room impulse responses; speech is reverberated first, and the SNR refers to the result."""

    def __post_init__(self) -> None:
        kinds = (*SPOKEN, *GENERATED, "file", "reverb", *CORPORA)
        if self.kind not in kinds:
            raise ValueError(f"kind={self.kind!r} must be one of {', '.join(kinds)}")
        if isinstance(self.num_voices, int):
            object.__setattr__(self, "num_voices", (self.num_voices, self.num_voices))
        corpus, recorded = CORPORA.get(self.kind), self.kind in ("file", *CORPORA)
        used = {
            "manifest": self.kind in (*SPOKEN, "file"),
            "num_voices": self.is_babble,
            "path": recorded,
            "part": corpus is not None and corpus.parts != (),
            "split": corpus is not None and corpus.split,
            "num_recordings": recorded and not self.is_babble,
            "test_speakers": self.kind in SPOKEN,
        }
        for key, is_used in used.items():
            value = getattr(self, key)
            if not is_used and value != getattr(NoiseSpec, key):
                shown = str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
                raise ValueError(f"{key}={shown!r} has no use with kind={self.kind}; remove it")
        if self.manifest is not None and self.path is not None:
            raise ValueError(f"path={str(self.path)!r} and manifest={str(self.manifest)!r} came; give one of them")
        low, high = self.voices
        if not 1 <= low <= high:
            raise ValueError(f"num_voices={[low, high]} must be [fewest, most] with 1 <= fewest <= most")
        if self.num_recordings < 1:
            raise ValueError(f"num_recordings={self.num_recordings} must be at least 1")
        parts = (corpus and corpus.parts) or (self.part,)
        for key, known in {"part": parts, "split": (None, *SPLITS), "test_speakers": TEST_SPEAKERS}.items():
            if getattr(self, key) not in known:
                raise ValueError(f"{key}={getattr(self, key)!r} must be one of {', '.join(filter(None, known))}")
        if self.kind == "reverb" and self.impulse_responses is None:
            raise ValueError("impulse_responses is missing, and kind=reverb is nothing else; name their folder")

    @property
    def voices(self) -> tuple[int, int]:
        """Fewest and most voices of babble."""
        return (self.num_voices, self.num_voices) if isinstance(self.num_voices, int) else self.num_voices

    @property
    def has_snr(self) -> bool:
        """True if something is added at an SNR; False for ``reverb``."""
        return self.kind != "reverb"

    @property
    def is_babble(self) -> bool:
        """True if several voices are summed."""
        corpus = CORPORA.get(self.kind)
        return self.kind == "babble" or (corpus is not None and self.part is not None and self.part == corpus.voices)

    def settings(self) -> dict[str, Any]:
        """Return the settings that decide the draws, as in a plan's header."""
        corpus = CORPORA.get(self.kind)
        found = {
            "kind": self.kind,
            "num_voices": list(self.voices) if self.is_babble else None,
            "part": self.part,
            "split": (self.split or "test") if corpus and corpus.split else None,
            "num_recordings": self.num_recordings if self.num_recordings > 1 else None,
            "test_speakers": self.test_speakers if self.kind in SPOKEN else None,
        }
        return {key: value for key, value in found.items() if value is not None}


OLD_KEYS = {
    "kinds": "noise.noises, such as {babble: {kind: babble}}",
    "num_voices": "num_voices of a noise in noise.noises",
    "files": "noise.noises with {kind: file, path: ...}, or kind: folder",
    "num_files": "num_recordings of a noise in noise.noises",
    "rule: official": "noise.rule: avhubert",
}
"""Former keys of ``noise`` in a training configuration, and their replacements."""


@dataclass(frozen=True)
class NoiseConfig:
    """Noise added to training audio. Defaults follow AV-HuBERT: a quarter of the clips, at 0 dB."""

    probability: float = 0.25
    """Share of utterances with noise; 0 trains on clean audio."""
    snr_db: tuple[float, float] = (0.0, 0.0)
    """Lowest and highest SNR in dB; uniform between them."""
    noises: Mapping[str, NoiseSpec] = field(default_factory=lambda: {"babble": NoiseSpec("babble", num_voices=(2, 8))})
    """Noises by name, equally likely; by default babble of the training clips."""
    rule: Rule = "avspeech"
    """Mixing rule (``avspeech.noise.mixing``); ``avhubert`` matches the official code bit by bit."""
    level: Level = "clip"
    """Speech level for the SNR: the whole ``clip`` or its ``active`` speech (ITU-T P.56)."""

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(f"noise.probability={self.probability} must lie in 0..1")
        if self.snr_db[0] > self.snr_db[1]:
            raise ValueError(f"noise.snr_db={self.snr_db} must be [lowest, highest]")
        check_snrs(self.snr_db, "noise.snr_db")
        check_rule(self.rule, self.level)
        if self.probability and not self.noises:
            raise ValueError("noise.noises is empty; name a noise, or set noise.probability=0 for clean audio")
