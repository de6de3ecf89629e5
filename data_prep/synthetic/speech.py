"""A spoken text: 16 kHz audio with the times of its phones and words.

Clips have ``MARGIN_S`` of near silence at both ends and last whole video frames. espeak-ng reports the *start* of a
phone: for a voiceless stop the burst, after a closure (measured: silent from 50 to 10 ms before); for a voiced stop
the closure (45 to 60 ms of voice bar, then the burst).
"""

import unicodedata
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from math import ceil

import numpy as np

from avspeech.manifest import Word
from avspeech.timebase import SAMPLE_RATE, SAMPLES_PER_FRAME
from data_prep.synthetic.espeak import Espeak, Event, Synthesis, Voice
from data_prep.synthetic.texts import tokens_of
from data_prep.synthetic.visemes import VOICED_STOPS, VOICELESS_STOPS, is_switch, split_ipa

MARGIN_S = 0.25
"""Silence before the first and after the last phone."""
CLOSURE_S = 0.055
"""Duration of a stop's closure."""
LEVEL = 0.08
"""Root mean square of a clip."""
ROOM = 2e-4
"""Root mean square of the room noise: real recordings hold no digital silence."""


@dataclass(frozen=True)
class Phone:
    """One phone; ``start_s`` is the start of the mouth's movement, closure included."""

    ipa: str
    viseme: str
    start_s: float
    end_s: float
    word: int
    """Index into ``Speech.words``; -1 in a pause."""


@dataclass(frozen=True)
class Speech:
    """A spoken text."""

    audio_S: np.ndarray
    """float32, 16 kHz, whole 25 Hz frames long."""
    phones: tuple[Phone, ...]
    words: tuple[Word, ...]

    @property
    def num_frames(self) -> int:
        """Length in video frames."""
        return len(self.audio_S) // SAMPLES_PER_FRAME


def say(espeak: Espeak, text: str, language: str, voice: Voice, rng: np.random.Generator) -> Speech:
    """Return the speech of a text, which may have capitals and punctuation; ``language`` is an ISO 639-1 code."""
    text = unicodedata.normalize("NFC", " ".join(text.split()))  # positions of events count these characters
    synthesis = espeak.speak(text, language, voice)
    phones = phones_of(synthesis, text, language)
    spoken = [phone for phone in phones if phone.word >= 0]
    if not spoken:
        raise ValueError(f"espeak-ng reports no phone for {language!r} {text!r}; expected a text with letters")
    shift_s = MARGIN_S - spoken[0].start_s
    num_frames = ceil((spoken[-1].end_s + shift_s + MARGIN_S) * SAMPLE_RATE / SAMPLES_PER_FRAME)
    audio_S = _place(_resample(synthesis.pcm, synthesis.rate), shift_s, num_frames * SAMPLES_PER_FRAME)
    audio_S *= LEVEL / np.sqrt(np.mean(audio_S**2))
    audio_S += ROOM * rng.standard_normal(len(audio_S))
    audio_S *= min(1.0, 0.95 / np.abs(audio_S).max())
    moved = [replace(phone, start_s=phone.start_s + shift_s, end_s=phone.end_s + shift_s) for phone in phones]
    return Speech(audio_S.astype(np.float32), tuple(moved), words_of(moved, text, language))


def phones_of(synthesis: Synthesis, text: str, language: str) -> list[Phone]:
    """Return the phones and pauses of a synthesis without gaps, on its own clock."""
    events = [event for event in synthesis.events if event.kind == "word" or not is_switch(event.ipa)]
    starts = [start for _, start, _ in tokens_of(text, language)]
    sounds = _sounds(events, starts, len(synthesis.pcm) / synthesis.rate)
    phones: list[Phone] = []
    for ipa, start_s, end_s, word in sounds:
        units = split_ipa(ipa, language)
        if not units:  # a pause, or a mark that stands alone
            if not ipa:
                phones.append(Phone("", "SIL", start_s, end_s, -1))
            elif phones:
                phones[-1] = replace(phones[-1], end_s=end_s)
            continue
        step_s = (end_s - start_s) / len(units)
        for index, (letter, viseme) in enumerate(units):
            phones.append(Phone(letter, viseme, start_s + index * step_s, start_s + (index + 1) * step_s, word))
    return _close_early(phones)


def _sounds(events: list[Event], starts: list[int], total_s: float) -> list[tuple[str, float, float, int]]:
    """Return (ipa, start_s, end_s, token) per phone; an empty event inside a word extends the previous phone."""
    sounds: list[tuple[str, float, float, int]] = []
    token = 0
    for index, event in enumerate(events):
        if event.kind == "word":
            token = max(0, int(np.searchsorted(starts, event.text_position, side="right")) - 1)
            continue
        later = events[index + 1 :]
        end_s = next((other.start_s for other in later if other.kind == "phone"), total_s)
        inside = bool(later) and later[0].kind == "phone" and bool(later[0].ipa)
        if not event.ipa and inside and sounds and sounds[-1][0]:
            ipa, start_s, _, of_token = sounds[-1]
            sounds[-1] = (ipa, start_s, end_s, of_token)
        elif end_s > event.start_s or event.ipa:
            sounds.append((event.ipa, event.start_s, max(end_s, event.start_s), token))
    return sounds


def _close_early(phones: list[Phone]) -> list[Phone]:
    """Start each voiceless stop at its closure; the previous phone keeps at least 10 ms."""
    moved: list[Phone] = []
    for phone in phones:
        if phone.ipa in VOICELESS_STOPS:
            start_s = phone.start_s - CLOSURE_S
            if moved:
                start_s = min(phone.start_s, max(start_s, moved[-1].start_s + 0.01))
                moved[-1] = replace(moved[-1], end_s=start_s)
            phone = replace(phone, start_s=start_s)
        moved.append(phone)
    return moved


def closure_of(phone: Phone) -> tuple[float, float]:
    """Return the closure of a bilabial, (start_s, end_s), at least 45 ms so that a 25 Hz frame falls into it."""
    start_s, end_s = phone.start_s, phone.end_s
    if phone.ipa in VOICELESS_STOPS or phone.ipa in VOICED_STOPS:
        end_s = min(end_s, start_s + CLOSURE_S + 0.01)
    if end_s - start_s < 0.045:
        middle_s = (start_s + end_s) / 2
        start_s, end_s = middle_s - 0.0225, middle_s + 0.0225
    return start_s, end_s


def words_of(phones: list[Phone], text: str, language: str) -> tuple[Word, ...]:
    """Return the reference's words with times; a pair spoken as one word ("of the") shares its time by letters."""
    tokens = [word for word, _, _ in tokens_of(text, language)]
    spans = {word: list(group) for word, group in groupby((p for p in phones if p.word >= 0), key=lambda p: p.word)}
    words: list[Word] = []
    for first, following in pairwise([*sorted(spans), len(tokens)]):
        group = tokens[first if words else 0 : following]
        at_s, end_s = spans[first][0].start_s, spans[first][-1].end_s
        letter_s = (end_s - at_s) / sum(map(len, group))
        for word in group:
            words.append(Word(word, round(at_s, 3), round(at_s + letter_s * len(word), 3)))
            at_s += letter_s * len(word)
    return tuple(words)


def _resample(pcm: np.ndarray, rate: int) -> np.ndarray:
    """Return int16 samples as float64 at 16 kHz, by cutting the spectrum: exact in time, and the ends are silent."""
    unit = rate // np.gcd(rate, SAMPLE_RATE)
    padded_length = ceil(len(pcm) / unit + 1) * unit
    length = padded_length * SAMPLE_RATE // rate
    spectrum = np.fft.rfft(pcm / 32768, padded_length)[: length // 2 + 1]
    return np.fft.irfft(spectrum, length) * (length / padded_length)


def _place(audio_S: np.ndarray, shift_s: float, length: int) -> np.ndarray:
    """Return ``length`` samples of ``audio_S``, shifted later by ``shift_s`` (negative: earlier)."""
    shift = round(shift_s * SAMPLE_RATE)
    placed = np.concatenate([np.zeros(max(0, shift)), audio_S[max(0, -shift) :], np.zeros(length)])
    return placed[:length]
