"""Compare a model with its ONNX graphs, in float32 and int8: values, texts, size and speed.

    OMP_NUM_THREADS=1 python experiments/2026-11-onnx/measure.py MODEL TEST.jsonl VOICES.jsonl runs/onnx

Speed is CPU time of one thread (`time.thread_time`), the median of passes that take turns in one process.
"""

import json
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from jsonargparse import auto_cli

from avspeech.data.batching import AVBatch, collate
from avspeech.decoding.whisper_transcribe import WhisperOptions, decode_memory, encode_batch
from avspeech.degrade.noise_plan import PlanMixer
from avspeech.evaluation.conditions import Condition
from avspeech.evaluation.conditions_file import read_conditions
from avspeech.evaluation.error_rate import count_normalized
from avspeech.evaluation.grid import evaluate_grid
from avspeech.evaluation.loading import ConditionLoader
from avspeech.evaluation.noise_plans import plan_of
from avspeech.evaluation.noise_pools import roots_of
from avspeech.evaluation.paired_tests import paired_difference
from avspeech.evaluation.results import Results
from avspeech.evaluation.systems import make_loader, make_transcriber, transcribe_all
from avspeech.export.folder import export_model
from avspeech.export.runtime import OnnxModel
from avspeech.manifest import Utterance, read_manifest
from avspeech.models.files import load_model
from avspeech.models.flamingo import Flamingo
from avspeech.text.whisper_tokens import WhisperTokenizer

HERE = Path(__file__).resolve().parent
KEEPS = {"audio+video": (True, True), "audio": (True, False), "video": (False, True)}
CLEAN = Condition("audio+video")


def arrays_of(batch: AVBatch) -> dict[str, np.ndarray]:
    """Return the streams of a batch as the runtime takes them."""
    names = ("logmel_BAF", "valid_BA", "video_BTHW", "valid_BT")
    return {name: getattr(batch, name).numpy() for name in names}


def shortened(batch: AVBatch, frames: list[int]) -> AVBatch:
    """Return a batch whose clips are only so many frames long: one of unequal lengths, padded."""
    longest = max(frames)
    valid_BT = torch.arange(longest)[None] < torch.tensor(frames)[:, None]
    valid_BA = valid_BT.repeat_interleave(4, dim=1)
    assert batch.logmel_BAF is not None and batch.video_BTHW is not None
    logmel_BAF = torch.where(valid_BA[..., None], batch.logmel_BAF[:, : 4 * longest], 0)
    ids = batch.ids[: len(frames)]
    return AVBatch(
        ids,
        valid_BT,
        None,
        batch.video_BTHW[:, :longest],
        None,
        None,
        batch.texts,
        logmel_BAF,
        valid_BA,
        ("en",) * len(ids),
    )


class Apart:
    """How far values are apart at most, and the largest of those wanted."""

    def __init__(self) -> None:
        self.difference, self.magnitude = 0.0, 0.0

    def add(self, found: np.ndarray, wanted: np.ndarray) -> None:
        """Count two tensors in."""
        self.difference = max(self.difference, float(np.abs(found - wanted).max()))
        self.magnitude = max(self.magnitude, float(np.abs(wanted).max()))

    def row(self) -> dict[str, float]:
        """Return both and their ratio."""
        share = self.difference / self.magnitude
        return {"largest_difference": self.difference, "largest_value": self.magnitude, "share": share}


@torch.no_grad()
def measure_values(model: Flamingo, onnx_model: OnnxModel, batches: list[AVBatch]) -> dict[str, Any]:
    """Return how far the graphs' values are from torch's, and whether greedy tokens are the same, over all batches."""
    apart = {name: Apart() for name in ("audio memory", "lip features", *(f"logits, {name}" for name in KEEPS))}
    tokenizer, same, clips = WhisperTokenizer(model.sizes.vocab_size), 0, 0
    for batch in batches:
        for name, keep_2 in KEEPS.items():
            keep_B2 = torch.tensor([keep_2] * len(batch.ids))
            memory = encode_batch(model, batch, keep_B2)
            arrays = onnx_model.encode(**arrays_of(batch), keep_B2=keep_B2.numpy())
            if name == "audio+video":
                valid_BP, valid_BT = batch.valid_BA[:, ::2].numpy(), batch.valid_BT.numpy()  # type: ignore[index]
                apart["audio memory"].add(arrays["audio_BPD"][valid_BP], memory.audio_BPD.numpy()[valid_BP])
                assert memory.video_BTD is not None
                apart["lip features"].add(arrays["video_BTD"][valid_BT], memory.video_BTD.numpy()[valid_BT])
            hypotheses = decode_memory(model, tokenizer, memory, batch.languages, WhisperOptions())
            found = onnx_model.decode(arrays, ["en"] * len(batch.ids))
            same += sum(tokens == one[0].tokens for tokens, one in zip(found, hypotheses, strict=True))
            clips += len(found)
            # The prompt at once, then the text token by token, as decoding does.
            prompt_BL = torch.tensor([tokenizer.prompt("en")] * len(batch.ids))
            text_BL = torch.tensor([(one[0].tokens + [tokenizer.end] * 12)[:12] for one in hypotheses])
            state, decoding = model.decoder.start(memory, 20), onnx_model.start(arrays)
            for part_BL in (prompt_BL, *text_BL.split(1, dim=1)):
                wanted = model.decoder.step(part_BL, state, last_only=False)
                apart[f"logits, {name}"].add(decoding.feed(part_BL.numpy()), wanted.numpy())
    return {name: one.row() for name, one in apart.items()} | {"same tokens": same, "of": clips}


def take_turns(work: dict[str, Callable[[], object]], passes: int) -> dict[str, float]:
    """Return the median milliseconds of CPU time of each; the first pass only warms up."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(passes + 1):
        for name, one in work.items():
            start = time.thread_time()
            one()
            times[name].append(1000 * (time.thread_time() - start))
    return {name: round(statistics.median(found[1:]), 2) for name, found in times.items()}


@torch.no_grad()
def measure_speed(model: Flamingo, exported: dict[str, OnnxModel], batch: AVBatch, passes: int) -> dict[str, Any]:
    """Return milliseconds of each graph for a batch: torch, float32 and int8. A step is one token after 10."""
    streams, before_BL = arrays_of(batch), torch.full((len(batch.ids), 10), 300)
    next_B1 = before_BL[:, :1]
    valid_BA = None if bool(batch.valid_BA.all()) else batch.valid_BA  # type: ignore[union-attr]
    memory = encode_batch(model, batch)

    def torch_step() -> Callable[[], object]:
        state = model.decoder.start(memory, 12)
        model.decoder.step(before_BL, state)

        def step() -> None:
            for cache in state.caches:
                cache.length = 10
            model.decoder.step(next_B1, state)

        return step

    def graph_step(onnx_model: OnnxModel) -> Callable[[], object]:
        decoding = onnx_model.start(onnx_model.encode(**streams))
        decoding.feed(before_BL.numpy())
        inputs = decoding.inputs | {"tokens_BL": next_B1.numpy()}
        return lambda: onnx_model.run("decoder_step", inputs)

    work: dict[str, dict[str, Callable[[], object]]] = {
        "audio encoder": {"torch": lambda: model.audio_memory(batch.logmel_BAF, valid_BA)},  # type: ignore[arg-type]
        "lip encoder": {"torch": lambda: model.video_features(batch.video_BTHW, batch.valid_BT)},  # type: ignore[arg-type]
        "keys of the memory": {"torch": lambda: model.decoder.start(memory, 12)},
        "decoder step": {"torch": torch_step()},
    }
    for name, one in exported.items():
        arrays = one.encode(**streams)
        for label, graph, inputs in (
            ("audio encoder", "audio_encoder", streams),
            ("lip encoder", "video_encoder", streams),
            ("keys of the memory", "decoder_start", arrays),
        ):
            work[label][name] = lambda one=one, graph=graph, inputs=inputs: one.run(graph, inputs)
        work["decoder step"][name] = graph_step(one)
    return {label: take_turns(systems, passes) for label, systems in work.items()}


def rates_of(results: Results) -> dict[str, Any]:
    """Return word error rate and interval by condition, in per cent."""
    return {
        row.condition.label: {"wer": round(100 * row.wer, 2), "wer_95": [round(100 * end, 2) for end in row.wer_95]}
        for row in results.conditions
    }


def differences_of(found: Results, wanted: Results) -> dict[str, Any]:
    """Return by condition by how many points ``found`` is worse on the same clips, and how many texts differ."""
    rows: dict[str, Any] = {}
    for condition in dict.fromkeys(row.condition for row in wanted.conditions):
        counts, texts = [], []
        for results in (found, wanted):
            lines = [
                line for line in results.hypotheses if (line.noise, line.snr_db) == (condition.noise, condition.snr_db)
            ]
            counts.append([count_normalized(one.reference, one.hypothesis, one.language, "basic") for one in lines])
            texts.append([one.hypothesis for one in lines])
        difference = paired_difference(*counts)
        rows[condition.label] = {
            "difference": round(100 * difference.diff, 2),
            "difference_95": [round(100 * difference.low, 2), round(100 * difference.high, 2)],
            "texts_that_differ": sum(a != b for a, b in zip(*texts, strict=True)),
        }
    return rows


def measure_rates(
    model: Flamingo, exported: dict[str, OnnxModel], utterances: list[Utterance], voices: Path, out: Path
) -> dict[str, Any]:
    """Return the error rates of torch and of the graphs on the same noise."""
    config = read_conditions(HERE / "conditions.yaml").with_noise_files({"babble": voices})
    plan = plan_of(utterances, config, out / "noise_plan.jsonl")
    loader = make_loader(model, config, PlanMixer(plan, plan.roots() | roots_of(config.noises)), utterances)

    def graphs(one: OnnxModel) -> Callable[[AVBatch, torch.Tensor], list[str]]:
        return lambda batch, keep_B2: one.transcribe(
            **arrays_of(batch), keep_B2=keep_B2.numpy(), languages=list(batch.languages)
        )

    systems = {"torch": make_transcriber(model, config, "model")} | {
        name: graphs(one) for name, one in exported.items()
    }
    results: dict[str, Results] = {}
    for name, transcriber in systems.items():

        def transcribe(missing: Iterable[Utterance], condition: Condition, run=transcriber) -> Any:
            return transcribe_all(run, "cpu", list(missing), condition, loader)

        identity = {"noise_plan_sha256": plan.sha256}
        results[name] = evaluate_grid(
            utterances, config, transcribe, out / name, name, identity, config.whisper_settings, plan.condition_sha256
        )
    rows = {name: {"rates": rates_of(one)} for name, one in results.items()}
    for name in exported:
        rows[name]["minus_torch"] = differences_of(results[name], results["torch"])
    return rows


def main(
    model: Path, manifest: Path, voices: Path, out: Path, passes: int = 15, results: Path = HERE / "results.json"
) -> None:
    """Export a Flamingo twice and measure it.

    Args:
        model: model file.
        manifest: clips with sound, lips and text.
        voices: manifest of the clips that babble.
        out: folder of the exports, the noise plan and the transcripts; what is there is taken.
        passes: of each timing.
        results: file to write.
    """
    torch.set_num_threads(1)
    network = load_model(model)
    assert isinstance(network, Flamingo)
    exported: dict[str, OnnxModel] = {}
    for name in ("float32", "int8"):
        if not (out / f"onnx_{name}").exists():
            export_model(network, out / f"onnx_{name}", int8=name == "int8")
        exported[name] = OnnxModel.open(out / f"onnx_{name}", threads=1)
    utterances = list(read_manifest(manifest, require=("text",)))
    loader = ConditionLoader(clip_size=network.config.video.video.input_size, mel_bins=network.sizes.mel_bins)
    batches = [collate([loader.load(one, CLEAN) for one in utterances[first : first + 8]]) for first in range(0, 60, 8)]
    single = collate([loader.load(utterances[0], CLEAN)])
    padded = [shortened(batches[0], lengths) for lengths in ([75, 20, 41, 1, 63, 33, 8, 52], [7] * 8, [50] * 8)]
    measured: dict[str, Any] = {
        "versions": {"torch": torch.__version__, "onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__},
        "megabytes": {
            "model file": round(model.stat().st_size / 1e6, 1),
            **{
                name: {path.name: round(path.stat().st_size / 1e6, 1) for path in sorted(one.folder.glob("*.onnx"))}
                for name, one in exported.items()
            },
        },
    }
    measured["wer"] = measure_rates(network, exported, utterances, voices, out)
    print(json.dumps(measured, indent=1), flush=True)
    measured["cpu_ms"] = {
        f"{len(batch.ids)} clips of 3 s": measure_speed(network, exported, batch, passes)
        for batch in (single, batches[0])
    }
    print(json.dumps(measured["cpu_ms"], indent=1), flush=True)
    measured["values"] = {
        name: measure_values(network, one, [single, *padded, *batches]) for name, one in exported.items()
    }
    print(json.dumps(measured["values"], indent=1))
    results.write_text(json.dumps(measured, indent=1))


if __name__ == "__main__":
    auto_cli(main)
