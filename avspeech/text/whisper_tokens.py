"""Whisper's tokens: text <-> numbers, and the prompt with language and task (arXiv:2212.04356, section 2.3).

Wraps openai-whisper's. The vocabulary size selects it: 51,865 (99 languages), 51,866 (100, large-v3 and turbo) or
51,864 (English only, no language and no task).
"""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, Literal

Task = Literal["transcribe", "translate"]
ENGLISH_ONLY, MULTILINGUAL = 51_864, 51_865
WITHOUT_BLANKS = ("zh", "ja", "th", "lo", "my", "yue")  # languages written without blanks between words
PREPENDED, APPENDED = "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、"
"""Punctuation that belongs to the word after it, and to the word before it."""


class WhisperTokenizer:
    """Text <-> Whisper's token numbers, without prompt and end. ValueError: no Whisper has this vocabulary size."""

    kind = "whisper"

    def __init__(self, vocab_size: int = MULTILINGUAL) -> None:
        if vocab_size < ENGLISH_ONLY or vocab_size > MULTILINGUAL + 1:
            sizes = f"{ENGLISH_ONLY} (English only), {MULTILINGUAL} or {MULTILINGUAL + 1}"
            raise ValueError(f"vocab_size={vocab_size} came; Whisper's vocabularies have {sizes} tokens")
        self.vocab_size = vocab_size
        self.is_multilingual = vocab_size >= MULTILINGUAL

    @cached_property
    def library(self) -> Any:
        """Tokenizer of openai-whisper, imported at the first use because that takes seconds."""
        from whisper.tokenizer import get_tokenizer

        num_languages = self.vocab_size - 51_765 - int(self.is_multilingual)
        return get_tokenizer(self.is_multilingual, num_languages=num_languages)

    def encode(self, text: str) -> list[int]:
        """Return the text's tokens; a blank comes first, as in Whisper's training texts."""
        text = " ".join(text.split())
        return self.library.encode(" " + text) if text else []

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text, without prompt, end and time tokens."""
        return self.library.decode([int(token) for token in tokens if int(token) < self.end]).strip()

    def prompt(self, language: str | None = None, task: Task = "transcribe", timestamps: bool = False) -> list[int]:
        """Return the first decoder tokens: start, language, task, and without ``timestamps`` the one for no times.

        ``language`` is the text's, as Whisper writes it (``en``, ``yue``); the task ``translate`` is into English.
        Whisper-Flamingo's En-X models translate with ``transcribe`` and the target language. Raises ValueError if the
        model does not know the language, or none came for a multilingual one.
        """
        tokens = [self.start]
        if self.is_multilingual:
            if language is None:
                raise ValueError("no language came for a multilingual Whisper; give one, or detect it")
            if task not in ("transcribe", "translate"):
                raise ValueError(f"task {task!r} must be transcribe or translate")
            tokens += [self.language_token(language), getattr(self.library, task)]
        return tokens if timestamps else [*tokens, self.library.no_timestamps]

    def language_token(self, language: str) -> int:
        """Return the token of a language. Raises ValueError if the model does not know it."""
        if language not in self.languages:
            raise ValueError(f"language {language!r} is not among this Whisper's: {', '.join(self.languages)}")
        return self.language_tokens[self.languages.index(language)]

    @cached_property
    def languages(self) -> tuple[str, ...]:
        """Codes of the model's languages; ``en`` alone for an English-only model."""
        if not self.is_multilingual:
            return ("en",)
        return tuple(self.library.decode([token]).strip("<|>") for token in self.language_tokens)

    @cached_property
    def language_tokens(self) -> tuple[int, ...]:
        """One token per language, in the order of ``languages``; empty for an English-only model."""
        # Sorted, because the library's order is that of a set, which differs between processes.
        return tuple(sorted(self.library.all_language_tokens)) if self.is_multilingual else ()

    def split_words(self, tokens: Sequence[int], language: str | None) -> list[tuple[str, list[int]]]:
        """Return the words of a text and the places of their tokens; punctuation joins its word, without places.

        In a language of ``WITHOUT_BLANKS``, each token that ends a character is a word.
        """
        from whisper.timing import WordTiming, merge_punctuations

        unspaced = language in WITHOUT_BLANKS
        split = self.library.split_tokens_on_unicode if unspaced else self.library.split_tokens_on_spaces
        timings, at = [], 0
        for word, part in zip(*split([*tokens, self.end]), strict=True):
            if at < len(tokens):  # the last word is the end itself
                timings.append(WordTiming(word, part, at, at + len(part), 0.0))
            at += len(part)
        merge_punctuations(timings, PREPENDED, APPENDED)
        return [(one.word.strip(), list(range(one.start, one.end))) for one in timings if one.word.strip()]

    @property
    def start(self) -> int:
        """First token of the prompt."""
        return self.library.sot

    @property
    def end(self) -> int:
        """End; every token below it is text."""
        return self.library.eot

    pad = end

    @property
    def first_time(self) -> int:
        """Token of time 0 s; those after it count in steps of 20 ms."""
        return self.library.timestamp_begin
