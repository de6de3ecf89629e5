"""Rules on a Whisper's next token: suppressed tokens, the blank rule and the time rules.

They match OpenAI's decoder (openai-whisper, MIT; Radford et al. 2023, arXiv:2212.04356), so the same weights give the
same tokens.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from avspeech.decoding.config import Suppress
from avspeech.text.whisper_tokens import WhisperTokenizer

MAX_INITIAL_S = 1.0
"""Largest value of the first time token, in seconds."""
SECONDS = 30
"""Length of all audio positions in seconds; a time token's step is one position."""


@dataclass(frozen=True)
class TokenRules:
    """Rules of one model and one set of options."""

    suppressed: Tensor
    suppressed_at_start: Tensor
    """The blank and the end."""
    end: int
    """Every token below it is text."""
    first_time: int
    last_initial_time: int | None
    """Largest token that may be the first time; None: no time tokens and no time rules."""
    no_timestamps: int

    def apply(self, logits_RV: Tensor, sampled_RL: Tensor) -> None:
        """Set the logits of tokens that may not follow ``sampled_RL`` (without the prompt) to -inf, in place."""
        logits_RV.index_fill_(1, self.suppressed, -torch.inf)
        if sampled_RL.shape[1] == 0:
            logits_RV.index_fill_(1, self.suppressed_at_start, -torch.inf)
        if self.last_initial_time is not None:
            self._apply_times(logits_RV, sampled_RL, self.last_initial_time)

    def _apply_times(self, logits_RV: Tensor, sampled_RL: Tensor, last_initial_time: int) -> None:
        logits_RV[:, self.no_timestamps] = -torch.inf
        text_RV, time_RV = logits_RV[:, : self.first_time], logits_RV[:, self.first_time :]  # views
        if sampled_RL.shape[1] == 0:
            text_RV.fill_(-torch.inf)
            logits_RV[:, last_initial_time + 1 :] = -torch.inf
        else:
            last_R1 = sampled_RL[:, -1:] >= self.first_time
            before_R1 = sampled_RL[:, -2:-1] >= self.first_time if sampled_RL.shape[1] > 1 else torch.ones_like(last_R1)
            # Times come in pairs, end and start, except before the end of the text.
            time_RV.masked_fill_(last_R1 & before_R1, -torch.inf)
            logits_RV[:, : self.end].masked_fill_(last_R1 & ~before_R1, -torch.inf)
            # Times never decrease, and a segment has a length: a time may equal the last one only right after it.
            latest_R1 = sampled_RL.amax(dim=1, keepdim=True)  # tokens of times have the highest numbers
            lowest_R1 = torch.where(last_R1 & ~before_R1, latest_R1, latest_R1 + 1)
            times_V = torch.arange(self.first_time, logits_RV.shape[1], device=logits_RV.device)
            time_RV.masked_fill_((latest_R1 >= self.first_time) & (times_V < lowest_R1), -torch.inf)
        # A time follows if all times together are likelier than any text token.
        is_time_R = time_RV.logsumexp(dim=1) > text_RV.amax(dim=1)
        text_RV.masked_fill_(is_time_R[:, None], -torch.inf)


def token_rules(
    tokenizer: WhisperTokenizer,
    suppress: Suppress = "default",
    suppress_blank: bool = True,
    timestamps: bool = False,
    audio_positions: int = 1500,
    device: torch.device | str = "cpu",
) -> TokenRules:
    """Return the rules; see ``DecodingConfig`` for the options.

    Args:
        suppress: ``default`` and a list also forbid prompt tokens.
        audio_positions: the model's; they set the step of a time token.

    Raises ValueError if a token to suppress is not in the vocabulary.
    """
    library = tokenizer.library
    tokens = _suppressed(tokenizer, suppress)
    at_start = [*library.encode(" "), tokenizer.end] if suppress_blank else []
    last_initial_time = tokenizer.first_time + round(MAX_INITIAL_S * audio_positions / SECONDS)
    return TokenRules(
        suppressed=torch.tensor(tokens, dtype=torch.long, device=device),
        suppressed_at_start=torch.tensor(at_start, dtype=torch.long, device=device),
        end=tokenizer.end,
        first_time=tokenizer.first_time,
        last_initial_time=last_initial_time if timestamps else None,
        no_timestamps=library.no_timestamps,
    )


def _suppressed(tokenizer: WhisperTokenizer, suppress: Suppress) -> list[int]:
    if suppress == "none" or suppress == ():
        return []
    library = tokenizer.library
    if isinstance(suppress, str):
        tokens = set(library.non_speech_tokens)
    else:
        tokens = {int(token) for token in suppress}
        if unknown := sorted(token for token in tokens if not 0 <= token < tokenizer.vocab_size):
            raise ValueError(f"suppress has {unknown}; this model's tokens are 0 to {tokenizer.vocab_size - 1}")
    prompts = {library.transcribe, library.translate, library.sot, library.sot_prev, library.sot_lm, library.no_speech}
    return sorted(tokens | prompts)
