"""A tiny Whisper of random weights, in openai-whisper's class and in ours, for tests of the same tokens."""

from functools import cache
from typing import Any

import torch

from avspeech.interop.whisper_keys import whisper_keys
from avspeech.models.memory import Memory
from avspeech.models.whisper import Whisper
from avspeech.models.whisper_encoder import WhisperConfig
from avspeech.text.whisper_tokens import WhisperTokenizer

POSITIONS, TEXT_POSITIONS = 60, 48
TOKENIZER = WhisperTokenizer()


@cache
def tiny_pair(seed: int = 0) -> tuple[Any, Whisper]:
    """Return (openai-whisper's model, ours) with the same weights, in evaluation mode.

    A few hundred tokens, among them the end and some times, are far likelier than the others, so that texts end and
    times come.
    """
    from whisper.model import ModelDimensions
    from whisper.model import Whisper as OpenAIWhisper

    generator = torch.Generator().manual_seed(seed)
    sizes = (80, POSITIONS, 32, 2, 2, 51_865, TEXT_POSITIONS, 32, 2, 2)  # in the order of both projects
    theirs = OpenAIWhisper(ModelDimensions(*sizes)).eval()
    with torch.no_grad():
        for name, weight in theirs.named_parameters():
            scale = 0.3 if weight.ndim > 1 else 0.1
            offset = 1.0 if name.endswith(("ln.weight", "ln_post.weight")) else 0.0
            weight.copy_(torch.randn(weight.shape, generator=generator) * scale + offset)
        embedding = theirs.decoder.token_embedding.weight
        embedding *= 0.3
        loud = torch.cat([torch.randperm(50_000, generator=generator)[:300], torch.arange(50_364, 50_364 + POSITIONS)])
        embedding[loud] *= 3
        # the end: as likely as a good token, and it grows likelier from token to token
        end = torch.randn(32, generator=generator)
        embedding[TOKENIZER.end] = 0.35 * end
        steps = torch.linspace(-1, 4, TEXT_POSITIONS)[:, None]
        theirs.decoder.positional_embedding += 0.5 * steps * end
    ours = Whisper(WhisperConfig(*sizes)).eval()
    state = theirs.state_dict()
    ours.load_state_dict({our: state[their] for their, our in whisper_keys(ours.sizes).items()})
    return theirs, ours


def mels(count: int, seed: int = 1) -> torch.Tensor:
    """Return random log-mel features, (count, A, 80)."""
    return torch.randn(count, 2 * POSITIONS, 80, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def memory_of(model: Whisper, count: int, seed: int = 1) -> Memory:
    """Return the memory of random audio."""
    return model.encode_streams(mels(count, seed))
