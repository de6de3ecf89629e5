"""How fast a Whisper decodes short clips here and in openai-whisper: the same weights, clips and options, greedy.

    python experiments/2026-11-whisper-speed/measure.py runs/stage1/model.safetensors data/grid_test.jsonl \
        --out experiments/2026-11-whisper-speed/results.json

Reads   a Whisper (a model file of ours, or a file in OpenAI's layout) and a manifest with sound and texts.
Writes  the figures as JSON, and prints them.

Arms: ``openai``: openai-whisper's ``decode``, clip after clip, and in batches; ``ours padded``: the same log-mels of
30 s in batches; ``ours unpadded``: the log-mels of the clips as they are. All arms decode one batch of clips, then the
next batch, turn by turn, so that a machine's moods meet all of them; the order changes from batch to batch. The time is
that from log-mel to text. Figures are medians over batches of seconds a clip.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jsonargparse import auto_cli

from avspeech.data.batching import AVBatch
from avspeech.decoding.whisper_transcribe import WhisperOptions, transcribe_whisper
from avspeech.evaluation.bootstrap import wer_interval
from avspeech.evaluation.error_rate import ErrorCounts, count_errors, total
from avspeech.evaluation.paired_tests import paired_difference
from avspeech.features.logmel import logmel_AF
from avspeech.interop.whisper import export_openai, load_whisper
from avspeech.manifest import Utterance, read_manifest
from avspeech.media.audio import read_audio
from avspeech.models.whisper import Whisper
from avspeech.sequence import lengths_to_valid, pad_stack
from avspeech.text.normalize import normalize_for_scoring
from avspeech.text.whisper_tokens import WhisperTokenizer

ONE_BY_ONE, BATCHED, PADDED, UNPADDED = "openai", "openai batched", "ours padded", "ours unpadded"


def batch_of(utterances: list[Utterance], rows: list[torch.Tensor]) -> AVBatch:
    """Return a batch of log-mels."""
    valid_BA = lengths_to_valid(torch.tensor([len(row) for row in rows]))
    return AVBatch(
        ids=tuple(utterance.id for utterance in utterances),
        valid_BT=valid_BA[:, ::4],
        audio_BTF=None,
        video_BTHW=None,
        units_BTJ=None,
        tokens_BL=None,
        texts=tuple(utterance.text for utterance in utterances),
        logmel_BAF=pad_stack(rows),
        valid_BA=valid_BA,
        languages=tuple(utterance.language for utterance in utterances),
    )


def load_both(weights: Path) -> tuple[Any, Whisper]:
    """Return (openai-whisper's model, ours), both in fp32 and of the same weights."""
    import whisper

    ours = load_whisper(weights)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt"
        export_openai(ours, path, dtype=None)
        return whisper.load_model(str(path), device="cpu"), ours


def arms_of(
    theirs: Any, ours: Whisper, utterances: list[Utterance], language: str, wanted: list[str]
) -> dict[str, Callable[[], list[str]]]:
    """Return what each arm does with one batch of clips; reading and log-mels are done before."""
    from whisper.decoding import DecodingOptions, decode

    tokenizer = WhisperTokenizer(ours.sizes.vocab_size)
    clips = [torch.as_tensor(read_audio(one.audio or one.video or "")) for one in utterances]
    bins = ours.sizes.mel_bins
    padded = batch_of(utterances, [logmel_AF(audio_S, bins, pad_to_30s=True) for audio_S in clips])
    unpadded = batch_of(utterances, [logmel_AF(audio_S, bins) for audio_S in clips])
    assert padded.logmel_BAF is not None
    mel_BFA = padded.logmel_BAF.transpose(1, 2).contiguous()  # openai-whisper's order of axes
    theirs_do = DecodingOptions(language=language, fp16=False, without_timestamps=True)
    ours_do = WhisperOptions(language=language)

    def run(batch: AVBatch) -> list[str]:
        return [nbest[0].text for nbest in transcribe_whisper(ours, tokenizer, batch, options=ours_do)]

    arms: dict[str, Callable[[], list[str]]] = {
        ONE_BY_ONE: lambda: [decode(theirs, mel_FA, theirs_do).text for mel_FA in mel_BFA],
        BATCHED: lambda: [one.text for one in decode(theirs, mel_BFA, theirs_do)],
        PADDED: lambda: run(padded),
        UNPADDED: lambda: run(unpadded),
    }
    return {name: arms[name] for name in wanted}


def summary(counts: list[ErrorCounts]) -> dict[str, Any]:
    """Return the word error rate with its 95 % interval, in percent."""
    low, high = wer_interval(counts)[:2]
    return {"wer": round(100 * total(counts).wer, 2), "interval": [round(100 * low, 2), round(100 * high, 2)]}


def main(
    weights: Path,
    manifest: Path,
    out: Path | None = None,
    arms: tuple[str, ...] = (ONE_BY_ONE, BATCHED, PADDED, UNPADDED),
    language: str = "en",
    batch_size: int = 8,
    max_clips: int | None = None,
    repeats: int = 1,
    threads: int = 2,
    normalizer: str = "basic",
) -> None:
    """Measure all arms.

    Args:
        weights: model file of a Whisper, or a file in OpenAI's layout.
        manifest: clips with sound and text.
        out: JSON file for the figures.
        arms: any of `openai`, `openai batched`, `ours padded`, `ours unpadded`.
        language: of the clips.
        batch_size: clips decoded at once.
        max_clips: first clips only.
        repeats: times that every batch is decoded.
        threads: of the computation.
        normalizer: rule for the error rate.
    """
    torch.set_num_threads(threads)
    theirs, ours = load_both(weights)
    utterances = read_manifest(manifest, require=("text",))[:max_clips]
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    cpu_seconds: dict[str, list[float]] = {name: [] for name in arms}
    texts: dict[str, list[str]] = {name: [] for name in arms}
    for first in range(0, len(utterances), batch_size):
        part = utterances[first : first + batch_size]
        works = arms_of(theirs, ours, part, language, list(arms))
        if first == 0:
            for work in works.values():
                work()  # the first pass loads libraries and memory
        for repeat in range(repeats):
            turn = (first // batch_size + repeat) % len(works)
            for name in [*works, *works][turn : turn + len(works)]:
                start, cpu_start = time.perf_counter(), time.process_time()
                found = works[name]()
                seconds[name].append((time.perf_counter() - start) / len(part))
                cpu_seconds[name].append((time.process_time() - cpu_start) / len(part))
                if repeat == 0:
                    texts[name] += found
        latest = ", ".join(f"{name} {values[-1]:.3f} s" for name, values in seconds.items())
        print(f"{first + len(part)} of {len(utterances)}: {latest}", flush=True)

    def errors(name: str) -> list[ErrorCounts]:
        pairs = zip(utterances, texts[name], strict=True)
        return [
            count_errors(
                normalize_for_scoring(utterance.text or "", language, normalizer),
                normalize_for_scoring(text, language, normalizer),
            )
            for utterance, text in pairs
        ]

    results: dict[str, Any] = {"weights": weights.name, "clips": len(utterances), "batch_size": batch_size}
    results |= {"threads": threads, "repeats": repeats, "normalizer": normalizer, "arms": {}}
    for name in arms:
        figures = {
            "seconds_per_clip": round(statistics.median(seconds[name]), 4),
            "cpu_seconds_per_clip": round(statistics.median(cpu_seconds[name]), 4),
        } | summary(errors(name))
        if name != ONE_BY_ONE and ONE_BY_ONE in arms:
            ratios = [a / b for a, b in zip(seconds[ONE_BY_ONE], seconds[name], strict=True)]
            same = sum(a == b for a, b in zip(texts[ONE_BY_ONE], texts[name], strict=True))
            difference = paired_difference(errors(name), errors(ONE_BY_ONE))
            figures |= {
                "times_faster": round(statistics.median(ratios), 2),
                "same_texts": round(same / len(utterances), 4),
                "wer_difference": [round(100 * part, 2) for part in difference],
            }
        results["arms"][name] = figures
        print(f"{name:16} {json.dumps(figures)}")
    results["texts"] = [
        {"id": utterance.id, "reference": utterance.text} | {name: texts[name][i] for name in arms}
        for i, utterance in enumerate(utterances)
    ]
    if out is not None:
        out.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(auto_cli(main))
