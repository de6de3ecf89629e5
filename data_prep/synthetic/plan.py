"""The plan of a corpus: speaker and text of each clip, a function of the settings, with disjoint sets.

Test speakers, sentences and babble voices never occur in training: faces have their own seeds, voices come from
separate variants (``speaker.VARIANTS``), texts from a partition that ignores the seed (``texts.partition``).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, cycle, islice

import numpy as np

from data_prep.synthetic.speaker import SETS, Speaker, draw_speakers, stable_seed
from data_prep.synthetic.texts import LANGUAGES, all_commands, partition, read_sentences, reference_of

TEXT_SET = {"train": "train", "valid": "valid", "test": "test", "babble_train": "train", "babble_test": "babble_test"}
"""Part of the texts for each set; only the training sets share one."""
BABBLE_SENTENCES = 3
"""Sentences of a babble clip, without a break."""


@dataclass(frozen=True)
class CorpusConfig:
    """Settings that decide the content of a corpus."""

    clips: dict[str, int]
    """Number of clips by set, keys ``speaker.SETS``."""
    speakers: dict[str, int]
    """Number of speakers by set."""
    languages: tuple[str, ...]
    """ISO 639-1 codes; every speaker speaks all."""
    text: str
    """"commands" or "sentences"."""
    seed: int

    def __post_init__(self) -> None:
        if not self.languages or len(set(self.languages)) < len(self.languages):
            raise ValueError(f"languages={list(self.languages)}: name at least one, each once")
        if unknown := sorted(set(self.languages) - set(LANGUAGES)):
            raise ValueError(f"languages: {', '.join(unknown)} unknown; there are {', '.join(LANGUAGES)}")
        if self.text not in ("commands", "sentences"):
            raise ValueError(f"text={self.text!r} must be 'commands' or 'sentences'")
        for name in SETS:
            if self.clips[name] < 0:
                raise ValueError(f"num_{name}={self.clips[name]} must not be negative")
            if self.clips[name] and self.speakers[name] < 1:
                raise ValueError(f"speakers_{name}={self.speakers[name]} must be at least 1")


@dataclass(frozen=True)
class Clip:
    """One clip to make."""

    id: str
    part: str
    """One of ``speaker.SETS``."""
    speaker: Speaker
    language: str
    sentences: tuple[str, ...]
    seed: int
    """Seed of noise and motion."""

    @property
    def text(self) -> str:
        """Text for espeak-ng."""
        return self.sentences[0] if len(self.sentences) == 1 else ". ".join(s.rstrip(".") for s in self.sentences)

    @property
    def has_face(self) -> bool:
        """True if the clip has video; babble is audio only."""
        return not self.part.startswith("babble")


def plan_corpus(config: CorpusConfig) -> list[Clip]:
    """Return all clips of a corpus, in manifest order."""
    clips: list[Clip] = []
    for part, num_clips in ((part, config.clips[part]) for part in SETS if config.clips[part]):
        speakers = draw_speakers(part, min(config.speakers[part], num_clips), config.seed)
        drawn = {language: _texts(config, part, language) for language in config.languages}
        for number in range(num_clips):
            round_, speaker = divmod(number, len(speakers))
            language = config.languages[(round_ + speaker) % len(config.languages)]
            name = f"{speakers[speaker].name}-{language}-{round_:04d}"
            sentences = tuple(islice(drawn[language], BABBLE_SENTENCES if part.startswith("babble") else 1))
            seed = stable_seed("clip", config.seed, name)
            clips.append(Clip(name, part, speakers[speaker], language, sentences, seed))
    check_disjoint(clips)
    return clips


def _texts(config: CorpusConfig, part: str, language: str) -> Iterator[str]:
    """Yield the texts of one set and language without end, shuffled once."""
    texts = all_commands(language) if config.text == "commands" else read_sentences(language)
    pool = partition(texts, language)[TEXT_SET[part]]
    rng = np.random.default_rng(stable_seed("texts", part, language, config.seed))
    return cycle([pool[index] for index in rng.permutation(len(pool))])


def check_disjoint(clips: Sequence[Clip]) -> None:
    """Check that sets share no face, voice or sentence; only training babble may use training sentences.

    Raises ValueError with the two sets and what they share.
    """
    for kind, of in (
        ("face", lambda clip: {clip.speaker.seed}),
        ("speaker", lambda clip: {clip.speaker.name}),
        ("voice", lambda clip: {clip.speaker.voice.variant}),
        ("sentence", lambda clip: {(clip.language, reference_of(text, clip.language)) for text in clip.sentences}),
    ):
        used = {part: set().union(*(of(clip) for clip in clips if clip.part == part)) for part in SETS}
        for one, other in combinations(SETS, 2):
            if kind == "sentence" and TEXT_SET[one] == TEXT_SET[other]:
                continue
            if shared := used[one] & used[other]:
                what = f"{one} and {other} share {len(shared)} {kind}s, for example {min(shared)!r}"
                raise ValueError(f"{what}; see VARIANTS in speaker.py and partition in texts.py")
