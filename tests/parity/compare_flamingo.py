"""Whisper with lips: both encoders, gated layers, logits and losses of every choice of streams, and its searches."""

import re
from dataclasses import replace

import torch
import torch.nn.functional as F

from avspeech.decoding.config import DecodingConfig
from avspeech.decoding.transcribe import decode_memory
from avspeech.interop.avhubert_sizes import complete
from avspeech.interop.whisper_flamingo import load_flamingo
from avspeech.models.flamingo import Flamingo
from avspeech.models.fusion import fixed_keep
from avspeech.models.memory import Memory
from tests.parity.compare_encoder import spied
from tests.parity.comparison import Comparison
from tests.parity.fixtures import Fixture


def import_flamingo_model(fixture: Fixture, official: bool = True):
    """Return the imported model; what the file does not show is read from the fixture's configuration."""
    dims, video = fixture.config["dims"], _video_settings(fixture)
    heads = {"audio_heads": dims["n_audio_head"], "text_heads": dims["n_text_head"]}
    heads["video_heads"], pre_norm = video["encoder_attention_heads"], bool(video["layer_norm_first"])
    return load_flamingo(fixture.checkpoint, **heads, video_pre_norm=pre_norm, official=official)


def _video_settings(fixture: Fixture) -> dict:
    """Return the pre-training's ``cfg.model``, which a fine-tuned model has inside its own."""
    settings = fixture.config["avhubert_model_cfg"]
    inner = settings.get("w2v_args") or settings
    return complete(inner.get("model", inner))


def streams(fixture: Fixture):
    """Return log-mel (B, A, mel), video (B, T, H, W) normalised and valid (B, T)."""
    mel, video, padding = (fixture.tensors[f"in.{name}"] for name in ("mel", "video", "video_padding_mask"))
    return mel.transpose(1, 2), video[:, 0], ~padding


@torch.no_grad()
def compare_flamingo(fixture: Fixture, model: Flamingo | None = None) -> Comparison:
    """Compare a Whisper-Flamingo fixture; ``model`` stands in for the imported one where a test changes it."""
    model = model or import_flamingo_model(fixture)
    table = Comparison(fixture.name, fixture.tensors)
    table.skip("in.", "input")
    table.skip("vocab_columns", "which logits were recorded")
    _compare_sizes(table, fixture, model)
    logmel_BAF, video_BTHW, valid_BT = streams(fixture)
    with spied(lips=model.video_encoder) as seen:
        memories = {"av": model.encode_streams(logmel_BAF, None, video_BTHW, valid_BT)}
        table.check("avhubert_out", seen["lips"][1])
    memories["av_nopad"] = model.encode_streams(logmel_BAF, None, video_BTHW)
    for tag, modality in (("a", "audio"), ("v", "video")):
        keep_B2 = fixed_keep(len(valid_BT), modality)
        memories[tag] = model.encode_streams(logmel_BAF, None, video_BTHW, valid_BT, keep_B2)
    memories["a_plain_whisper"] = model.audio_memory(logmel_BAF, None)  # without video there are no gates
    table.check("enc.audio", memories["av"].memory_BTD)
    table.check("enc.video_projected", memories["av"].video_BTD)
    table.check("enc.video_projected_nopad", memories["av_nopad"].video_BTD)
    for tag, memory in memories.items():
        _compare_decoder(table, tag, model, memory)
    for name, official in fixture.config["meta"]["decode"].items():
        _compare_search(table, name, official, fixture, model)
    return table


def _compare_sizes(table: Comparison, fixture: Fixture, model: Flamingo) -> None:
    """What the import read from shapes is what the official configuration says."""
    dims, sizes, video = fixture.config["dims"], model.sizes, _video_settings(fixture)
    names = {"mels": "mel_bins", "audio_ctx": "audio_positions", "audio_state": "audio_width", "vocab": "vocab_size"}
    names |= {"audio_layer": "audio_depth", "text_ctx": "text_positions", "text_state": "text_width"}
    for theirs, ours in (names | {"text_layer": "text_depth"}).items():
        table.note(f"dims: n_{theirs}", getattr(sizes, ours), dims[f"n_{theirs}"])
    names = {"encoder_embed_dim": "width", "encoder_layers": "depth", "encoder_ffn_embed_dim": "ffn_width"}
    for theirs, ours in (names | {"conv_pos": "position_kernel", "conv_pos_groups": "position_groups"}).items():
        table.note(f"dims: {theirs}", getattr(model.config.video, ours), video[theirs])


def _compare_decoder(table: Comparison, tag: str, model: Flamingo, memory: Memory) -> None:
    tokens_BL, targets_BL = table.recorded["in.dec_input_ids"], table.recorded["in.labels"]
    modules = {}
    for number, block in enumerate(model.decoder.blocks):
        modules |= {f"block{number}.out": block, f"block{number}.gated_x_attn_out": block.video.attention.out}
    with spied(**modules) as seen:
        logits_BLV = model(tokens_BL, memory)
    for name in seen:
        if f"{tag}.{name}" in table.recorded:
            table.check(f"{tag}.{name}", seen[name][1])
    table.check(f"{tag}.logits", logits_BLV[..., table.recorded["vocab_columns"]])
    if f"{tag}.loss" in table.recorded:
        loss = F.cross_entropy(logits_BLV.flatten(0, 1), targets_BL.flatten(), ignore_index=-100)
        table.check(f"{tag}.loss", loss[None])


def _compare_search(table: Comparison, name: str, official: list | dict, fixture: Fixture, model: Flamingo) -> None:
    """Note the worst error of a search; its name says beam, item, padding and language."""
    logmel_BAF, video_BTHW, valid_BT = streams(fixture)
    if item := re.search(r"_item(\d+)", name):
        row = int(item[1])
        length = int(valid_BT[row].sum()) if "unpadded" in name else valid_BT.shape[1]
        logmel_BAF, video_BTHW = logmel_BAF[row : row + 1, : 4 * length], video_BTHW[row : row + 1, :length]
    beam = re.match(r"beam(\d+)_", name)
    language, size = name.rsplit("_", 1)[1], int(beam[1]) if beam else 1
    options = DecodingConfig(language=language, beam_size=size, temperatures=(0.0,))
    official = official if isinstance(official, list) else [official]
    longest = max(len(entry["tokens"]) for entry in official)
    memory = model.encode_streams(logmel_BAF, None, video_BTHW)
    errors = []
    for limit in (None, longest):  # the fixture does not say after how many tokens its search was cut off
        found = decode_memory(model, memory, replace(options, max_tokens=limit))
        assert len(found) == len(official), name
        errors.append(max(_search_error(ours[0], entry) for ours, entry in zip(found, official, strict=True)))
    table.errors[f"search: {name}"] = min(errors)


def _search_error(ours, official: dict) -> float:
    if list(ours.tokens) != official["tokens"]:
        return float("inf")
    pairs = (ours.score, official["avg_logprob"]), (ours.no_speech_prob, official["no_speech_prob"])
    return max(abs(mine - theirs) / abs(theirs) for mine, theirs in pairs)
