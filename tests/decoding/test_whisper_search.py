"""Whisper's searches give openai-whisper's tokens, and an utterance's neighbours cannot change them."""

from dataclasses import replace

import pytest
import torch
from reference_whisper import POSITIONS, TOKENIZER, mels, memory_of, tiny_pair

from avspeech.decoding.config import DecodingConfig
from avspeech.decoding.search import Found, closed_up, draw
from avspeech.decoding.transcribe import decode_memory
from avspeech.decoding.whisper import detect_languages, rank
from avspeech.decoding.whisper_rules import TokenRules
from avspeech.models.memory import Memory


def greedy(**options) -> DecodingConfig:
    """Return a config without fallback."""
    return DecodingConfig(**{"temperatures": (0.0,)} | options)


BLANKS = {"suppress_blank": False, "length_penalty": 1.0}
CASES = {
    "greedy": ({}, greedy()),
    "beam": ({"beam_size": 5}, greedy(beam_size=5)),
    "patient beam": ({"beam_size": 5, "patience": 2.0}, greedy(beam_size=5, patience=2.0)),
    "impatient beam": ({"beam_size": 4, "patience": 0.5}, greedy(beam_size=4, patience=0.5)),
    "length penalty": ({"beam_size": 5, "length_penalty": 0.7}, greedy(beam_size=5, length_penalty=0.7)),
    "context": ({"prompt": "the quick brown"}, greedy(context="the quick brown")),
    "translation": ({"task": "translate"}, greedy(task="translate")),
    "nothing suppressed": ({"suppress_tokens": ""}, greedy(suppress="none")),
    "some suppressed": ({"suppress_tokens": [13, 50_416]}, greedy(suppress=(13, 50_416))),
    "cut off": ({"beam_size": 3, "sample_len": 5}, greedy(beam_size=3, max_tokens=5)),
    "to the last position": ({"sample_len": 400, "beam_size": 2}, greedy(beam_size=2, max_tokens=400)),
    "blank allowed": (BLANKS, greedy(**BLANKS)),
}


@pytest.mark.parametrize("timestamps", [False, True], ids=["text", "times"])
@pytest.mark.parametrize("case", CASES)
def test_tokens_are_those_of_openai(case, timestamps):
    from whisper.decoding import DecodingOptions, decode

    theirs, ours = tiny_pair()
    their_options, config = CASES[case]
    mel_BAF = mels(4)
    settings = {"language": "de", "fp16": False, "without_timestamps": not timestamps} | their_options
    config = replace(config, language="de", timestamps=timestamps)
    for mel_AF, (best, *_) in zip(mel_BAF, decode_memory(ours, ours.encode_streams(mel_BAF), config), strict=True):
        wanted = decode(theirs, mel_AF.T, DecodingOptions(**settings))
        assert list(best.tokens) == wanted.tokens
        assert best.score == pytest.approx(wanted.avg_logprob, abs=1e-4)
        assert best.no_speech_prob == pytest.approx(wanted.no_speech_prob, rel=1e-3)
        assert best.compression_ratio == pytest.approx(wanted.compression_ratio)


def test_the_detected_language_is_that_of_openai_and_shares_the_pass():
    from whisper.decoding import DecodingOptions, decode
    from whisper.decoding import detect_language as openai_detects

    theirs, ours = tiny_pair()
    mel_BAF = mels(4)
    _, wanted = openai_detects(theirs, mel_BAF.transpose(1, 2))
    languages, probs = detect_languages(ours, ours.encode_streams(mel_BAF))
    found = decode_memory(ours, ours.encode_streams(mel_BAF), greedy())
    for i, table in enumerate(wanted):
        assert languages[i] == found[i][0].language == max(table, key=table.get)
        assert probs[i] == pytest.approx(table, abs=1e-5)
        assert found[i][0].language_probs == pytest.approx(table, abs=1e-5)
        their = decode(theirs, mel_BAF[i].T, DecodingOptions(fp16=False, without_timestamps=True))
        assert list(found[i][0].tokens) == their.tokens
        assert found[i][0].no_speech_prob == pytest.approx(their.no_speech_prob, rel=1e-3)


@pytest.mark.parametrize(
    "options",
    [
        greedy(),
        greedy(beam_size=4, patience=1.5, num_best=4),
        greedy(beam_size=4, patience=0.5, num_best=4),
        greedy(timestamps=True, context="before"),
        greedy(temperatures=(0.8,), best_of=3, num_best=3, logprob_threshold=None, seed=1),
    ],
    ids=["greedy", "beam", "impatient beam", "times and context", "drawn"],
)
def test_neighbours_do_not_matter(ours, options):
    lengths, languages = (60, 12, 31, 60, 5, 44, 20), ["en", None, "ru", "de", None, "en", "el"]
    valid_BP = torch.arange(POSITIONS)[None] < torch.tensor(lengths)[:, None]
    memory, ids = Memory(memory_of(ours, 7).memory_BTD, valid_BP), [f"clip{i}" for i in range(7)]
    together = decode_memory(ours, memory, options, languages, ids)
    for i, length in enumerate(lengths):
        alone = Memory(memory.memory_BTD[i : i + 1, :length])
        (wanted,) = decode_memory(ours, alone, options, languages[i : i + 1], ids[i : i + 1])
        assert [one.tokens for one in together[i]] == [one.tokens for one in wanted]
        assert [one.score for one in together[i]] == pytest.approx([one.score for one in wanted], abs=1e-4)
        assert together[i][0].language == wanted[0].language
    assert len({len(nbest[0].tokens) for nbest in together}) > 2  # or no utterance left the batch before another


@pytest.mark.parametrize("options", [greedy(), greedy(beam_size=3, num_best=3)], ids=["greedy", "beam"])
def test_looking_seldom_changes_nothing(ours, options, monkeypatch):
    """On a GPU the search looks only now and then whether something is finished."""
    memory = memory_of(ours, 6)
    wanted = decode_memory(ours, memory, options, ["en"] * 6)
    monkeypatch.setattr("avspeech.decoding.search._looks", lambda step, device: step % 7 == 6)
    for now, then in zip(decode_memory(ours, memory, options, ["en"] * 6), wanted, strict=True):
        assert [one.tokens for one in now] == [one.tokens for one in then]
        assert [one.score for one in now] == pytest.approx([one.score for one in then], abs=1e-4)


def test_the_memory_given_stays_as_it_is(ours):
    memory = Memory(memory_of(ours, 5).memory_BTD, torch.rand(5, POSITIONS).argsort(dim=1) < 50)
    before = memory.select(torch.arange(5))  # copies
    decode_memory(ours, memory, greedy(beam_size=2), ["en"] * 5)
    assert torch.equal(memory.memory_BTD, before.memory_BTD) and torch.equal(memory.valid_BT, before.valid_BT)
    assert memory.video_BTD is memory.video_valid_BT is memory.has_video_B is None


def test_nbest_is_sorted_and_holds_no_text_twice(ours):
    for nbest in decode_memory(ours, memory_of(ours, 3), greedy(language="en", beam_size=5, num_best=5)):
        sums = [one.score * (len(one.tokens) + 1) / max(1, len(one.tokens)) for one in nbest]
        assert sums == sorted(sums, reverse=True)
        assert len({tuple(one.tokens) for one in nbest}) == len(nbest) == 5


def test_gaps_are_filled_from_behind():
    assert closed_up([0, 3, 4]) == [0, 3, 4]
    assert closed_up([0, 2, 5]) == [0, 5, 2]
    assert closed_up([4, 5]) == [4, 5]


def test_draws_follow_the_distribution():
    probs_V = torch.tensor([0.1, 0.0, 0.6, 0.3])
    drawn_R = draw(probs_V.log().expand(5_000, -1), torch.rand(5_000))
    torch.testing.assert_close(torch.bincount(drawn_R, minlength=4) / 5_000, probs_V, atol=0.03, rtol=0)
    assert draw(probs_V.log()[None], torch.tensor([0.0])).item() == 0
    assert draw(probs_V.log()[None], torch.tensor([1 - 2**-24])).item() == 3


def test_length_penalties_rank():
    short, long = Found([1], -2.0), Found([1, 2, 3, 4], -4.0)
    assert rank([short, long], None)[0] == long
    assert rank([short, long], 0.0)[0] == short
    assert rank([short, long, Found([1], -9.0)], None) == [long, short]


def test_an_unknown_token_to_suppress_is_named():
    with pytest.raises(ValueError, match=r"suppress has \[60000\].*0 to 51864"):
        TokenRules(TOKENIZER, DecodingConfig(suppress=(60_000,)))
