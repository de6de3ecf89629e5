"""Official AV-HuBERT checkpoints: read them safely, turn them into our models, and write them back.

    python -m avspeech.interop.avhubert base_vox_iter5.pt base_vox_iter5.safetensors
    python -m avspeech.interop.avhubert large_noise_pt_noise_ft_433h.pt large_433h.safetensors
    python -m avspeech.interop.avhubert large_433h.safetensors back.pt

Reads   a checkpoint of Shi et al. 2022 (arXiv:2201.02184, arXiv:2201.01763): pre-trained (``av_hubert``) or fine-tuned
        for recognition (``av_hubert_seq2seq``), with or without optimiser state; or a model file of ours.
Writes  a model file, which is safe to open and names no path of its author; or an official checkpoint.

The weights are AV-HuBERT's and stay under its licence (non-commercial research).
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from avspeech.interop.avhubert_keys import UNUSED_BY_RECOGNIZERS, WRAPPER, predictor_keys, recognizer_keys
from avspeech.interop.avhubert_sizes import (
    check_settings,
    complete,
    decoder_config,
    encoder_config,
    official_decoder,
    official_encoder,
)
from avspeech.interop.restricted import CheckpointError, find_inert, read_checkpoint, to_plain
from avspeech.interop.state_dicts import check_keys, fill, write_checkpoint
from avspeech.models.cluster_predictor import OFFICIAL_SPECIALS, ClusterPredictor, HeadConfig
from avspeech.models.files import load_model, save_model
from avspeech.models.recognizer import Recognizer, RecognizerConfig
from avspeech.text.tokenizer import SPECIALS, Tokenizer

PRETRAINED, FINETUNED = "av_hubert", "av_hubert_seq2seq"
_PROCESSOR = "sentencepiece.SentencePieceProcessor"
_DICTIONARY = "fairseq.data.dictionary.Dictionary"
_REPORTED = {
    "common": ("seed", "fp16"),
    "task": ("_name", "labels", "label_rate", "modalities", "stack_order_audio", "normalize", "image_aug", "pad_audio",
             "random_crop", "max_sample_size", "max_trim_sample_size", "noise_prob", "noise_snr", "noise_num"),
    "dataset": ("max_tokens",),
    "optimization": ("max_update", "lr", "update_freq", "clip_norm", "sentence_avg"),
    "distributed_training": ("distributed_world_size",),
    "criterion": ("_name", "pred_masked_weight", "pred_nomask_weight", "loss_weights", "label_smoothing"),
    "optimizer": ("_name", "adam_betas", "adam_eps", "weight_decay"),
    "lr_scheduler": ("_name", "warmup_updates", "warmup_steps", "hold_steps", "decay_steps", "final_lr_scale"),
}  # fmt: skip
"""What of the training configuration is kept; the rest is defaults, paths and machine settings."""


@dataclass
class Imported:
    """A model with the weights of a checkpoint, and what else was in the file."""

    model: ClusterPredictor | Recognizer
    dropped: dict[str, str] = field(default_factory=dict)
    """What of the file is not in the model, and what became of it."""


def load_official(path: str | Path) -> ClusterPredictor | Recognizer:
    """Return the model of an official checkpoint, in evaluation mode; see ``import_checkpoint``."""
    return import_checkpoint(path).model


def import_checkpoint(
    path: str | Path,
    dictionary: str | Path | None = None,
    sentencepiece: str | Path | None = None,
    content: Any = None,
) -> Imported:
    """Read an official checkpoint.

    Args:
        path: the ``.pt`` file.
        dictionary: ``dict.wrd.txt`` of a fine-tuned model, for a file that does not hold its dictionary; by default
            the one beside the checkpoint, if there is any.
        sentencepiece: ``.model`` file that cuts text into these pieces; without it the model transcribes, but cannot
            be trained on new texts.
        content: what ``read_checkpoint`` gave for this file; None reads it.

    Raises:
        CheckpointError: the file is broken, could run code, holds another model, or has keys or sizes that do not fit.
    """
    path = Path(path)
    file = read_checkpoint(path) if content is None else content
    if not isinstance(file, dict) or not isinstance(file.get("model"), dict) or not file.get("cfg"):
        found = f"keys {sorted(map(str, file))[:6]}" if isinstance(file, dict) else f"a {type(file).__name__}"
        raise CheckpointError(f"{path} holds {found}; wanted fairseq's 'cfg' and 'model'")
    cfg = to_plain(file["cfg"])
    if not isinstance(cfg, dict) or not isinstance(cfg.get("model"), dict):
        raise CheckpointError(f"{path} has no 'model' in its 'cfg'; the sizes of the model should stand there")
    if odd := [str(key) for key, value in file["model"].items() if not isinstance(value, Tensor)]:
        raise CheckpointError(f"{path} has something else than tensors in its state dict: {', '.join(odd)}")
    kind = cfg["model"].get("_name")
    try:
        if kind == PRETRAINED:
            model = _import_pretrained(cfg, file, path)
        elif kind == FINETUNED:
            model = _import_finetuned(cfg, file, path, dictionary, sentencepiece)
        else:
            raise CheckpointError(f"{path} holds a model {kind!r}; wanted {PRETRAINED!r} or {FINETUNED!r}")
    except ValueError as error:
        text = str(error)
        raise CheckpointError(text if text.startswith(str(path)) else f"{path}: {text}") from error
    except TypeError as error:  # sizes that are no numbers
        raise CheckpointError(f"{path} has a value of a wrong type in its 'cfg': {error}") from error
    history = file.get("optimizer_history") or [{}]
    model.source = {"model": kind, "updates": history[-1].get("num_updates"), "training": training_settings(cfg)}
    return Imported(model.eval(), _dropped(file, model))


def _import_pretrained(cfg: dict[str, Any], file: dict[str, Any], path: Path) -> ClusterPredictor:
    sizes, state = complete(cfg["model"]), file["model"]
    check_settings(sizes)
    encoder = encoder_config(sizes)
    keys = predictor_keys(encoder)
    check_keys(state, keys, (), path)
    width = sizes["final_dim"] or encoder.width
    with torch.device("meta"):
        model = ClusterPredictor(
            encoder,
            _unit_counts(state, file, width),
            sizes["masking_type"] == "feature",
            HeadConfig(width, OFFICIAL_SPECIALS, sizes["sim_type"], sizes["logit_temp"]),
        )
    fill(model, {ours: state[theirs] for theirs, ours in keys.items()}, path)
    return model


def _unit_counts(state: dict[str, Tensor], file: dict[str, Any], width: int) -> list[int]:
    """Return K of each unit set: one set has all rows of the table, several have the sizes of their dictionaries."""
    rows, sets = len(state["label_embs_concat"]), len(state["final_proj.weight"]) // width
    if sets == 1:
        return [rows - OFFICIAL_SPECIALS]
    counts = [len(entry.state["symbols"]) for entry in find_inert(file.get("task_state"), _DICTIONARY)]
    if len(counts) != sets or sum(counts) != rows:
        raise ValueError(f"{sets} unit sets share {rows} embeddings, and the file's dictionaries have {counts} entries")
    return [count - OFFICIAL_SPECIALS for count in counts]


def _import_finetuned(
    cfg: dict[str, Any],
    file: dict[str, Any],
    path: Path,
    dictionary: str | Path | None,
    sentencepiece: str | Path | None,
) -> Recognizer:
    tuned, state = complete(cfg["model"]), file["model"]
    if not isinstance(tuned.get("w2v_args"), dict) or not isinstance(tuned["w2v_args"].get("model"), dict):
        raise ValueError("its cfg.model.w2v_args is empty; the sizes of the encoder should stand there")
    sizes = complete(tuned["w2v_args"]["model"])
    check_settings(sizes)
    check_settings(tuned)
    encoder, decoder = encoder_config(sizes, tuned), decoder_config(tuned)
    keys = recognizer_keys(encoder, decoder)
    carried = check_keys(state, keys, UNUSED_BY_RECOGNIZERS, path)
    vocab_size = len(state["decoder.embed_tokens.weight"])
    tokenizer = recover_tokenizer(file.get("task_state"), path, vocab_size, dictionary, sentencepiece)
    with torch.device("meta"):
        config = RecognizerConfig(encoder, decoder)
        model = Recognizer(config, vocab_size, tokenizer)
    fill(model, {ours: state[theirs] for theirs, ours in keys.items()}, path)
    model.carried = {key: state[key].clone() for key in carried}
    return model


def recover_tokenizer(
    task_state: Any, path: Path, vocab_size: int, dictionary: str | Path | None, sentencepiece: str | Path | None
) -> Tokenizer | None:
    """Return the tokenizer of a fine-tuned model: from the file, or from files given or lying beside it.

    With a sentencepiece model whose pieces stand in the dictionary's order the tokenizer is that model; without one it
    is the dictionary, which turns numbers into text but not back. None: there is no dictionary anywhere.

    Raises:
        ValueError: the dictionary has another size than the decoder's vocabulary.
    """
    beside = path.with_name("dict.wrd.txt")
    symbols: list[str] | None = None
    if dictionary is None and (found := next(find_inert(task_state, _DICTIONARY), None)) is not None:
        symbols = list(found.state["symbols"])[len(SPECIALS) :]
    elif dictionary is not None or beside.is_file():
        lines = Path(dictionary or beside).read_text(encoding="utf-8").splitlines()
        symbols = [line.rsplit(" ", 1)[0] for line in lines if line]
    pieces = None
    if sentencepiece is not None:
        pieces = Path(sentencepiece).read_bytes()
    elif (found := next(find_inert(task_state, _PROCESSOR), None)) is not None:
        pieces = found.state["model_proto"] if isinstance(found.state, dict) else found.state
    if pieces is not None:
        tokenizer = Tokenizer("sentencepiece", sentencepiece_model=pieces)
        own = [tokenizer.piece(number) for number in range(len(SPECIALS), tokenizer.vocab_size)]
        if symbols is None or own == symbols:
            return _sized(tokenizer, vocab_size)
    return None if symbols is None else _sized(Tokenizer("pieces", symbols), vocab_size)


def _sized(tokenizer: Tokenizer, vocab_size: int) -> Tokenizer:
    if tokenizer.vocab_size != vocab_size:
        raise ValueError(
            f"its decoder has {vocab_size} tokens, the dictionary {tokenizer.vocab_size}; give its own one"
        )
    return tokenizer


def training_settings(cfg: dict[str, Any]) -> dict[str, Any]:
    """Return what matters of a training configuration, without paths."""
    kept = {}
    for section, names in _REPORTED.items():
        values = cfg.get(section) or {}
        kept[section] = {name: _without_paths(values[name]) for name in names if values.get(name) is not None}
    return {section: values for section, values in kept.items() if values}


def _without_paths(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_paths(part) for part in value]
    return "(a path)" if isinstance(value, str) and ("/" in value or "\\" in value) else value


def _dropped(file: dict[str, Any], model: ClusterPredictor | Recognizer) -> dict[str, str]:
    dropped = dict.fromkeys(model.carried, "kept in the model file for the way back, not read")
    for key, value in file.items():
        if key not in ("model", "cfg") and value not in (None, {}, []):
            dropped[key] = "dropped"
    if "task_state" in dropped:
        dropped["task_state"] = "dropped; dictionary and tokenizer were taken from it where they are there"
    return dropped


def export_checkpoint(model: ClusterPredictor | Recognizer) -> dict[str, Any]:
    """Return an official checkpoint, ready for ``torch.save``, with fairseq's keys around the official state dict.

    A fine-tuned file has weights that ours does not use; a model that was not imported gets zeros for them.

    Raises:
        ValueError: the model has parts that the official code does not know.
    """
    if isinstance(model, ClusterPredictor):
        head = model.head
        if head.supervised_blocks or head.similarity == "plain" or head.special_units != OFFICIAL_SPECIALS:
            raise ValueError(
                f"supervised_blocks={head.supervised_blocks}, similarity={head.similarity!r}, "
                f"special_units={head.special_units} came; the official model knows none, cosine or dot, and 4"
            )
        config, ours = model.encoder.config, model.state_dict()
        state = {theirs: ours[name] for theirs, name in predictor_keys(config).items()}
        cfg: dict[str, Any] = {"model": official_encoder(config, model)}
    else:
        if model.decoder is None or model.ctc_head is not None:
            raise ValueError("the official recogniser has a text decoder and no CTC head; this model is another")
        encoder, decoder, ours = model.av_encoder.config, model.decoder.config, model.state_dict()
        state = {theirs: ours[name] for theirs, name in recognizer_keys(encoder, decoder).items()}
        fillers = {f"{WRAPPER}mask_emb": torch.zeros(encoder.audio_features)}
        fillers |= {f"{WRAPPER}label_embs_concat": torch.zeros(OFFICIAL_SPECIALS, 256)}
        fillers |= {"decoder.embed_positions._float_tensor": torch.zeros(1)}
        state |= model.carried or fillers
        units = state[f"{WRAPPER}label_embs_concat"]
        w2v = official_encoder(encoder, None) | {"final_dim": units.shape[1]}
        cfg = {"model": official_decoder(encoder, decoder) | {"w2v_args": {"model": w2v}}}
    cfg |= (model.source or {}).get("training", {})
    rest = dict.fromkeys(("args", "criterion", "last_optimizer_state"))
    return {**rest, "cfg": cfg, "model": state, "optimizer_history": [], "task_state": {}, "extra_state": {}}


def describe_sizes(model: ClusterPredictor | Recognizer) -> list[str]:
    """Return lines about a model: sizes and parameters."""
    encoder = model.av_encoder.config
    lines = [
        f"encoder: {encoder.depth} blocks, width {encoder.width}, {encoder.num_heads} heads, "
        f"ffn {encoder.ffn_width}, {'pre' if encoder.pre_norm else 'post'}-norm"
    ]
    if isinstance(model, Recognizer):
        kind = model.tokenizer and model.tokenizer.kind
        tokens = f"{model.vocab_size} tokens, tokenizer: "
        tokens += kind or "none found; give --dictionary dict.wrd.txt, or it cannot give text"
        if model.decoder is not None:
            sizes = model.decoder.config
            lines.append(
                f"decoder: {sizes.depth} blocks, width {sizes.width}, {sizes.num_heads} heads, ffn {sizes.ffn_width}"
            )
        if model.ctc_head is not None:
            lines.append(f"CTC head: {25 * model.config.ctc_upsample} steps a second")
        lines.append(tokens)
    else:
        where = "features" if model.mask_features else "input"
        lines.append(f"units: {', '.join(map(str, model.num_units))}; masks its {where}")
    return [*lines, f"parameters: {sum(parameter.numel() for parameter in model.parameters()):,}"]


def describe_model(model: ClusterPredictor | Recognizer) -> list[str]:
    """Return lines about a model: sizes, parameters, training configuration."""
    lines, source = describe_sizes(model), model.source or {}
    if source:
        lines.append(f"trained for {source.get('updates')} updates")
    for section, values in source.get("training", {}).items():
        lines.append(f"{section}: " + ", ".join(f"{name}={value}" for name, value in values.items()))
    return lines


def main(checkpoint: Path, out: Path, dictionary: Path | None = None, sentencepiece: Path | None = None) -> None:
    """Import an official checkpoint, or write one from a model file of ours.

    Args:
        checkpoint: an official .pt file, or a .safetensors model file of ours for the way back.
        out: the file to write.
        dictionary: dict.wrd.txt of a fine-tuned model whose file does not hold it; null looks beside the checkpoint.
        sentencepiece: the model that cuts text into the dictionary's pieces.
    """
    try:
        if checkpoint.suffix == ".safetensors":
            model = load_model(checkpoint)
            if not isinstance(model, ClusterPredictor | Recognizer):
                sys.exit(f"{checkpoint} holds a {type(model).__name__}; wanted a model of units or a recogniser")
            exported = export_checkpoint(model)
            write_checkpoint(out, exported)
            print(f"{len(exported['model'])} tensors in the official layout in {out}")
            return
        if out.suffix != ".safetensors":
            sys.exit(f"{out} came for the model file; give it the ending .safetensors, by which it is known")
        imported = import_checkpoint(checkpoint, dictionary, sentencepiece)
        save_model(out, imported.model)
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    print("\n".join(describe_model(imported.model)))
    for key, fate in imported.dropped.items():
        print(f"{key}: {fate}")
    print(f"model file: {out}")


if __name__ == "__main__":
    from jsonargparse import auto_cli

    auto_cli(main)
