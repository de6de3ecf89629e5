"""Small random files in the layout of OpenAI's, and whether two are the same."""

from dataclasses import replace

import torch

from avspeech.interop.whisper import export_openai
from avspeech.models.whisper import Whisper
from tests.interop.official import randomize, same_tensors
from tests.models.tiny_whisper import SIZES

# as many decoder heads as OpenAI's tiny, so that its list of heads that follow the words fits
TINY = replace(SIZES, audio_width=24, audio_heads=6, text_width=24, text_heads=6, text_depth=4)


def half_file(path, sizes=TINY, seed=5):
    torch.manual_seed(seed)
    path.parent.mkdir(exist_ok=True)
    torch.save(file := export_openai(randomize(Whisper(sizes))), path)
    return file


def same_file(one, other):
    assert one["dims"] == other["dims"]
    same_tensors(one["model_state_dict"], other["model_state_dict"])
