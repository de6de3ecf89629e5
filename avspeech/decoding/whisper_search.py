"""Greedy, sampled and beam search over Whisper's tokens, all rows of a batch at once, with a key-value cache.

The rules are those of OpenAI's decoder (openai-whisper, MIT; Radford et al. 2023, arXiv:2212.04356), the patience of a
beam Kasai et al.'s (2022, arXiv:2204.05424). Where we differ, and not in the tokens: an utterance that is finished
leaves the batch, and everything between two steps stays on the model's device.

Letters of this file: ``R`` a row of the decoder, that is an utterance, or one of its hypotheses; ``K`` hypotheses of an
utterance; ``C`` candidates to continue them; ``M`` places for finished ones.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from avspeech.decoding.whisper_rules import TokenRules
from avspeech.models.decoder import State, TextDecoder

GPU_INTERVAL = 8
"""Steps between two looks at what is finished, where a look stops the device."""
SHRINK_AT = 0.5
"""Finished utterances leave the batch when this share of it goes on. Measured on one core, eight clips of Whisper base:
0.25 s a clip, 0.26 where each leaves at once, 0.31 where none does."""


@dataclass(frozen=True)
class WhisperTokens:
    """Tokens of one hypothesis, without prompt and end, and their log-probability, the end's included."""

    tokens: list[int]
    logprob: float


def rank(found: list[WhisperTokens], length_penalty: float | None) -> list[WhisperTokens]:
    """Return hypotheses best first, each token sequence once.

    Args:
        found: of one utterance.
        length_penalty: None divides log-probabilities by the number of tokens; p by ((5 + number) / 6) ** p.
    """

    def score(one: WhisperTokens) -> float:
        length = max(1, len(one.tokens))
        return one.logprob / (length if length_penalty is None else ((5 + length) / 6) ** length_penalty)

    unique = {tuple(one.tokens): one for one in reversed(found)}  # of equals, the first one found stays
    return sorted((one for one in found if unique[tuple(one.tokens)] is one), key=score, reverse=True)


@torch.no_grad()
def sample_tokens(
    decoder: TextDecoder,
    state: State,
    logits_RV: Tensor,
    rules: TokenRules,
    limit: int,
    temperature: float = 0.0,
    uniform_RL: Tensor | None = None,
) -> list[WhisperTokens]:
    """Return one hypothesis a row: at temperature 0 the likeliest token over and over, above it drawn ones.

    Args:
        decoder: in evaluation mode.
        state: after the prompt; used up.
        logits_RV: after the prompt; changed.
        rules: which tokens may follow.
        limit: most tokens.
        temperature: divides the logits that are drawn from.
        uniform_RL: numbers in [0, 1) to draw with, one for every token; needed above temperature 0.
    """
    device, num_rows = logits_RV.device, len(logits_RV)
    group = num_rows // state.num_utterances
    tokens_RL = torch.full((num_rows, limit), rules.end, device=device)
    logprob_R = torch.zeros(num_rows, device=device)
    done_R = torch.zeros(num_rows, dtype=torch.bool, device=device)
    utterances = list(range(state.num_utterances))  # who stands at which place
    found: list[WhisperTokens | None] = [None] * num_rows

    def collect(places: list[int]) -> None:
        rows = [place * group + k for place in places for k in range(group)]
        for row, tokens, logprob in zip(rows, tokens_RL[rows].tolist(), logprob_R[rows].tolist(), strict=True):
            end = tokens.index(rules.end) if rules.end in tokens else limit
            found[utterances[row // group] * group + row % group] = WhisperTokens(tokens[:end], logprob)

    for step in range(limit):
        if step:
            logits_RV = decoder.step(tokens_RL[:, step - 1 : step], state)
        logits_RV = logits_RV.float()
        rules.apply(logits_RV, tokens_RL[:, :step])
        if temperature > 0:
            assert uniform_RL is not None
            next_R = _draw(logits_RV / temperature, uniform_RL[:, step])
        else:
            next_R = logits_RV.argmax(dim=1)
        added_R = logits_RV.gather(1, next_R[:, None])[:, 0] - logits_RV.logsumexp(dim=1)
        logprob_R = logprob_R + torch.where(done_R, 0, added_R)
        next_R = torch.where(done_R, rules.end, next_R)
        tokens_RL[:, step] = next_R
        done_R = done_R | (next_R == rules.end)
        if not _looks(step, device):
            continue
        alive = _places((~done_R.view(-1, group)).any(dim=1))
        if not alive:
            break
        if len(alive) <= SHRINK_AT * len(utterances):
            collect([place for place in range(len(utterances)) if place not in set(alive)])
            stay = _closed_up(alive)
            state.keep(stay)
            utterances = [utterances[place] for place in stay]
            rows_R = torch.tensor([place * group + k for place in stay for k in range(group)], device=device)
            tokens_RL, logprob_R, done_R = tokens_RL[rows_R], logprob_R[rows_R], done_R[rows_R]
            uniform_RL = None if uniform_RL is None else uniform_RL[rows_R]
    collect(list(range(len(utterances))))
    assert all(one is not None for one in found)
    return found  # type: ignore[return-value]


def _draw(logits_RV: Tensor, uniform_R: Tensor) -> Tensor:
    """Return a token a row, drawn by inverting the cumulative distribution; float64, or the tail would be lost."""
    sums_RV = logits_RV.double().softmax(dim=1).cumsum(dim=1)
    wanted_R1 = uniform_R[:, None].to(sums_RV) * sums_RV[:, -1:]
    return torch.searchsorted(sums_RV, wanted_R1, right=True)[:, 0].clamp(max=logits_RV.shape[1] - 1)


@torch.no_grad()
def beam_tokens(
    decoder: TextDecoder,
    state: State,
    logits_BV: Tensor,
    rules: TokenRules,
    limit: int,
    beam_size: int,
    patience: float = 1.0,
) -> list[list[WhisperTokens]]:
    """Return the hypotheses that a beam finds for each utterance, in the order found.

    Every step looks at the ``beam_size + 1`` best continuations of each hypothesis and goes on with the best
    ``beam_size`` that are no end; ends that are better than the last of them are finished hypotheses. An utterance
    is done with ``round(beam_size * patience)`` finished ones; fewer than ``beam_size`` are filled up with unfinished.

    Args:
        decoder: in evaluation mode.
        state: after the prompt, one row an utterance; used up.
        logits_BV: after the prompt; changed.
        rules: which tokens may follow.
        limit: most tokens.
        beam_size: hypotheses kept alive.
        patience: above 1 searches on for more finished ones.

    Raises:
        ValueError: there would be no place for a finished hypothesis.
    """
    wanted = round(beam_size * patience)
    if wanted < 1:
        raise ValueError(f"beam_size={beam_size} times patience={patience} must round to 1 or more finished hypotheses")
    device = logits_BV.device
    beams = _Beams(len(logits_BV), beam_size, wanted, limit, rules.end, device)
    utterances = list(range(len(logits_BV)))
    found: list[list[WhisperTokens]] = [[] for _ in utterances]
    logits_RV = logits_BV
    for step in range(limit):
        if step:
            logits_RV = decoder.step(beams.tokens_BKL[:, :, step - 1].reshape(-1, 1), state)
        logits_RV = logits_RV.float()
        # At first all hypotheses are the same empty one, and the state has only one row for them.
        rules.apply(logits_RV, beams.tokens_BKL[:, :, :step].flatten(0, 1) if step else logits_RV.new_zeros(0, 0))
        parents_BK = beams.advance(logits_RV.log_softmax(dim=1), step)
        if step == 0:
            state.repeat(beam_size)
        else:
            first_row_B1 = torch.arange(len(parents_BK), device=device)[:, None] * beam_size
            state.reorder((first_row_B1 + parents_BK).flatten())
        if not _looks(step, device):
            continue
        alive = _places(~beams.done_B)
        if not alive:
            break
        if len(alive) <= SHRINK_AT * len(utterances):
            for place in set(range(len(utterances))) - set(alive):
                found[utterances[place]] = beams.collect(place)
            stay = _closed_up(alive)
            state.keep(stay)
            beams.keep(stay)
            utterances = [utterances[place] for place in stay]
    for place, utterance in enumerate(utterances):
        found[utterance] = beams.collect(place)
    return found


class _Beams:
    """Hypotheses of all utterances, alive and finished, on the model's device."""

    def __init__(self, batch: int, size: int, wanted: int, limit: int, end: int, device: torch.device) -> None:
        self.size, self.wanted, self.limit, self.end = size, wanted, limit, end
        self.tokens_BKL = torch.full((batch, size, limit), end, device=device)
        self.logprob_BK = torch.zeros(batch, size, device=device)
        self.length_B = torch.zeros(batch, dtype=torch.long, device=device)  # tokens of the hypotheses alive
        # One place more than wanted: those that come too late are written there.
        self.ended_BML = torch.full((batch, wanted + 1, limit), end, device=device)
        self.ended_logprob_BM = torch.zeros(batch, wanted + 1, device=device)
        self.count_B = torch.zeros(batch, dtype=torch.long, device=device)
        self.done_B = torch.zeros(batch, dtype=torch.bool, device=device)

    def advance(self, added_RV: Tensor, step: int) -> Tensor:
        """Take the next token of each hypothesis; return which hypothesis each one alive continues, (B, K).

        Args:
            added_RV: log-probabilities; R is B at the first step, B * K later.
            step: tokens so far.
        """
        batch = len(self.tokens_BKL)
        best = added_RV.topk(self.size + 1, dim=1)
        rows = len(added_RV) // batch
        before_BK = self.logprob_BK[:, :rows, None]
        total_BC = (before_BK + best.values.view(batch, rows, -1)).flatten(1)
        token_BC = best.indices.view(batch, -1)
        total_BC, order_BC = total_BC.sort(dim=1, descending=True, stable=True)
        token_BC = token_BC.gather(1, order_BC)
        parent_BC = order_BC // (self.size + 1)
        is_end_BC = token_BC == self.end
        before_BC = (~is_end_BC).cumsum(dim=1)  # for an end: how many better candidates go on
        self._finish(is_end_BC & (before_BC < self.size), parent_BC, total_BC, step)
        goes_on_BC = ~is_end_BC & (before_BC <= self.size)
        place_BK = goes_on_BC.int().argsort(dim=1, descending=True, stable=True)[:, : self.size]
        parent_BK = parent_BC.gather(1, place_BK)
        tokens_BKL = self.tokens_BKL.gather(1, parent_BK[..., None].expand(-1, -1, self.limit))
        tokens_BKL[:, :, step] = token_BC.gather(1, place_BK)
        # What is done stays as it was when it was: with little patience, its hypotheses alive count as found.
        was_done_B11 = self.done_B[:, None, None]
        self.tokens_BKL = torch.where(was_done_B11, self.tokens_BKL, tokens_BKL)
        self.logprob_BK = torch.where(self.done_B[:, None], self.logprob_BK, total_BC.gather(1, place_BK))
        self.length_B = torch.where(self.done_B, self.length_B, step + 1)
        self.done_B = self.count_B >= self.wanted
        return parent_BK

    def _finish(self, ends_BC: Tensor, parent_BC: Tensor, total_BC: Tensor, step: int) -> None:
        place_BC = self.count_B[:, None] + ends_BC.cumsum(dim=1) - 1
        place_BC = torch.where(ends_BC & (place_BC < self.wanted), place_BC, self.wanted)
        tokens_BCL = self.tokens_BKL.gather(1, parent_BC[..., None].expand(-1, -1, self.limit))
        self.ended_BML.scatter_(1, place_BC[..., None].expand(-1, -1, self.limit), tokens_BCL)
        self.ended_logprob_BM.scatter_(1, place_BC, total_BC)
        self.count_B = (self.count_B + ends_BC.sum(dim=1)).clamp(max=self.wanted)

    def keep(self, places: list[int]) -> None:
        """Forget all utterances but those at ``places``."""
        index_B = torch.tensor(places, device=self.done_B.device)
        for name in ("tokens_BKL", "logprob_BK", "length_B", "ended_BML", "ended_logprob_BM", "count_B", "done_B"):
            setattr(self, name, getattr(self, name)[index_B])

    def collect(self, place: int) -> list[WhisperTokens]:
        """Return the finished hypotheses in order, then, if those are fewer than the beam, the best ones alive."""
        ended = self.ended_BML[place, : int(self.count_B[place])].tolist()
        logprobs = self.ended_logprob_BM[place].tolist()
        found = [WhisperTokens(self._text(one), logprob) for one, logprob in zip(ended, logprobs, strict=False)]
        alive = zip(self.tokens_BKL[place].tolist(), self.logprob_BK[place].tolist(), strict=True)
        length = int(self.length_B[place])
        for tokens, logprob in sorted(alive, key=lambda one: one[1], reverse=True)[: max(0, self.size - len(found))]:
            found.append(WhisperTokens(tokens[:length], logprob))
        return found

    def _text(self, tokens: list[int]) -> list[int]:
        return tokens[: tokens.index(self.end)] if self.end in tokens else tokens


def _looks(step: int, device: torch.device) -> bool:
    return device.type == "cpu" or step % GPU_INTERVAL == GPU_INTERVAL - 1


def _places(alive_B: Tensor) -> list[int]:
    return [place for place, is_alive in enumerate(alive_B.tolist()) if is_alive]


def _closed_up(alive: list[int]) -> list[int]:
    """Return who comes to which place: those before the new end stay, gaps are filled from behind it."""
    count = len(alive)
    behind = [place for place in alive if place >= count]
    before = set(alive)
    return [place if place in before else behind.pop(0) for place in range(count)]
