"""Small random files in the layout of OpenAI's, and whether two are the same."""

from dataclasses import replace

import torch

from avspeech.interop.whisper import export_openai
from avspeech.models.whisper import Whisper
from tests.interop.official import randomize
from tests.models.tiny_whisper import SIZES

# as many decoder heads as OpenAI's tiny, so that its list of heads that follow the words fits
TINY = replace(SIZES, audio_width=24, audio_heads=6, text_width=24, text_heads=6, text_depth=4)


def half_file(path, sizes=TINY, seed=5):
    """Write a file in OpenAI's layout, fp16 and random, and return its content."""
    torch.manual_seed(seed)
    export_openai(randomize(Whisper(sizes)), path)
    return torch.load(path, weights_only=True)


def same_file(one, other):
    assert one["dims"] == other["dims"]
    assert one["model_state_dict"].keys() == other["model_state_dict"].keys()
    for key, value in one["model_state_dict"].items():
        assert value.dtype == other["model_state_dict"][key].dtype, key
        assert torch.equal(value, other["model_state_dict"][key]), key
