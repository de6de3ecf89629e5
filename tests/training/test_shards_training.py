"""A run from shards is the run from files of the same pixels: batches, losses, weights."""

from itertools import islice

import pytest
import torch
from safetensors.torch import load_file

from avspeech.data.batching import BatchConfig
from avspeech.train import main
from avspeech.training.data import AVDataModule
from tests.shards.conftest import packed  # noqa: F401 - a fixture
from tests.training.test_training import finetuning, pretraining


def module(train, **options) -> AVDataModule:
    data = AVDataModule(str(train), batches=BatchConfig(max_frames=60, longest=20), seed=2, **options)
    data.setup("fit")
    return data


def test_batches_are_those_of_files(packed):  # noqa: F811
    folder = packed["fast"]
    from_shards = module(
        folder / "train", train_units="units", val=str(folder / "val"), val_units="units", num_workers=1
    )
    units = {f"{split}_units": f"{folder}/files/{split}/units.km" for split in ("train", "val")}
    from_files = module(folder / "files/train/manifest.jsonl", val=f"{folder}/files/val/manifest.jsonl", **units)
    for loader in ("train_dataloader", "val_dataloader"):
        pairs = zip(*(islice(getattr(one, loader)(), 6) for one in (from_shards, from_files)), strict=True)
        for one, other in pairs:
            assert one.ids == other.ids and one.texts == other.texts
            for tensor in ("video_BTHW", "audio_BTF", "units_BTJ", "valid_BT"):
                assert torch.equal(getattr(one, tensor), getattr(other, tensor))


def test_units_must_be_those_of_the_shards(corpus, packed):  # noqa: F811
    for name, why in (
        (f"{corpus}/val.km", r"val\.km has 4 lines, .*train has 12 utterances"),
        ("mfcc", "train has no units 'mfcc'; it has units"),
    ):
        with pytest.raises(ValueError, match=why):
            module(packed["fast"] / "train", train_units=name)
    assert len(module(packed["fast"] / "train", train_units=f"{corpus}/train.km")._train.units[0].rows) == 8
    with pytest.raises(ValueError, match=r"units units are 25 per second, data\.units_rate=100"):
        module(packed["fast"] / "train", train_units="units", units_rate=100)


def run(task, folder, suffix, out, steps, *more):
    data = [f"--data.init_args.{split}={folder}/{split}{suffix}" for split in ("train", "val")]
    main(task(folder, out, steps, *more, *data, "--trainer.callbacks+=tests.training.record_losses.RecordLosses"))
    return (out / "losses.0.txt").read_text(), load_file(out / "model.safetensors")


def compare(task, folder, tmp_path, steps, from_shards=(), from_files=(), common=()):
    losses, weights = run(task, folder, "", tmp_path / "shards", steps, *common, *from_shards)
    again, others = run(task, folder / "files", "/manifest.jsonl", tmp_path / "files", steps, *common, *from_files)
    assert losses == again and losses.count("\n") == steps
    assert all(torch.equal(weight, others[name]) for name, weight in weights.items())


@pytest.mark.slow
def test_losses_and_weights_are_those_from_files(packed, tokenizer_file, tmp_path):  # noqa: F811
    def task(corpus, out, steps, *more):
        return finetuning(corpus, out, steps, tokenizer_file, *more)

    def units(value):
        return [f"--data.init_args.{split}_units={value.format(split=split)}" for split in ("train", "val")]

    files = units(f"{packed['fast']}/files/{{split}}/units.km")
    compare(pretraining, packed["fast"], tmp_path / "pre", 6, units("units"), files)
    compare(pretraining, packed["small"], tmp_path / "km", 4, common=files)
    voices = f"--data.init_args.noise_manifest={packed['fast']}/val"
    lengths = "--data.init_args.batches={longest: 20, max_frames: 60}"
    spans = "--data.init_args.spans={start: 1.0, end: 0.2, steps: 60}"
    common = [voices, lengths, spans, "--data.init_args.num_workers=2"]
    compare(task, packed["small"], tmp_path / "fine", 12, common=common)
