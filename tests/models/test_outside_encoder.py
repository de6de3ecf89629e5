"""An encoder class from outside of the package is trained, saved, loaded and transcribes; no file of ours knows it."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from avspeech.data.dataset import AVDataset
from avspeech.inputs import InputSpec, collate
from avspeech.manifest import read_manifest
from avspeech.media.audio import read_audio
from avspeech.media.video import read_grey_clip
from avspeech.models.configs import ModelFileError
from avspeech.models.encoder import ENCODERS, BaseEncoderConfig, Encoder
from avspeech.models.files import load_model, save_model
from avspeech.models.recognizer import RecognizerConfig
from avspeech.train import main


@dataclass(frozen=True)
class ToyConfig(BaseEncoderConfig, kind="toy"):
    """A recurrent encoder that looks at small crops."""

    width: int = 24
    clip_size: int = 16

    def build(self):
        return ToyEncoder(self)


class ToyEncoder(Encoder):
    """Pixels and filterbanks side by side, through a GRU."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.rnn = nn.GRU(self.inputs.audio_bins + config.clip_size**2, config.width, batch_first=True)

    @property
    def inputs(self):
        return InputSpec(clip_size=self.config.clip_size)

    def forward(self, audio_BTF, video_BTHW, valid_BT, keep_B2=None, layer=None):
        shape = valid_BT.shape
        if audio_BTF is None:
            audio_BTF = torch.zeros(*shape, self.inputs.audio_bins, device=valid_BT.device)
        if video_BTHW is None:
            video_BTHW = torch.zeros(*shape, self.config.clip_size, self.config.clip_size, device=valid_BT.device)
        streams = [audio_BTF, video_BTHW.flatten(2) / 255]
        if keep_B2 is not None:
            streams = [torch.where(keep_B2[:, column, None, None], x, 0) for column, x in enumerate(streams)]
        return self.rnn(torch.cat(streams, dim=-1))[0]


@pytest.fixture(scope="module")
def model_file(corpus, tokenizer_file, tmp_path_factory):
    """Train one step by the command line, with the encoder named in the configuration; return the model file."""
    folder = tmp_path_factory.mktemp("toy")
    encoder = f"{{class_path: {ToyConfig.__module__}.ToyConfig, init_args: {{width: 20}}}}"
    flags = {
        "model": "avspeech.training.finetune.FinetuneModule",
        "model.init_args.recognizer": f"{{encoder: {encoder}, decoder: null, ctc: true}}",
        "model.init_args.tokenizer": tokenizer_file,
        "data": "avspeech.training.data.AVDataModule",
        **{f"data.init_args.{name}": f"{corpus}/{name}.jsonl" for name in ("train", "val")},
        **{"trainer.max_steps": 1, "trainer.accelerator": "cpu", "trainer.default_root_dir": folder},
        **{f"trainer.{name}": "false" for name in ("logger", "enable_progress_bar", "enable_checkpointing")},
    }
    main(["fit", *(f"--{name}={value}" for name, value in flags.items())])
    return folder / "model.safetensors"


def test_it_is_trained_saved_and_loaded(model_file, corpus, tmp_path):
    model = load_model(model_file)
    assert isinstance(model.encoder, ToyEncoder)
    assert model.config == RecognizerConfig(ToyConfig(width=20), None, ctc=True)
    assert (model.inputs.clip_size, model.about["modality"]) == (16, "audio+video")
    save_model(tmp_path / "again.safetensors", model)
    assert (tmp_path / "again.safetensors").read_bytes() == model_file.read_bytes()
    batch = collate([AVDataset(read_manifest(corpus / "val.jsonl"), inputs=model.inputs)[i] for i in range(2)])
    assert model.encode(batch).memory_BTD.shape == (*batch.valid_BT.shape, 20)


def test_it_transcribes_files_like_any_other(model_file, corpus):
    from avspeech.decoding.config import DecodingConfig
    from avspeech.transcription.segment_decoding import SegmentDecoder

    clip = read_manifest(corpus / "val.jsonl")[0]
    decoder = SegmentDecoder(load_model(model_file), DecodingConfig(), "toy")
    mouth_THW = read_grey_clip(clip.mouth)
    sample = decoder.sample("x", len(mouth_THW), np.asarray(read_audio(clip.audio)), mouth_THW)
    assert sample.video_THW.shape[1:] == (16, 16)
    assert isinstance(decoder.decode([sample], None)[0].text, str)


def test_without_the_package_that_defines_it_the_file_says_so(model_file, monkeypatch):
    monkeypatch.delitem(ENCODERS, "toy")
    with pytest.raises(ModelFileError, match="import the package that defines 'toy' first"):
        load_model(model_file)
