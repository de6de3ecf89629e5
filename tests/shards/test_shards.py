"""Shards: the same clips as files, read by plain WebDataset, damage named, writers in any number and dying."""

import json
import multiprocessing
import os
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from avspeech.data.augment import AugmentConfig
from avspeech.data.clips import open_clips
from avspeech.data.dataset import AVDataset, SampleKey, SpanConfig
from avspeech.manifest import read_manifest, write_manifest
from avspeech.media.video import read_grey_clip
from avspeech.noise.drawn import DrawnNoise
from avspeech.noise.pools import open_pools
from avspeech.noise.spec import NoiseConfig, NoiseSpec
from avspeech.shards.codecs import decode_lips, encode_lips
from avspeech.shards.index import merge, read_index, write_index
from avspeech.shards.reading import Shards
from avspeech.shards.storage import ShardError
from data_prep import write_shards
from tests.dying import contents, live, survives_writes

PROFILES = ["fast", "small"]


@pytest.mark.parametrize("profile", PROFILES)
def test_samples_are_those_of_files_of_the_same_pixels(packed, profile):
    def samples(clips, units):
        noise = DrawnNoise(NoiseConfig(1.0, (0, 5)), clips.voices)
        dataset = AVDataset(
            clips, units=[units], augment=AugmentConfig(), noise=noise, spans=SpanConfig(0.5, 0.5), seed=3
        )
        return [dataset[SampleKey(index, epoch)] for epoch in range(2) for index in range(len(dataset))]

    folder = packed[profile]
    shards, files = open_clips(folder / "train"), open_clips(folder / "files/train/manifest.jsonl")
    units = shards.units("units", None), files.units(str(folder / "files/train/units.km"), None)
    for one, other in zip(samples(shards, units[0]), samples(files, units[1]), strict=True):
        assert one.id == other.id and one.text == other.text and one.num_frames == other.num_frames
        for stream in ("video_THW", "audio_TF", "units_TJ"):
            assert torch.equal(getattr(one, stream), getattr(other, stream))


def test_a_manifest_comes_back_and_its_sound_is_kept_exactly(corpus, packed):
    for split in ("train", "val"):
        before, after = (read_manifest(path) for path in (
            corpus / f"{split}.jsonl", packed["small"] / "files" / split / "manifest.jsonl"))  # fmt: skip
        assert [replace(one, audio=None, mouth=None) for one in after] == [
            replace(one, audio=None, mouth=None) for one in before
        ]
        assert (packed["fast"] / "files" / split / "units.km").read_bytes() == (corpus / f"{split}.km").read_bytes()
        (given,) = open_clips(corpus / f"{split}.jsonl").streams(1, True, False)[1:]
        for profile in PROFILES:
            clips = open_clips(packed[profile] / split)
            mouth_THW, steps_S = clips.streams(1, True, True)
            assert np.array_equal(steps_S, given)
            assert np.abs(mouth_THW.astype(int) - read_grey_clip(before[1].mouth)).mean() < 2.5  # of noise


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("shape", [(1, 96, 96), (3, 90, 92), (690, 96, 96)])
def test_crops_of_any_length_and_size_keep_their_shape_and_place(shape, profile):
    frames, _, width = shape
    ramp_THW = (np.arange(frames)[:, None, None] % 200 + np.linspace(0, 50, width)).astype(np.uint8)
    mouth_THW = np.broadcast_to(ramp_THW, shape)
    back_THW = decode_lips(encode_lips(mouth_THW, profile), profile, shape)
    assert back_THW.shape == shape and np.abs(back_THW.astype(int) - mouth_THW).mean() < 2


def test_columns_are_those_of_the_manifest(corpus, packed):
    files, shards = open_clips(corpus / "train.jsonl"), open_clips(packed["fast"] / "train")
    kept_N = np.array([7, 2, 11])
    for one, other in ((files, shards), (files.select(kept_N), shards.select(kept_N))):
        assert len(one) == len(other)
        assert other.num_frames_N.dtype == np.int32 and np.array_equal(one.num_frames_N, other.num_frames_N)
        assert np.array_equal(one.text_lengths(), other.text_lengths())
        for field in ("mouth", "audio", "text", "words"):
            assert one.has(field).all() and other.has(field).all()
        for field in ("speaker", "language", "corpus", "crop"):
            names = [[values[code] for code in codes] for codes, values in (one.codes(field), other.codes(field))]
            assert names[0] == names[1]
    picked = shards.select(kept_N)
    assert picked.utterance(1).id == "train2" == picked.select(np.array([1])).utterance(0).id
    assert picked.units("units", None).rows[1].tolist() == shards.units("units", None).rows[2].tolist()
    with pytest.raises(ShardError, match="has no units 'mfcc'; it has units"):
        shards.units("mfcc", None)


def test_plain_webdataset_reads_them(packed, corpus):
    wds = pytest.importorskip("webdataset", reason="no webdataset; uv sync installs it")
    utterances = read_manifest(corpus / "train.jsonl")
    tars = [str(path) for path in sorted((packed["fast"] / "train").glob("*.tar"))]
    read = list(wds.WebDataset(tars, shardshuffle=False).decode("l8"))
    assert len(tars) == 3 and [sample["__key__"] for sample in read] == [f"{n:09}" for n in range(12)]
    shards = Shards(packed["fast"] / "train")
    for index, (sample, utterance) in enumerate(zip(read, utterances, strict=True)):
        assert sample["json"]["text"] == utterance.text and sample["json"]["units"] == {"units": 25}
        assert np.array_equal(np.frombuffer(sample["sound.pcm"], "<i2"), shards.sound(index))
        assert np.array_equal(sample["lips.jpg"].reshape(-1, 96, 96), shards.mouth(index))
        assert len(np.frombuffer(sample["units_units.u16"], "<u2")) == utterance.num_frames


def test_voices_of_shards_are_excluded_like_those_of_files(corpus, packed):
    noises = {"n": NoiseSpec("babble")}
    files = open_pools(noises, voices=read_manifest(corpus / "train.jsonl"))["n"].allowed
    shards = open_pools(noises, voices=Shards(packed["fast"] / "train"))["n"].allowed
    for utterance in read_manifest(corpus / "train.jsonl"):
        for one in (utterance, replace(utterance, speaker=None), replace(utterance, id="another", audio=None)):
            assert np.array_equal(files(one), shards(one)) and not shards(one).all()
    with pytest.raises(ValueError, match=r"noises\.n\.manifest: .* are shards.*unpack_shards"):
        open_pools({"n": NoiseSpec("babble", packed["fast"] / "train")}, read_manifest(corpus / "val.jsonl"))


def test_damage_is_named(packed, tmp_path):
    folder = tmp_path / "train"
    shutil.copytree(packed["fast"] / "train", folder)
    tar = folder / "shard-000001.tar"
    content = bytearray(tar.read_bytes())
    place = int(Shards(folder).numbers("lips.start")[6]) + 100
    content[place] ^= 1
    tar.write_bytes(content)
    shards = Shards(folder)
    assert len(shards.sound(6)) and len(shards.mouth(7))
    with pytest.raises(ShardError, match=r"train, shard shard-000001\.tar: lips of clip 'train6' is damaged: .*again"):
        shards.mouth(6)
    with pytest.raises(ShardError, match=r"'train6' is damaged"):
        AVDataset(open_clips(folder))[6]  # it is not passed over like a clip that never was readable
    tar.write_bytes(content[:place])
    with pytest.raises(ShardError, match=r"shard-000001\.tar: sound of clip 'train9' is damaged: 0 of "):
        Shards(folder).sound(9)
    tar.unlink()
    with pytest.raises(ShardError, match=r"shard-000001\.tar cannot be read: .*No such file"):
        Shards(folder).sound(9)
    assert len(Shards(folder).sound(0))
    (folder / "index.arrow").write_bytes(b"no index")
    with pytest.raises(ShardError, match=r"index\.arrow cannot be read as an index of shards"):
        Shards(folder)


def test_several_folders_make_one_index(packed, tmp_path):
    for split in ("train", "val"):
        shutil.copytree(packed["fast"] / split, tmp_path / split)
    merge(
        tmp_path / "all.arrow", [path for s in ("val", "train") for path in sorted((tmp_path / s).glob("shard*.arrow"))]
    )
    both, parts = Shards(tmp_path / "all.arrow"), [Shards(tmp_path / split) for split in ("val", "train")]
    assert [both.utterance(i) for i in range(16)] == [one.utterance(i) for one in parts for i in range(len(one))]
    assert np.array_equal(both.sound(4), parts[1].sound(0)) and both.find("train3").tolist() == [7]


@pytest.fixture
def writing(corpus, tmp_path):
    """Return the command that writes three shards of small clips, one of them missing, and its folder."""
    clips = read_manifest(corpus / "train.jsonl")[:5]
    clips[3] = replace(clips[3], mouth=corpus / "none.mp4")
    write_manifest(tmp_path / "clips.jsonl", clips)
    options = {"clips_per_shard": 2, "workers": 0, "safe_decoding": False, "max_failed": 1}
    return partial(write_shards.main, tmp_path / "clips.jsonl", tmp_path / "out", **options), tmp_path / "out"


def test_a_bad_clip_is_listed_and_the_run_goes_on(writing):
    write, folder = writing
    write()
    assert [Shards(folder).utterance(i).id for i in range(4)] == ["train0", "train1", "train2", "train4"]
    (failure,) = (json.loads(line) for line in (folder / "failures.jsonl").read_text().splitlines())
    assert failure["id"] == "train3" and "none.mp4" in failure["why"]
    with pytest.raises(SystemExit, match=r"1 of 5 failed.*failures\.jsonl"):
        write(max_failed=0.1)


def test_a_killed_writer_costs_its_shard_only_and_other_settings_write_anew(writing):
    write, folder = writing
    write()
    whole, first = contents(folder), (folder / "shard-000000.tar").stat().st_ino
    for name in ("shard-000001.tar", "shard-000002.tar", "index.arrow"):
        (folder / name).unlink()
    assert live(write, folder, deadly=8)[0] != 0
    write()
    assert contents(folder) == whole and (folder / "shard-000000.tar").stat().st_ino == first
    write(profile="small")
    assert contents(folder) != whole and Shards(folder).facts.profile == "small"


def test_two_writers_at_once_share_the_work(writing):
    write, folder = writing
    write()
    whole = contents(folder)
    shutil.rmtree(folder)
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=write) for _ in range(3)]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    assert [one.exitcode for one in writers] == [0, 0, 0] and contents(folder) == whole


@pytest.mark.slow
def test_a_death_at_any_write_changes_nothing(writing):
    survives_writes(*writing)


@pytest.mark.slow
def test_a_forked_worker_keeps_nothing_of_the_clips_that_it_reads(packed, tmp_path):
    folder, rows = tmp_path / "many", 300_000
    folder.mkdir()
    table, facts = read_index(packed["fast"] / "train" / "index.arrow")
    table = table.take(pa.array(np.arange(rows) % len(table)))
    files = [os.path.relpath(packed["fast"] / "train" / name, folder) for name in facts.files]
    write_index(folder / "index.arrow", table, replace(facts, files=files))

    def own_mib() -> float:  # pages of the index that are not on the disk yet would count as dirty ones
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous")) / 1024

    before = own_mib()
    clips = open_clips(folder)
    assert len(clips) == rows and clips.num_frames_N.sum() > 0 and own_mib() - before < 20

    def work() -> bool:
        units, rng, begin = clips.units("units", None), np.random.default_rng(0), own_mib()
        for _ in range(100_000):
            index = int(rng.integers(rows))
            assert len(units.at_frames(index, 10)) == 10 and clips.utterance(index).num_frames
        return own_mib() - begin < 20

    process = multiprocessing.get_context("fork").Process(target=lambda: os._exit(0 if work() else 1))
    process.start()
    process.join()
    assert process.exitcode == 0
