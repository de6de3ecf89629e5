"""Text <-> token numbers: whole words, characters or sentencepiece.

Numbers 0 to 3 are AV-HuBERT's (Shi et al. 2022, arXiv:2201.02184): begin, padding, end, unknown; 0 is also the CTC
blank. Text becomes NFC (sentencepiece: NFKC) with single blanks; case and punctuation stay.
"""

import base64
import io
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import sentencepiece

from avspeech.files import write_text

BLANK = BOS = 0
PAD = 1
EOS = 2
UNK = 3
START = EOS  # first token of the text decoder's input; AV-HuBERT starts with the end of sentence
SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
KINDS = ("words", "characters", "sentencepiece")
PIECES = "pieces"
WORD_START = "\u2581"  # sentencepiece's mark for the blank before a word


class Tokenizer:
    """Text <-> numbers. Make one with ``Tokenizer.fit``, ``from_config`` or ``load``.

    Args:
        kind: ``words``, ``characters``, ``sentencepiece``, or ``pieces``: an imported checkpoint's dictionary, which
            can only decode.
        symbols: words, characters or pieces of numbers 4, 5, ...; none for sentencepiece.
        sentencepiece_model: bytes of a model with the special numbers above; None for the other kinds.
    """

    is_multilingual = False
    end, pad = EOS, PAD
    languages: tuple[str, ...] = ()

    def __init__(self, kind: str, symbols: Sequence[str] = (), sentencepiece_model: bytes | None = None) -> None:
        if kind not in (*KINDS, PIECES):
            raise ValueError(f"tokenizer kind {kind!r} came, wanted one of {', '.join(KINDS)}; see tokenizer.kind")
        if (kind == "sentencepiece") != (sentencepiece_model is not None):
            raise ValueError(f"a tokenizer of kind {kind!r} came with the parts of another; make it with Tokenizer.fit")
        self.kind, self.symbols, self.sentencepiece_model = kind, tuple(symbols), sentencepiece_model
        self._number_of = {symbol: number for number, symbol in enumerate(self.symbols, start=len(SPECIALS))}
        if len(self._number_of) != len(self.symbols):
            twice = [symbol for symbol, count in Counter(self.symbols).items() if count > 1]
            raise ValueError(f"tokenizer symbols {twice} came twice, wanted each once; check the symbol list")
        self._pieces = None if sentencepiece_model is None else _open_pieces(sentencepiece_model)

    @classmethod
    def fit(cls, texts: Iterable[str], kind: str, vocab_size: int | None = None) -> "Tokenizer":
        """Return a tokenizer fitted to training transcripts.

        ``kind`` is ``words``, ``characters`` or ``sentencepiece`` (unigram). ``vocab_size``, the four specials
        included, keeps the most frequent words or characters, None all; sentencepiece needs it (AV-HuBERT: 1000).
        Raises ValueError if there is no text, the kind is unknown, or the texts cannot fill the size.
        """
        texts = [tidy for text in texts if (tidy := _tidy(text))]
        if not texts:
            raise ValueError("a tokenizer got no text, wanted at least one transcript; check 'text' in the manifest")
        if kind == PIECES:
            raise ValueError("a tokenizer of 'pieces' comes with an imported checkpoint; to fit one, use sentencepiece")
        if kind == "sentencepiece":
            return cls(kind, sentencepiece_model=_train_pieces(texts, vocab_size))
        counts = Counter(symbol for text in texts for symbol in (text.split() if kind == "words" else text))
        room = len(counts) if vocab_size is None else vocab_size - len(SPECIALS)
        if room < 1:
            raise ValueError(f"vocab_size={vocab_size} came, wanted more than the {len(SPECIALS)} special tokens")
        return cls(kind, sorted(sorted(counts, key=lambda symbol: (-counts[symbol], symbol))[:room]))

    @property
    def vocab_size(self) -> int:
        """Number of tokens, the special ones included."""
        return len(self._pieces) if self._pieces else len(SPECIALS) + len(self.symbols)

    def prompt(self, language: str | None = None, task: str = "transcribe") -> list[int]:
        """Return the first decoder tokens; language and task are not read."""
        return [START]

    def encode(self, text: str) -> list[int]:
        """Return the text's token numbers, without begin and end; ValueError: the kind is ``pieces``."""
        if self.kind == PIECES:
            raise ValueError(
                "this tokenizer has only the token list of an imported dictionary and cannot encode text; import the "
                "checkpoint again with --sentencepiece"
            )
        text = _tidy(text)
        if self._pieces:
            return self._pieces.encode(text)
        return [self._number_of.get(symbol, UNK) for symbol in (text.split() if self.kind == "words" else text)]

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of token numbers, without begin, padding and end; ``UNK`` shows as ``<unk>``."""
        tokens = list(map(int, tokens))
        if wrong := [token for token in tokens if not 0 <= token < self.vocab_size]:
            raise ValueError(
                f"tokens {wrong[:5]} are outside 0..{self.vocab_size - 1}; was the model trained with this tokenizer?"
            )
        pieces = [self.piece(token) for token in tokens if token not in (BOS, PAD, EOS)]
        if self.kind in ("sentencepiece", PIECES):
            return "".join(pieces).replace(WORD_START, " ").strip()
        return _tidy((" " if self.kind == "words" else "").join(pieces))

    def piece(self, token: int) -> str:
        """Return the word, character or piece of a number."""
        if token == UNK:
            return SPECIALS[UNK]
        return self._pieces.id_to_piece(token) if self._pieces else self.symbols[token - len(SPECIALS)]

    def num_letters(self, token: int) -> int:
        """Return the letters of a token, the blank before the word not counted."""
        return len(self.piece(token).strip(WORD_START))

    def split_words(self, tokens: Sequence[int]) -> list[tuple[str, list[int]]]:
        """Return the words of ``decode``'s text and the places of their tokens; blanks and specials belong to none."""
        words: list[tuple[str, list[int]]] = []
        pieces, open_word = self.kind in ("sentencepiece", PIECES), False
        for place, token in enumerate(tokens):
            if token in (BOS, PAD, EOS):
                continue
            piece = self.piece(token)
            if self.kind == "words" or (pieces and piece.startswith(WORD_START)) or piece.isspace():
                open_word = False
            text = piece.replace(WORD_START, "") if pieces else piece.strip()
            if not text:
                continue
            if open_word:
                words[-1] = (words[-1][0] + text, [*words[-1][1], place])
            else:
                words.append((text, [place]))
            open_word = True
        return [(unicodedata.normalize("NFC", text), places) for text, places in words]

    def to_config(self) -> dict[str, Any]:
        """Return the whole tokenizer, JSON-ready."""
        model = self.sentencepiece_model
        encoded = None if model is None else base64.b64encode(model).decode("ascii")
        return {"kind": self.kind, "symbols": list(self.symbols), "sentencepiece_model": encoded}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Tokenizer":
        """Return the tokenizer of ``to_config``. Raises ValueError for another dict."""
        try:
            model = config["sentencepiece_model"]
            return cls(config["kind"], config["symbols"], None if model is None else base64.b64decode(model))
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"a tokenizer config without {error} came, wanted kind, symbols and sentencepiece_model; "
                "make it with Tokenizer.to_config"
            ) from error

    def save(self, path: str | Path) -> None:
        """Write the tokenizer as JSON, whole or not at all."""
        write_text(path, json.dumps(self.to_config(), ensure_ascii=False, indent=1))

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """Return the tokenizer of a file that ``save`` wrote. Raises ValueError if the file is no tokenizer."""
        try:
            return cls.from_config(json.loads(Path(path).read_text(encoding="utf-8")))
        except ValueError as error:  # a JSON error is one, too
            reason = f"{path} holds no tokenizer ({error}); make one with data_prep/train_tokenizer.py"
            raise ValueError(reason) from error


def _tidy(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _open_pieces(model: bytes) -> sentencepiece.SentencePieceProcessor:
    try:
        pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
    except RuntimeError as error:
        raise ValueError(f"the sentencepiece model cannot be read: {error}") from error
    numbers, wanted = (pieces.bos_id(), pieces.pad_id(), pieces.eos_id(), pieces.unk_id()), (BOS, PAD, EOS, UNK)
    if numbers != wanted:
        raise ValueError(
            f"a sentencepiece model with begin, padding, end, unknown = {numbers} came, wanted {wanted}; train it with "
            "data_prep/train_tokenizer.py"
        )
    return pieces


def _train_pieces(texts: list[str], vocab_size: int | None) -> bytes:
    if vocab_size is None:
        raise ValueError("sentencepiece got no vocab_size, wanted a number such as 1000; see --vocab_size")
    model = io.BytesIO()
    specials: dict[str, Any] = {"bos_id": BOS, "pad_id": PAD, "eos_id": EOS, "unk_id": UNK}
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            model_type="unigram",
            vocab_size=vocab_size,
            character_coverage=1.0,
            num_threads=1,  # the order of sums, and so the pieces, would depend on the machine
            minloglevel=2,
            **specials,
        )
    except RuntimeError as error:  # "Vocabulary size too high (1000). Please set it to a value <= 57."
        reason = str(error).rpartition("] ")[2].strip()
        raise ValueError(
            f"sentencepiece cannot make {vocab_size} pieces of {len(texts)} transcripts ({reason}); change --vocab_size"
        ) from error
    return model.getvalue()
