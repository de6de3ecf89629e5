"""Official AV-HuBERT checkpoints (Shi et al. 2022, arXiv:2201.02184, arXiv:2201.01763) -> our models, and back.

Fairseq files, pre-trained (``av_hubert``) or fine-tuned (``av_hubert_seq2seq``); licence: non-commercial research.
"""

import runpy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from avspeech.files import read_text_lines
from avspeech.interop.avhubert_keys import UNUSED_BY_RECOGNIZERS, WRAPPER, predictor_keys, recognizer_keys
from avspeech.interop.avhubert_sizes import complete, decoder_config, encoder_config, official_decoder, official_encoder
from avspeech.interop.restricted import find_inert, to_plain, without_paths
from avspeech.interop.state_dicts import Imported, dropped_parts, named_errors, new_model, official_state, read_layout
from avspeech.models.cluster_predictor import OFFICIAL_SPECIALS, ClusterPredictor, HeadConfig
from avspeech.models.files import ModelFileError
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
"""Training settings that are kept: no defaults, paths or machine settings."""


def load_official(path: str | Path) -> ClusterPredictor | Recognizer:
    """Return an official checkpoint's model; see ``import_checkpoint``."""
    return import_checkpoint(path).model


def import_checkpoint(
    path: str | Path, dictionary: str | Path | None = None, sentencepiece: str | Path | None = None, content: Any = None
) -> Imported[ClusterPredictor | Recognizer]:
    """Read an official ``.pt`` checkpoint. Raises ModelFileError if it is broken, unsafe or does not fit.

    ``dictionary`` is the ``dict.wrd.txt`` of a fine-tuned file without one, None: the one beside it, if any;
    ``sentencepiece`` is a ``.model`` file, needed for training on new texts; ``content`` is of ``read_checkpoint``.
    """
    path = Path(path)
    file = read_layout(path, content, "model", ("cfg",), "fairseq")
    cfg = to_plain(file["cfg"])
    if not isinstance(cfg, dict) or not isinstance(cfg.get("model"), dict):
        raise ModelFileError(f"{path} has no 'model' in its 'cfg'; the sizes of the model should stand there")
    kind = cfg["model"].get("_name")
    model: ClusterPredictor | Recognizer
    with named_errors(path):
        if kind == PRETRAINED:
            model = _import_pretrained(cfg, file, path)
        elif kind == FINETUNED:
            model = _import_finetuned(cfg, file, path, dictionary, sentencepiece)
        else:
            raise ModelFileError(f"{path} holds a model {kind!r}; wanted {PRETRAINED!r} or {FINETUNED!r}")
    history = file.get("optimizer_history") or [{}]
    model.source = {"model": kind, "updates": history[-1].get("num_updates"), "training": _training_settings(cfg)}
    model.encoder.crop = "official"
    dropped = dropped_parts(file, ("model", "cfg"), model)
    if "task_state" in dropped:
        dropped["task_state"] = "dropped; a dictionary and a tokenizer in it were read"
    return Imported(model, dropped)


def _import_pretrained(cfg: dict[str, Any], file: dict[str, Any], path: Path) -> ClusterPredictor:
    sizes, state = complete(cfg["model"]), file["model"]
    encoder = encoder_config(sizes)
    head = HeadConfig(sizes["final_dim"] or encoder.width, OFFICIAL_SPECIALS, sizes["sim_type"], sizes["logit_temp"])
    masks_features = sizes["masking_type"] == "feature"

    def make() -> ClusterPredictor:
        return ClusterPredictor(encoder, _unit_counts(state, file, head.unit_width), masks_features, head)

    return new_model(make, state, predictor_keys(encoder), path)


def _unit_counts(state: dict[str, Tensor], file: dict[str, Any], width: int) -> list[int]:
    """Return K of each unit set: rows of the table for one set, else dictionary sizes."""
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
    encoder, decoder = encoder_config(complete(tuned["w2v_args"]["model"]), tuned), decoder_config(tuned)

    def make() -> Recognizer:
        vocab_size = len(state["decoder.embed_tokens.weight"])
        tokenizer = _find_tokenizer(file.get("task_state"), path, vocab_size, dictionary, sentencepiece)
        return Recognizer(RecognizerConfig(encoder, decoder), vocab_size, tokenizer)

    return new_model(make, state, recognizer_keys(encoder, decoder), path, UNUSED_BY_RECOGNIZERS)


def _find_tokenizer(
    task_state: Any, path: Path, vocab_size: int, dictionary: str | Path | None, sentencepiece: str | Path | None
) -> Tokenizer | None:
    """Return the tokenizer given, in the file or beside it; None without a dictionary.

    A sentencepiece model whose pieces differ from the dictionary is not used; a dictionary alone only decodes.
    """
    beside = path.with_name("dict.wrd.txt")
    symbols = pieces = None
    if dictionary is None and (found := next(find_inert(task_state, _DICTIONARY), None)) is not None:
        symbols = list(found.state["symbols"])[len(SPECIALS) :]
    elif dictionary is not None or beside.is_file():
        symbols = [line.rsplit(" ", 1)[0] for line in read_text_lines(dictionary or beside) if line]
    if sentencepiece is not None:
        pieces = Path(sentencepiece).read_bytes()
    elif (found := next(find_inert(task_state, _PROCESSOR), None)) is not None:
        pieces = found.state["model_proto"] if isinstance(found.state, dict) else found.state
    tokenizer = None
    if pieces is not None:
        full = Tokenizer("sentencepiece", sentencepiece_model=pieces)
        if symbols in (None, [full.piece(number) for number in range(len(SPECIALS), full.vocab_size)]):
            tokenizer = full
    if tokenizer is None and symbols is not None:
        tokenizer = Tokenizer("pieces", symbols)
    if tokenizer is not None and tokenizer.vocab_size != vocab_size:
        raise ValueError(
            f"its decoder has {vocab_size} tokens, the dictionary {tokenizer.vocab_size}; give its own one"
        )
    return tokenizer


def _training_settings(cfg: dict[str, Any]) -> dict[str, Any]:
    kept = {}
    for section, names in _REPORTED.items():
        values = cfg.get(section) or {}
        if found := {name: without_paths(values[name]) for name in names if values.get(name) is not None}:
            kept[section] = found
    return kept


def export_checkpoint(model: ClusterPredictor | Recognizer) -> dict[str, Any]:
    """Return an official checkpoint for ``torch.save``; ValueError if the official code lacks a part.

    Official weights that our model lacks come from the imported file, else they are zero.
    """
    if isinstance(model, ClusterPredictor):
        head = model.head
        if head.supervised_blocks or head.similarity == "plain" or head.special_units != OFFICIAL_SPECIALS:
            raise ValueError(
                f"supervised_blocks={head.supervised_blocks}, similarity={head.similarity!r}, "
                f"special_units={head.special_units} came; the official model knows none, cosine or dot, and 4"
            )
        state = official_state(model, predictor_keys(model.encoder.config))
        cfg: dict[str, Any] = {"model": official_encoder(model.encoder.config, model)}
    else:
        if model.decoder is None or model.ctc_head is not None:
            raise ValueError("the official recogniser has a text decoder and no CTC head; this model is another")
        encoder, decoder = model.av_encoder.config, model.decoder.config
        fillers = {f"{WRAPPER}mask_emb": torch.zeros(encoder.audio_features)}
        fillers[f"{WRAPPER}label_embs_concat"] = torch.zeros(OFFICIAL_SPECIALS, 256)
        fillers["decoder.embed_positions._float_tensor"] = torch.zeros(1)
        state = official_state(model, recognizer_keys(encoder, decoder)) | (model.carried or fillers)
        w2v = official_encoder(encoder, None) | {"final_dim": state[f"{WRAPPER}label_embs_concat"].shape[1]}
        cfg = {"model": official_decoder(encoder, decoder) | {"w2v_args": {"model": w2v}}}
    cfg |= (model.source or {}).get("training", {})
    rest = dict.fromkeys(("args", "criterion", "last_optimizer_state"))
    return {**rest, "cfg": cfg, "model": state, "optimizer_history": [], "task_state": {}, "extra_state": {}}


if __name__ == "__main__":
    runpy.run_module("avspeech.interop", run_name="__main__")
