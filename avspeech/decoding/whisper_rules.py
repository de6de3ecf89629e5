"""Rules on a Whisper's next token: suppressed tokens, the blank rule and the time rules.

They are those of OpenAI's decoder (openai-whisper, MIT; Radford et al. 2023, arXiv:2212.04356), so that the same
weights give the same tokens. They are applied to all rows at once, on the model's device.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from avspeech.decoding.config import Suppress
from avspeech.text.whisper_tokens import WhisperTokenizer

MAX_INITIAL_S = 1.0
"""Largest value of the first time token, in seconds."""
SECONDS = 30
"""Length of all audio positions together; a time token's step is one position."""


@dataclass(frozen=True)
class TokenRules:
    """Rules of one model and one set of options."""

    suppressed: Tensor
    """Tokens that are never given."""
    suppressed_at_start: Tensor
    """Tokens that are not given first: the blank and the end."""
    end: int
    """End of the text; every token below it is text."""
    first_time: int
    """The token of time 0."""
    last_initial_time: int | None
    """Largest token that may be the first time; None: no times are asked for, and no time rule applies."""
    no_timestamps: int
    """Token that asks for no times."""

    def apply(self, logits_RV: Tensor, sampled_RL: Tensor) -> None:
        """Set the logits of tokens that may not follow to minus infinity, in place.

        Args:
            logits_RV: logits after the last token.
            sampled_RL: tokens so far, without the prompt.
        """
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
        # A time follows where all times together are likelier than any text token.
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
    """Return the rules.

    Args:
        tokenizer: the model's.
        suppress: ``default`` forbids symbols that are not spoken, and prompt tokens; a list forbids its tokens and
            prompt tokens; ``none`` forbids nothing.
        suppress_blank: forbid a blank and the end as first token.
        timestamps: ask for times.
        audio_positions: the model's; they set the step of a time token.
        device: of the model.

    Raises:
        ValueError: a token to suppress is not in the vocabulary.
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
