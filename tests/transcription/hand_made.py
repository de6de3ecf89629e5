"""Streams made by hand, and tiny models that tell segments apart."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from avspeech.models.flamingo import FlamingoConfig
from avspeech.roi.faces import FollowedFaces
from avspeech.text.tokenizer import EOS
from avspeech.transcription.result import Segment
from avspeech.transcription.streams import Streams
from tests.hub.small_models import recognizer
from tests.models.tiny_whisper import LIPS, SIZES, make_flamingo, make_whisper
from tests.transcription.test_speech_activity import voice

WHISPER = replace(SIZES, vocab_size=51_865, mel_bins=80, audio_positions=250, text_positions=16, text_depth=1)
"""Whisper's own tokens and filters, and 5 s of sound."""
NUM = 90  # frames of the file
SOUND = voice(NUM / 25)
LIPS_THW = np.repeat(np.random.default_rng(0).integers(0, 256, (NUM // 5, 96, 96), dtype=np.uint8), 5, axis=0)
SPANS = ((0, 20), (20, 45), (50, 62), (62, 90))
RECOGNIZERS = {"ctc": {}, "attention": {"ctc": False, "decoder": True}, "joint": {"decoder": True}}
KINDS = (*RECOGNIZERS, "whisper", "flamingo")
_DRAWN = {"ctc": (0, 1.0), "attention": (8, 0.6), "joint": (2, 0.3)}  # seed, size of weights whose texts end and differ


@torch.no_grad()
def make(kind: str):
    """Return a tiny model whose texts follow what it is given."""
    if kind == "whisper":
        return make_whisper(WHISPER)
    if kind == "flamingo":
        return make_flamingo(FlamingoConfig(WHISPER, LIPS))
    seed, size = _DRAWN[kind]
    torch.manual_seed(seed)
    network = recognizer(**RECOGNIZERS[kind])
    for name, weight in network.named_parameters():
        if weight.ndim > 1:
            weight.normal_(0, size)
        elif "norm" in name and name.endswith("weight"):
            weight.fill_(1)
        if "positions" in name:
            weight *= 0.05  # or a frame is told by its place alone
    if network.ctc_head is not None:  # it tells frames from their mean, or the same token would win in every one
        video_BTHW = torch.from_numpy(LIPS_THW[None, :, 36:60, 36:60].copy())
        memory_BTD = network(None, video_BTHW, torch.ones(1, NUM, dtype=torch.bool))
        network.ctc_head.bias.copy_(-network.ctc_head.weight @ memory_BTD[0].mean(dim=0))
    if network.decoder is not None:  # the end of the text is likelier, or none comes
        end_D = network.decoder.embedding.weight[EOS]
        network.decoder.norm.bias.copy_(3 * end_D / end_D.square().sum())
    return network


def hand_made(
    spans=SPANS, modality="audio+video", audio_S=SOUND, mouth_THW=LIPS_THW, blind=(), silent=False, speakers=None
) -> Streams:
    """Return the streams of a file with segments at ``spans`` (frames); those at the places ``blind`` show no face."""
    num_frames = max(end for _, end in spans)
    audio_S = None if audio_S is None else audio_S[: num_frames * 640]
    segments = []
    for place, (start, end) in enumerate(spans):
        lips = None if mouth_THW is None or place in blind else mouth_THW[start:end]
        share = None if mouth_THW is None else 0.0 if lips is None else 0.9
        speaker = speakers[place] if speakers else None
        segments.append(Segment(start / 25, end / 25, face_share=share, speaker=speaker, mouth_THW=lips))
    seen = 0 if mouth_THW is None else num_frames
    speech_T = None if audio_S is None else np.full(num_frames, 0.9, np.float32)
    followed = FollowedFaces((), seen, seen)
    return Streams(Path("clip.mp4"), modality, audio_S, followed, (), speech_T, not silent, tuple(segments))
