"""A batch in, hypotheses out, by each method; and the options of ``DecodingConfig``."""

from dataclasses import replace

import pytest
import torch
from reference_search import ENCODER, beam_search

from avspeech.decoding.config import DecodingConfig, settle
from avspeech.decoding.ctc import ctc_greedy
from avspeech.decoding.language_model import TokenModel
from avspeech.decoding.transcribe import decode_memory, encode_batch, transcribe_batch
from avspeech.inputs import AVBatch, Sample, collate
from avspeech.models.cluster_predictor import ClusterPredictor
from avspeech.models.decoder import DecoderConfig
from avspeech.models.recognizer import Recognizer, RecognizerConfig
from avspeech.text.tokenizer import EOS, Tokenizer
from tests.refusals import raises

CONFIG = RecognizerConfig(ENCODER, DecoderConfig(16, 1, 2, 16), ctc=True, ctc_upsample=2)
TOKENIZER = Tokenizer.fit(["set red now", "bin blue soon"], "words")


def recognizer(**config) -> Recognizer:
    return Recognizer(replace(CONFIG, **config), TOKENIZER.vocab_size, TOKENIZER).eval()


@pytest.fixture
def model() -> Recognizer:
    torch.manual_seed(3)
    model = recognizer()
    torch.nn.init.normal_(model.ctc_head.weight, std=3)
    torch.nn.init.normal_(model.decoder.embedding.weight, std=0.7)
    model.decoder.embedding.weight.data[EOS] *= 3  # the end comes first, if nothing forbids it
    return model


@pytest.fixture
def batch() -> AVBatch:
    return collate([Sample(str(length), length, audio_TF=torch.randn(length, 104)) for length in (6, 4)])


def best(model, batch, lm=None, **options):
    return [found[0] for found in transcribe_batch(model, batch, None, DecodingConfig(**options), lm)]


@torch.no_grad()
def test_joint_is_the_beam_with_both_heads(model, batch):
    options = {"method": "joint", "beam_size": 3, "max_tokens": 5}
    memory = model.encode(batch)
    beams = beam_search(model.decoder, memory, 3, 1.0, 5, ctc_BTV=model.ctc_logits(memory.memory_BTD), ctc_weight=0.4)
    expected = [hypotheses[0][:2] for hypotheses in beams]
    assert [(one.tokens, one.score) for one in best(model, batch, ctc_weight=0.4, **options)] == expected
    assert best(model, batch, ctc_weight=1.0, **options) != best(model, batch, ctc_weight=0.4, **options)


@pytest.mark.parametrize("method", ["ctc", "attention", "joint"])
@pytest.mark.parametrize("beam_size", [1, 4])
def test_the_best_is_the_first_of_several(model, batch, method, beam_size):
    options = {"method": method, "beam_size": beam_size, "max_tokens": 6}
    nbest = transcribe_batch(model, batch, config=DecodingConfig(num_best=4, **options))
    assert [found[0] for found in nbest] == best(model, batch, **options)
    for hypotheses in nbest:
        assert 1 <= len(hypotheses) <= beam_size
        assert [one.score for one in hypotheses] == sorted((one.score for one in hypotheses), reverse=True)
        assert all(one.text == TOKENIZER.decode(one.tokens) for one in hypotheses)


@pytest.mark.parametrize(
    ("config", "method", "beam_size"),
    [({}, "joint", 5), ({"decoder": None}, "ctc", 16), ({"ctc": False}, "attention", 1)],
    ids=["both heads", "CTC alone", "decoder alone"],
)
def test_null_takes_what_the_model_has(config, method, beam_size):
    settled = settle(DecodingConfig(), recognizer(**config))
    assert (settled.method, settled.beam_size) == (method, beam_size)
    assert settle(DecodingConfig(beam_size=2), recognizer(**config)).beam_size == 2


def test_the_language_model_has_its_say(model, batch):
    class Always(torch.nn.Module):
        def forward(self, tokens_RL):  # "red", until there are two of them
            favourite_RL = torch.where(torch.arange(tokens_RL.shape[1]) < 2, TOKENIZER.encode("red")[0], EOS)
            return 99.0 * torch.nn.functional.one_hot(favourite_RL.expand_as(tokens_RL), TOKENIZER.vocab_size)

    for method in ("attention", "joint"):
        found = best(model, batch, TokenModel(Always()), method=method, lm_weight=1.0)
        assert [one.text for one in found] == ["red red"] * 2
    with pytest.raises(ValueError, match="a language model came with method 'ctc'"):
        best(model, batch, TokenModel(Always()), method="ctc")


@torch.no_grad()
def test_the_official_limit_depends_on_whether_there_is_audio(model, batch):
    model.decoder.embedding.weight[EOS] = 0  # so that hardly anything ends by itself
    model.decoder.norm.weight.data *= 3

    def longest(given, **options):
        config = DecodingConfig("attention", 2, 2, min_length=6, **options)
        return max(len(one.tokens) for hypotheses in transcribe_batch(model, given, None, config) for one in hypotheses)

    silent = replace(batch, audio_BTF=None, video_BTHW=torch.zeros(2, 6, 24, 24, dtype=torch.uint8))
    assert longest(silent, official_limit=True) == 6
    assert longest(batch, official_limit=True) > longest(batch) > 6


def test_no_possible_text_is_the_empty_text(model, batch):
    found = best(model, batch, method="joint", beam_size=2, min_length=10)  # 4 frames have 8 CTC steps
    assert found[0].score > -torch.inf
    assert (found[1].text, found[1].score) == ("", -torch.inf)


@pytest.mark.parametrize("head", ["ctc", "attention"])
def test_a_missing_head_is_named_before_anything_runs(batch, head):
    config, lacks = ({"ctc": False}, "CTC head") if head == "ctc" else ({"decoder": None}, "text decoder")
    for method in (head, "joint"):
        with pytest.raises(ValueError, match=f"method='{method}' came for a Recognizer without {lacks}"):
            best(recognizer(**config), batch, method=method)


def test_a_model_without_text_says_so(batch):
    raises(ValueError, "ClusterPredictor gives no text", transcribe_batch, ClusterPredictor(CONFIG.encoder, 5), batch)
    with pytest.raises(ValueError, match="Recognizer gives no text: its checkpoint came without the dictionary"):
        transcribe_batch(Recognizer(CONFIG, 9), batch)


def test_an_encoder_that_gives_nan_is_an_error_and_no_silence(model, batch):
    model.encoder.norm.weight.data.fill_(torch.nan)
    raises(ValueError, "not finite", best, model, batch)


@torch.no_grad()
def test_mean_scores_are_per_token_or_per_ctc_step(model, batch):
    memory = encode_batch(model, batch)
    log_BTV = model.ctc_logits(memory.memory_BTD).log_softmax(dim=-1)
    for row, one in enumerate(best(model, batch, method="ctc", beam_size=1)):
        steps = 2 * int(batch.valid_BT[row].sum())
        assert one.mean_score == pytest.approx(log_BTV[row, :steps].amax(dim=1).mean().item(), rel=1e-5)
    options = {"method": "attention", "min_length": 3, "max_tokens": 5}
    greedy = best(model, batch, **options)
    assert all(len(one.tokens) >= 3 for one in greedy)
    for beam_size, penalty in ((1, 1.0), (2, 0.0), (2, 1.0), (2, 2.0)):
        for one in best(model, batch, beam_size=beam_size, length_penalty=penalty, **options):
            assert len(one.token_scores) == len(one.tokens) + 1
            assert one.mean_score == pytest.approx(sum(one.token_scores) / len(one.token_scores), rel=1e-5)
            total = one.score * (len(one.tokens) + 1) ** penalty
            assert one.mean_score == pytest.approx(total / (len(one.tokens) + 1), rel=1e-5)
    assert [one for (one,) in decode_memory(model, memory, DecodingConfig(**options))] == greedy


def test_ctc_merges_repeats_and_drops_blanks_and_padding():
    logits_BTV = torch.nn.functional.one_hot(torch.tensor([[4, 4, 0, 4, 3, 3, 2, 2]]), 5).float() * 9
    ((found,),) = ctc_greedy(logits_BTV, torch.tensor([[True] * 6 + [False] * 2]))
    assert found.tokens == [4, 4, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "greedy"}, "method='greedy' must be ctc, attention or joint"),
        ({"beam_size": 0}, "beam_size=0 must be at least 1"),
        ({"max_tokens": 0}, "max_tokens=0 must be at least 1"),
        ({"min_length": 9, "max_tokens": 8}, "min_length=9 must be from 0 to max_tokens=8"),
        ({"max_tokens": 3, "official_limit": True}, "max_tokens=3 came with official_limit"),
        ({"ctc_weight": 1.5}, r"ctc_weight=1\.5 must be from 0"),
        ({"lm_weight": -1}, "lm_weight=-1 must not be negative"),
        ({"length_penalty": float("nan")}, "length_penalty=nan must be a number"),
        ({"temperatures": ()}, r"temperatures=\[\] must be one or more"),
        ({"language": "en", "detect_language": True}, "language='en' came with detect_language"),
        ({"task": "sing"}, "task='sing' must be transcribe or translate"),
        ({"suppress": "all"}, "suppress='all' must be default, none or a list"),
    ],
    ids=str,
)
def test_options_that_cannot_be_are_named(options, message):
    raises(ValueError, message, DecodingConfig, **options)
