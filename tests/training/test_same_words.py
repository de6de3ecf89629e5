"""The same model with the same options gives the same words in validation, evaluation and transcription."""

from dataclasses import replace

import pytest
import torch

from avspeech.decoding.config import DecodingConfig
from avspeech.evaluation.systems import batch_decoder
from avspeech.inputs import collate
from avspeech.training import finetune, flamingo
from avspeech.transcription.speech_model import SpeechModel
from tests.transcription.hand_made import LIPS_THW, SOUND, WHISPER, hand_made, make

pytest.importorskip("whisper", reason="openai-whisper is not installed")
SPANS = ((0, 20), (20, 45), (50, 62))


@pytest.mark.parametrize(
    ("kind", "options"),
    [("joint", {}), ("attention", {}), ("ctc", {}), ("ctc", {"beam_size": 1}), ("whisper", {})],
    ids=str,
)
def test_validation_evaluation_and_transcription_give_the_same_words(kind, options, tmp_path, monkeypatch):
    network, config = make(kind), DecodingConfig(temperatures=(0.0,), language="en", **options)
    speaker = SpeechModel(network, kind, decoding=config)
    streams = hand_made(SPANS, "audio") if kind == "whisper" else hand_made(SPANS)
    transcribed = [segment.text for segment in speaker.transcribe_streams(streams).segments]
    assert len(set(transcribed)) > 1, "the texts must differ, or a mix-up would not show"

    samples = []
    for start, end in SPANS:
        lips_THW = None if kind == "whisper" else LIPS_THW[start:end]
        sample = speaker.decoder.sample(f"{start}", end - start, SOUND[start * 640 : end * 640], lips_THW)
        samples.append(replace(sample, text="", language="en", tokens_L=torch.zeros(0, dtype=torch.long)))
    batch = collate(samples)
    assert batch_decoder(network, config)(batch, torch.tensor([[True, kind != "whisper"]] * len(SPANS))) == transcribed

    if kind == "whisper":
        module = flamingo.FlamingoModule(sizes=WHISPER, decoding=config)
    else:
        network.tokenizer.save(tmp_path / "tokenizer.json")
        module = finetune.FinetuneModule(network.config, str(tmp_path / "tokenizer.json"), decoding=config)
    module.model = network
    monkeypatch.setattr(module, "_loss", lambda *_: None)
    validated = []
    monkeypatch.setattr(module, "count_words", lambda _, nbest: validated.extend(found[0].text for found in nbest))
    module.eval()
    with torch.no_grad():
        module.validation_step(batch, 0)
    assert validated == transcribed
