"""The path between silences finds tokens where they are looked for, and nothing where nobody looks."""

import torch

from avspeech.decoding.attention_path import positions_between_silence, positions_of_openai


def looking(places, num_positions, sharp=0.9):
    """Return attention of tokens to their places, (1, L, P); the rest goes everywhere."""
    weights_LP = torch.full((len(places), num_positions), (1 - sharp) / num_positions)
    for row, place in enumerate(places):
        weights_LP[row, list(place)] += sharp / len(place)
    return weights_LP[None]


def test_silence_before_and_after_is_no_token():
    weights_NLP = looking([range(10, 14), range(14, 20), range(20, 23)], 40)
    assert positions_between_silence(weights_NLP, 0, 3) == [10, 14, 20, 23]


def test_tokens_of_a_few_frames_survive():
    places = [range(8, 10), range(10, 11), range(11, 13), range(13, 15)]
    prompt = looking([range(40)] * 2, 40)  # tokens before the text look everywhere
    weights_NLP = torch.cat([prompt, looking([*places, range(30, 34)], 40)], dim=1)
    assert positions_between_silence(weights_NLP, 2, 4) == [8, 10, 11, 13, 15]
    openai = positions_of_openai(weights_NLP, 2, 4)
    assert openai[0] == 0, "the first token starts with the silence before it"
    assert openai[1:] != [10, 11, 13, 15], "the filter is longer than the tokens"


def test_attention_that_knows_nothing_gives_ordered_positions():
    starts = positions_between_silence(torch.full((2, 4, 6), 1 / 6), 0, 4)
    assert starts == sorted(starts)
    assert all(0 <= start < 6 for start in starts)
    assert positions_between_silence(torch.ones(1, 3, 1), 0, 3) == [0, 0, 0, 0]
