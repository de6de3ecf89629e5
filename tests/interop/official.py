"""Official checkpoints made on the spot: fairseq's trainer dict around random weights, with its pickled objects."""

import sys
from argparse import Namespace
from dataclasses import replace
from functools import reduce
from operator import getitem
from types import ModuleType

import pytest
import torch

from avspeech.interop.avhubert import export_checkpoint
from avspeech.models.cluster_predictor import ClusterPredictor, HeadConfig
from avspeech.models.decoder import DecoderConfig
from avspeech.models.encoder import EncoderConfig
from avspeech.models.files import ModelFileError
from avspeech.models.recognizer import Recognizer, RecognizerConfig

SMALL = EncoderConfig(width=32, depth=2, num_heads=4, ffn_width=48, position_groups=4)
PIECES = ["\u2581", "\u2581the", "\u2581a", "s", "t"]


def refused(call, *arguments, **options):
    with pytest.raises(ModelFileError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def same_tensors(one, other):  # models or state dicts
    one, other = (x if isinstance(x, dict) else x.state_dict() for x in (one, other))
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert value.dtype == other[key].dtype and torch.equal(value, other[key]), key


def replaced(*path, **changes):
    """Return a function that changes a dict at ``path``: key (``__`` for a dot) -> value, or None to delete it."""

    def spoil(state):
        state = reduce(getitem, path, state)
        for key, value in changes.items():
            state.pop(key.replace("__", "."), None)
            if value is not None:
                state[key.replace("__", ".")] = value

    return spoil


def randomize(model):  # so that a mixed-up key cannot go unseen
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.copy_(torch.rand_like(tensor) + 0.5)
        elif tensor.is_floating_point():
            tensor.copy_(torch.randn_like(tensor) * 0.05)
        else:
            tensor.fill_(7)
    return model.eval()


def pretrained(encoder=SMALL, mask_features=False):
    model = randomize(ClusterPredictor(encoder, 9, mask_features, HeadConfig(16, 4)))
    return model, export_checkpoint(model)


def finetuned(encoder=SMALL, vocab_size=4 + len(PIECES)):
    decoder = DecoderConfig(width=32, depth=2, num_heads=2, ffn_width=48)
    model = randomize(Recognizer(RecognizerConfig(replace(encoder, layer_drop=0.1, dropout=0.0), decoder), vocab_size))
    return model, export_checkpoint(model)


class FairseqDictionary:
    """Pickles under fairseq's name."""

    def __init__(self, pieces):
        self.symbols = ["<s>", "<pad>", "</s>", "<unk>", *pieces]
        self.count = [1] * len(self.symbols)
        self.indices = {symbol: number for number, symbol in enumerate(self.symbols)}


FairseqDictionary.__module__, FairseqDictionary.__qualname__ = "fairseq.data.dictionary", "Dictionary"
FairseqDictionary.__name__ = "Dictionary"


def save_with_fairseq(monkeypatch, checkpoint, path):
    """Save a checkpoint whose pickles name fairseq's classes, which are gone again when it is read."""
    with monkeypatch.context() as patch:
        for name in ("fairseq", "fairseq.data", "fairseq.data.dictionary"):
            patch.setitem(sys.modules, name, ModuleType(name))
        sys.modules["fairseq.data.dictionary"].Dictionary = FairseqDictionary
        torch.save(checkpoint, path)


def with_training_state(checkpoint):
    moments = {0: {"step": 5, "exp_avg": torch.ones(3), "exp_avg_sq": torch.ones(3)}}
    checkpoint["last_optimizer_state"] = {"state": moments, "param_groups": [{"lr": 0.1, "params": [0]}]}
    checkpoint["optimizer_history"] = [{"optimizer_name": "FP16Optimizer", "num_updates": 400000}]
    checkpoint["extra_state"] = {"train_iterator": {"epoch": 3}, "args": Namespace(save_dir="/home/author/runs")}
    checkpoint["cfg"]["task"] = {"_name": "av_hubert_pretraining", "data": "/home/author/data", "label_rate": 25}
    checkpoint["cfg"]["optimizer"] = {"_name": "adam", "adam_betas": "(0.9,0.98)", "weight_decay": 0.01}
    return checkpoint
