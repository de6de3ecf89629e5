"""Beam search with a key-value cache, all hypotheses of a batch at once; with CTC and a language model on request.

Rules and order are those of the decoder that AV-HuBERT was published with (Shi et al. 2022, arXiv:2201.02184), so that
its weights give its transcripts. Each step looks at the ``2 * beam_size`` best continuations of an utterance. An end
among the first ``beam_size`` of them finishes a hypothesis, whose score is its log-probability, end token included,
over (number of tokens + 1) ** length_penalty. The utterance is finished when ``beam_size`` hypotheses are; at the
length limit the end is forced.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from avspeech.decoding.ctc_prefix import CtcPrefixScorer
from avspeech.decoding.greedy import BEGIN, END, PAD, TokenHypothesis, longest_text
from avspeech.decoding.joint import JointScorer
from avspeech.decoding.language_model import LanguageModel
from avspeech.models.decoder import TextDecoder
from avspeech.models.memory import Memory

OFFICIAL_AUDIO_CHANNELS = 104  # 26 filterbanks, stacked by 4


def official_length_limit(num_frames: int, has_audio: bool, max_len_a: float = 1.0, max_len_b: float = 0) -> int:
    """Return the most tokens that AV-HuBERT's published decoder allows, for ``max_length`` of ``beam_search``.

    It means to allow ``max_len_a`` tokens a frame and ``max_len_b`` more, but takes the number of frames from the
    wrong axis of the audio: with audio the limit is that of 104 frames, however long the clip. Without, it is as meant.

    Args:
        num_frames: T of the batch, padding included.
        has_audio: the batch has audio.
        max_len_a: tokens a frame.
        max_len_b: tokens more.
    """
    return int(max_len_a * (OFFICIAL_AUDIO_CHANNELS if has_audio else num_frames) + max_len_b)


@torch.no_grad()
def beam_search(
    decoder: TextDecoder,
    memory_BTD: Tensor,
    valid_BT: Tensor,
    beam_size: int,
    length_penalty: float = 1.0,
    max_length: int | None = None,
    *,
    min_length: int = 0,
    ctc_BTV: Tensor | None = None,
    ctc_weight: float = 0.3,
    lm: LanguageModel | None = None,
    lm_weight: float = 0.3,
) -> list[list[TokenHypothesis]]:
    """Return up to ``beam_size`` hypotheses of each utterance, best first; none where CTC rules all out.

    Args:
        decoder: the text decoder, in evaluation mode.
        memory_BTD: the encoder's output.
        valid_BT: bool, True where the memory is real.
        beam_size: hypotheses kept alive; at least 1.
        length_penalty: exponent of the length; above 1 favours longer texts.
        max_length: most tokens of a hypothesis; None allows one a frame. See also ``official_length_limit``.
        min_length: fewest tokens of a hypothesis; AV-HuBERT's decoding config has 1.
        ctc_BTV: ``Recognizer.ctc_logits`` of the memory, for joint decoding; T may be a multiple of the memory's.
        ctc_weight: share of CTC in the score, 0 to 1.
        lm: language model over the same tokens.
        lm_weight: factor of its log-probabilities.

    Raises:
        ValueError: ``beam_size`` is below 1 or not below the vocabulary's size, ``min_length`` is negative or above
            the longest text, or CTC or the language model does not fit (see ``JointScorer``).
    """
    vocab_size = decoder.embedding.num_embeddings
    if not 1 <= beam_size < vocab_size:
        raise ValueError(f"beam_size={beam_size} must be at least 1 and below the vocabulary's {vocab_size} tokens")
    limit = longest_text(valid_BT.shape[1], max_length)
    if not 0 <= min_length <= limit:
        raise ValueError(f"min_length={min_length} must be from 0 to the longest text, {limit} tokens; see max_length")
    batch, device = len(memory_BTD), memory_BTD.device
    ctc = None
    if ctc_BTV is not None:
        upsample = ctc_BTV.shape[1] // valid_BT.shape[1]
        ctc = CtcPrefixScorer(ctc_BTV, valid_BT.repeat_interleave(upsample, dim=1), beam_size)
    state = decoder.start(Memory(memory_BTD, valid_BT), limit + 1)
    state.repeat(beam_size)
    scorer = JointScorer(decoder, state, ctc, ctc_weight, lm, lm_weight)

    beams = [_Beam(beam_size, length_penalty) for _ in range(batch)]
    tokens_R = torch.full((batch * beam_size,), BEGIN, device=device)  # R: rows, utterance-major
    alive_BK = torch.full((batch, beam_size), -torch.inf, device=device)
    alive_BK[:, 0] = 0  # all beams start equal: let only the first one speak
    for step in range(limit + 1):
        log_RV = scorer.step(tokens_R)
        log_RV[:, PAD] = -torch.inf
        if step == limit:  # nothing but the end may follow
            log_RV = log_RV.masked_fill(torch.arange(vocab_size, device=device) != END, -torch.inf)
        elif step < min_length:
            log_RV[:, END] = -torch.inf
        log_BW = log_RV.view(batch, beam_size * vocab_size)
        total_BW = (alive_BK[..., None] + log_RV.view(batch, beam_size, vocab_size)).flatten(1)
        # Twice as many candidates as beams: at most one of each beam's is the end, so enough go on.
        best = total_BW.topk(min(2 * beam_size, total_BW.shape[1]), dim=1)
        added_BC = log_BW.gather(1, best.indices)
        survivors = []
        candidates = zip(best.indices.tolist(), best.values.tolist(), added_BC.tolist(), strict=True)
        for beam, (places, totals, added) in zip(beams, candidates, strict=True):
            entries = zip(places, totals, added, strict=True)
            survivors.append(beam.advance([_Candidate(*divmod(place, vocab_size), *s) for place, *s in entries]))
        if step == limit or all(beam.is_finished for beam in beams):
            break
        rows = [b * beam_size + one.parent for b, kept in enumerate(survivors) for one in kept]
        tokens_R = torch.tensor([one.token for kept in survivors for one in kept], device=device)
        alive_BK = torch.tensor([[one.total for one in kept] for kept in survivors], device=device)
        if rows != list(range(len(rows))):
            scorer.reorder(torch.tensor(rows, device=device))
    return [sorted(beam.ended, key=lambda hypothesis: -hypothesis.score) for beam in beams]


@dataclass(frozen=True)
class _Candidate:
    """One more token for one of the hypotheses that are alive."""

    parent: int
    token: int
    total: float
    added: float


@dataclass
class _Beam:
    """The hypotheses of one utterance."""

    size: int
    length_penalty: float
    alive: list[tuple[list[int], tuple[float, ...]]] = field(default_factory=lambda: [([], ())])
    """Tokens so far and the score of each; the first entry stands for all at the start."""
    ended: list[TokenHypothesis] = field(default_factory=list)

    @property
    def is_finished(self) -> bool:
        return len(self.ended) >= self.size

    def advance(self, candidates: list[_Candidate]) -> list[_Candidate]:
        """Take the ends among the candidates, best first; return the ``size`` that go on."""
        kept: list[_Candidate] = []
        for rank, one in enumerate(candidates):
            if one.total == -torch.inf or len(kept) == self.size or self.is_finished:
                break
            if one.token != END:
                kept.append(one)
            elif rank < self.size:
                tokens, scores = self.alive[one.parent]
                final = one.total / (len(tokens) + 1) ** self.length_penalty
                self.ended.append(TokenHypothesis(tokens, final, (*scores, one.added)))
        alive = [(self.alive[one.parent][0] + [one.token], (*self.alive[one.parent][1], one.added)) for one in kept]
        nobody = _Candidate(0, PAD + 2, -torch.inf, -torch.inf)  # keeps the shapes; no score is below its own
        self.alive = alive + [([], ())] * (self.size - len(kept))
        return kept + [nobody] * (self.size - len(kept))
