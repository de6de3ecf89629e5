"""Rules on a Whisper's next token: suppressed tokens, the blank rule and the time rules.

They match OpenAI's decoder (openai-whisper, MIT; Radford et al. 2023, arXiv:2212.04356).
"""

import torch
from torch import Tensor

from avspeech.decoding.config import DecodingConfig, Suppress
from avspeech.text.whisper_tokens import WhisperTokenizer

MAX_INITIAL_S = 1.0  # largest value of the first time token
SECONDS = 30  # length of all audio positions; a time token's step is one position


class TokenRules:
    """Rules of one model and one set of options; ``audio_positions`` of the model set the step of a time token.

    Raises ValueError if a token to suppress is not in the vocabulary.
    """

    def __init__(
        self,
        tokenizer: WhisperTokenizer,
        config: DecodingConfig = DecodingConfig(),
        audio_positions: int = 1500,
        device: torch.device | str = "cpu",
    ) -> None:
        self.tokenizer = tokenizer
        at_start = [*tokenizer.library.encode(" "), tokenizer.end] if config.suppress_blank else []
        self.suppressed = torch.tensor(_suppressed(tokenizer, config.suppress), dtype=torch.long, device=device)
        self.suppressed_at_start = torch.tensor(at_start, dtype=torch.long, device=device)
        self.timestamps = config.timestamps
        self.last_initial_time = tokenizer.first_time + round(MAX_INITIAL_S * audio_positions / SECONDS)

    def apply(self, logits_RV: Tensor, sampled_RL: Tensor) -> None:
        """Set the logits of tokens that may not follow ``sampled_RL`` (without the prompt) to -inf, in place."""
        logits_RV.index_fill_(1, self.suppressed, -torch.inf)
        if sampled_RL.shape[1] == 0:
            logits_RV.index_fill_(1, self.suppressed_at_start, -torch.inf)
        if self.timestamps:
            self._apply_times(logits_RV, sampled_RL)

    def _apply_times(self, logits_RV: Tensor, sampled_RL: Tensor) -> None:
        first_time = self.tokenizer.first_time
        logits_RV[:, self.tokenizer.library.no_timestamps] = -torch.inf
        text_RV, time_RV = logits_RV[:, :first_time], logits_RV[:, first_time:]  # views
        if sampled_RL.shape[1] == 0:
            text_RV.fill_(-torch.inf)
            logits_RV[:, self.last_initial_time + 1 :] = -torch.inf
        else:
            last_R1 = sampled_RL[:, -1:] >= first_time
            before_R1 = sampled_RL[:, -2:-1] >= first_time if sampled_RL.shape[1] > 1 else torch.ones_like(last_R1)
            # Times come in pairs, end and start, except before the end of the text.
            time_RV.masked_fill_(last_R1 & before_R1, -torch.inf)
            logits_RV[:, : self.tokenizer.end].masked_fill_(last_R1 & ~before_R1, -torch.inf)
            # Times never decrease, and a segment has a length: a time may equal the last one only right after it.
            latest_R1 = sampled_RL.amax(dim=1, keepdim=True)  # tokens of times have the highest numbers
            lowest_R1 = torch.where(last_R1 & ~before_R1, latest_R1, latest_R1 + 1)
            times_V = torch.arange(first_time, logits_RV.shape[1], device=logits_RV.device)
            time_RV.masked_fill_((latest_R1 >= first_time) & (times_V < lowest_R1), -torch.inf)
        # A time follows if all times together are likelier than any text token.
        is_time_R = time_RV.logsumexp(dim=1) > text_RV.amax(dim=1)
        text_RV.masked_fill_(is_time_R[:, None], -torch.inf)


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
