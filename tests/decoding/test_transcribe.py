"""A batch in, text out, by each method."""

from dataclasses import replace

import pytest
import torch

from avspeech.decoding.beam import beam_search
from avspeech.decoding.language_model import TokenModel
from avspeech.decoding.transcribe import (
    check_heads,
    recognizer_memory,
    transcribe_batch,
    transcribe_memory,
    transcribe_nbest,
)
from avspeech.inputs import AVBatch, Sample, collate
from avspeech.models.decoder import DecoderConfig
from avspeech.models.encoder import EncoderConfig
from avspeech.models.frontends import VideoConfig
from avspeech.models.recognizer import Recognizer, RecognizerConfig
from avspeech.text.tokenizer import Tokenizer

CONFIG = RecognizerConfig(
    EncoderConfig(
        width=16,
        depth=1,
        num_heads=2,
        ffn_width=16,
        position_kernel=8,
        position_groups=2,
        video=VideoConfig(input_size=24, widths=(4,), blocks=(1,), stem_width=4),
    ),
    DecoderConfig(width=16, depth=1, num_heads=2, ffn_width=16),
    ctc=True,
    ctc_upsample=2,
)


@pytest.fixture
def tokenizer() -> Tokenizer:
    return Tokenizer.fit(["set red now", "bin blue soon"], "words")


@pytest.fixture
def model(tokenizer) -> Recognizer:
    torch.manual_seed(3)
    model = Recognizer(CONFIG, tokenizer.vocab_size).eval()
    torch.nn.init.normal_(model.ctc_head.weight, std=3)
    torch.nn.init.normal_(model.decoder.embedding.weight, std=0.7)
    model.decoder.embedding.weight.data[2] *= 3  # the end comes first, if nothing forbids it
    return model


@pytest.fixture
def batch() -> AVBatch:
    lengths = (6, 4)
    return collate([Sample(str(length), length, audio_TF=torch.randn(length, 104)) for length in lengths])


@torch.no_grad()
def test_joint_is_the_beam_with_both_heads(model, tokenizer, batch):
    best = transcribe_batch(model, tokenizer, batch, None, "joint", 3, ctc_weight=0.4, max_length=5)
    memory_BTD = model(batch.audio_BTF, None, batch.valid_BT)
    logits_BTV = model.ctc_logits(memory_BTD)
    beams = beam_search(model.decoder, memory_BTD, batch.valid_BT, 3, 1.0, 5, ctc_BTV=logits_BTV, ctc_weight=0.4)
    expected = [(tokenizer.decode(hypotheses[0].tokens), hypotheses[0].score) for hypotheses in beams]
    assert [(one.text, one.score) for one in best] == expected
    other = transcribe_batch(model, tokenizer, batch, None, "joint", 3, ctc_weight=1.0, max_length=5)
    assert other != best


@pytest.mark.parametrize("method", ["ctc", "attention", "joint"])
@pytest.mark.parametrize("beam_size", [1, 4])
def test_the_best_is_the_first_of_several(model, tokenizer, batch, method, beam_size):
    nbest = transcribe_nbest(model, tokenizer, batch, None, method, beam_size, max_length=6)
    assert [one[0] for one in nbest] == transcribe_batch(model, tokenizer, batch, None, method, beam_size, max_length=6)
    for hypotheses in nbest:
        assert 1 <= len(hypotheses) <= beam_size
        assert [one.score for one in hypotheses] == sorted((one.score for one in hypotheses), reverse=True)


@pytest.mark.parametrize("beam_size", [1, 3])
def test_limits_hold_for_every_beam(model, tokenizer, batch, beam_size):
    limits = {"min_length": 3, "max_length": 3}
    for one in transcribe_batch(model, tokenizer, batch, None, "attention", beam_size, **limits):
        assert len(one.text.split()) == 3


def test_the_language_model_has_its_say(model, tokenizer, batch):
    class Always(torch.nn.Module):
        def forward(self, tokens_RL):  # "red", until there are two of them
            favourite_RL = torch.where(torch.arange(tokens_RL.shape[1]) < 2, tokenizer.encode("red")[0], 2)
            return 99.0 * torch.nn.functional.one_hot(favourite_RL.expand_as(tokens_RL), tokenizer.vocab_size)

    for method in ("attention", "joint"):
        best = transcribe_batch(model, tokenizer, batch, None, method, lm=TokenModel(Always()), lm_weight=1.0)
        assert [one.text for one in best] == ["red red"] * 2


@torch.no_grad()
def test_the_official_limit_depends_on_whether_there_is_audio(model, tokenizer, batch):
    model.decoder.embedding.weight[2] = 0  # so that hardly anything ends by itself
    model.decoder.norm.weight.data *= 3

    def longest(given, **options):
        nbest = transcribe_nbest(model, tokenizer, given, None, "attention", 2, min_length=6, **options)
        return max(len(one.text.split()) for hypotheses in nbest for one in hypotheses)

    silent = replace(batch, audio_BTF=None, video_BTHW=torch.zeros(2, 6, 24, 24, dtype=torch.uint8))
    assert longest(silent, official_limit=True) == 6
    assert longest(batch, official_limit=True) > longest(batch) > 6
    with pytest.raises(ValueError, match="max_length=3 came with official_limit"):
        longest(batch, official_limit=True, max_length=3)


def test_no_possible_text_is_the_empty_text(model, tokenizer, batch):
    best = transcribe_batch(model, tokenizer, batch, None, "joint", 2, min_length=10)  # 4 frames have 8 CTC steps
    assert best[0].score > -torch.inf
    assert (best[1].text, best[1].score) == ("", -torch.inf)


def test_a_missing_head_is_named_before_anything_runs(tokenizer, batch):
    for method, config, lacks in [
        ("ctc", replace(CONFIG, ctc=False), "CTC head"),
        ("joint", replace(CONFIG, ctc=False), "CTC head"),
        ("attention", replace(CONFIG, decoder=None), "text decoder"),
        ("joint", replace(CONFIG, decoder=None), "text decoder"),
    ]:
        model = Recognizer(config, tokenizer.vocab_size).eval()
        with pytest.raises(ValueError, match=f"method '{method}' came for a model that has no {lacks}"):
            transcribe_batch(model, tokenizer, batch, None, method)
        check_heads(model, "attention" if config.decoder else "ctc")


def test_greedy_ctc_takes_no_language_model(model, tokenizer, batch):
    with pytest.raises(ValueError, match="a language model came with method 'ctc'"):
        transcribe_batch(model, tokenizer, batch, None, "ctc", lm=TokenModel(torch.nn.Identity()))


def test_an_encoder_that_gives_nan_is_an_error_and_no_silence(model, tokenizer, batch):
    model.encoder.norm.weight.data.fill_(torch.nan)
    with pytest.raises(ValueError, match="not finite"):
        transcribe_batch(model, tokenizer, batch, None, "attention", 3)


@torch.no_grad()
def test_mean_scores_are_per_token_or_per_ctc_step(model, tokenizer, batch):
    memory_BTD = recognizer_memory(model, batch)
    log_BTV = model.ctc_logits(memory_BTD).log_softmax(dim=-1)
    for row, one in enumerate(transcribe_batch(model, tokenizer, batch, None, "ctc")):
        steps = 2 * int(batch.valid_BT[row].sum())
        assert one.mean_score == pytest.approx(log_BTV[row, :steps].amax(dim=1).mean().item(), rel=1e-5)
        assert tokenizer.decode(one.tokens) == one.text
    lengths = {"min_length": 3, "max_length": 5}
    greedy = transcribe_batch(model, tokenizer, batch, **lengths)
    assert all(len(one.tokens) >= 3 for one in greedy)
    for beam_size, penalty in ((1, 1.0), (2, 0.0), (2, 1.0), (2, 2.0)):
        for one in transcribe_batch(model, tokenizer, batch, None, "attention", beam_size, penalty, **lengths):
            total = one.score * (len(one.tokens) + 1) ** (penalty if beam_size > 1 else 0)
            assert one.mean_score == pytest.approx(total / (len(one.tokens) + 1), rel=1e-5)
    again = transcribe_memory(model, tokenizer, memory_BTD, batch.valid_BT, **lengths)
    assert [one for (one,) in again] == greedy
