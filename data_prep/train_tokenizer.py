"""Train a tokenizer on the transcripts of a manifest.

    python data_prep/train_tokenizer.py data/grid/train.jsonl runs/grid/words.json --kind words
    python data_prep/train_tokenizer.py data/lrs3/train.jsonl runs/lrs3/pieces.json --vocab_size 1000

Reads   a manifest; clips without text are passed over.
Writes  OUT.json (avspeech/text/tokenizer.py), copied into model files.
A restart starts over; the file appears only when whole.
"""

import sys
from pathlib import Path
from typing import Literal

from jsonargparse import auto_cli

from avspeech.manifest import read_manifest
from avspeech.text.tokenizer import UNK, Tokenizer


def main(
    manifest: Path,
    out: Path,
    kind: Literal["words", "characters", "sentencepiece"] = "sentencepiece",
    vocab_size: int | None = None,
) -> None:
    """Train a tokenizer.

    Args:
        manifest: JSON lines, one Utterance each: the training clips.
        out: file to write, .json.
        kind: words for command grammars, characters, or sentencepiece (a unigram model).
        vocab_size: number of tokens; null keeps all words or characters, or makes 1000 sentencepiece tokens.
    """
    found = [utterance.text for utterance in read_manifest(manifest)]
    texts = [text for text in found if text]
    if kind == "sentencepiece" and vocab_size is None:
        vocab_size = 1000  # AV-HuBERT's
    try:
        tokenizer = Tokenizer.fit(texts, kind, vocab_size)
    except ValueError as error:  # too few or too uniform texts are data
        sys.exit(f"{manifest}: {error}")
    tokenizer.save(out)
    encoded = [token for text in texts for token in tokenizer.encode(text)]
    mean, unknown = len(encoded) / len(texts), f"{encoded.count(UNK)} of {len(encoded)} unknown"
    print(f"{tokenizer.vocab_size} tokens in {out}; {mean:.1f} a transcript, {unknown}")
    if without := len(found) - len(texts):
        print(f"{without} of {len(found)} clips have no text and were passed over")


if __name__ == "__main__":
    auto_cli(main)
