"""The fine-tuned model: memory, every decoder layer, logits, losses, and beam search with its scores."""

import json
import re

import torch

from avspeech.decoding.config import DecodingConfig
from avspeech.decoding.recognizer import length_limits, official_length_limit, search_text
from avspeech.models.memory import Memory
from avspeech.models.recognizer import Recognizer
from avspeech.objectives.text_loss import next_token_loss
from avspeech.text.tokenizer import EOS, PAD
from tests.parity.compare_encoder import import_model, spied
from tests.parity.comparison import TOLERANCE, Comparison
from tests.parity.fixtures import Fixture

PADDED = "not at padding, where the official decoder leaves out positions; nobody reads it"


@torch.no_grad()
def compare_seq2seq(fixture: Fixture, model: Recognizer | None = None) -> Comparison:
    """Compare a fine-tuned fixture; ``model`` stands in for the imported one where a test changes it."""
    model = model or import_model(fixture)
    table = Comparison(fixture.name, fixture.tensors)
    table.skip("in.", "input")
    audio_BTF, video_BTHW, valid_BT = fixture.streams
    hypotheses = json.loads((fixture.folder / "hypotheses.json").read_text())
    for tag, audio, video in [("av", audio_BTF, video_BTHW), ("a", audio_BTF, None), ("v", None, video_BTHW)]:
        memory_BTD = model(audio, video, valid_BT)
        table.check(f"{tag}.encoder_out_TBC", memory_BTD.transpose(0, 1))
        _compare_decoder(table, tag, model, memory_BTD, valid_BT)
        for name, official in hypotheses.items():
            if name.split(".")[0] == tag:
                _compare_beam(table, name, official, model, memory_BTD, valid_BT, audio is not None)
    return table


def _compare_decoder(table: Comparison, tag: str, model: Recognizer, memory_BTD, valid_BT) -> None:
    decoder = model.decoder
    tokens_BL, targets_BL = table.recorded["in.prev_output_tokens"], table.recorded["in.target"]
    real_BL = tokens_BL != PAD
    layers = {f"inner{number}": block for number, block in enumerate(decoder.blocks, start=1)}
    with spied(embedded=decoder.dropout, **layers) as seen:
        logits_BLV = decoder(tokens_BL, Memory(memory_BTD, valid_BT))
    table.check(f"{tag}.dec_inner0_TBC", seen["embedded"][1].transpose(0, 1), real_BL.T, PADDED)
    for name in layers:
        table.check(f"{tag}.dec_{name}_TBC", seen[name][1].transpose(0, 1), real_BL.T, PADDED)
    table.check(f"{tag}.logits", logits_BLV, real_BL, PADDED)
    table.check(f"{tag}.lprobs", logits_BLV.log_softmax(dim=-1), real_BL, PADDED)
    scored_BL = targets_BL.masked_fill(targets_BL == PAD, -100)
    for smoothing, name in [(0.1, "label_smoothed"), (0.0, "nll")]:
        total = next_token_loss(logits_BLV, scored_BL, smoothing) * len(targets_BL)
        table.check(f"{tag}.{name}_loss_sum", total[None])


def _compare_beam(table: Comparison, name: str, official: list, model: Recognizer, memory_BTD, valid_BT, has_audio):
    beam, factor, penalty = re.fullmatch(r"\w+\.beam(\d+)_maxlena([\d.]+)_lenpen([\d.]+)", name).groups()
    limit = official_length_limit(valid_BT.shape[1], has_audio, float(factor))
    config = DecodingConfig(beam_size=int(beam), length_penalty=float(penalty), max_tokens=limit, min_length=1)
    limit_B = length_limits(valid_BT, config, has_audio)
    ours, our_scores = search_text(model.decoder, Memory(memory_BTD, valid_BT), limit_B, config)
    worst = 0.0
    for our_row, row_scores, their_row in zip(ours, our_scores, official, strict=True):
        assert len(our_row) == len(their_row), name
        ranked = [(*hypothesis.tokens, EOS) for hypothesis in our_row]
        scores, parts = (
            dict(zip(ranked, column, strict=True)) for column in (row_scores, [one.parts for one in our_row])
        )
        for rank, entry in enumerate(their_row):
            tokens, score = tuple(entry["tokens"]), entry["score"]
            if tokens not in scores:  # one that the official search kept may have lost to its equal in ours
                official_tokens = {tuple(other["tokens"]) for other in their_row}
                rivals = [rival for their, rival in scores.items() if their not in official_tokens]
                equal = any(abs(rival - score) <= TOLERANCE * abs(score) for rival in rivals)
                worst = worst if equal else float("inf")
                continue
            worst = max(worst, abs(scores[tokens] - score) / abs(score))
            steps = torch.tensor(entry["positional_scores"])
            difference = (torch.tensor(parts[tokens]) - steps).abs().max() / steps.abs().max()
            worst = max(worst, float(difference))
            other = their_row[ranked.index(tokens)]["score"]
            if ranked.index(tokens) != rank and abs(other - score) > TOLERANCE * abs(score):
                worst = float("inf")  # only equals may swap ranks
    table.errors[f"hypotheses: {name}"] = worst
