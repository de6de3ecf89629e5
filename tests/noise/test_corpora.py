"""Noise trees as they are published: which files are found, how they are split, what is said of other trees."""

from pathlib import Path

import pytest

from avspeech.noise.corpora import demand_files, folder_files, musan_files, noisex92_files, split_of
from tests.refusals import raises


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.fixture
def musan(tmp_path) -> Path:
    counts = {"speech/librivox": 20, "speech/us-gov": 20, "music/fma": 30, "noise/free-sound": 10}
    names = [f"{kind}/{kind.replace('/', '-')}-{n:04}.wav" for kind, count in counts.items() for n in range(count)]
    return touch(tmp_path / "data/musan", *names, "speech/librivox/ANNOTATIONS", "music/fma/._music-fma-0000.wav")


def test_musan_is_split_without_overlap_and_without_loss(musan):
    for part, count in (("speech", 40), ("music", 30), ("noise", 10)):
        splits = [set(musan_files(musan, part, split)) for split in ("train", "valid", "test")]
        assert [len(files) for files in splits] == [count * 8 // 10, count // 10, count - count * 9 // 10]
        assert len(set.union(*splits)) == count
    assert musan_files(musan, "babble", "test") == musan_files(musan, "speech", "test")


def test_pieces_of_a_recording_stay_together(tmp_path):
    names = [f"speech/us-gov/speech-us-gov-{n:04}-{piece}.wav" for n in range(10) for piece in range(3)]
    test = musan_files(touch(tmp_path, *names), "speech", "test")
    assert len(test) == 3 and len({file.stem.rsplit("-", 1)[0] for file in test}) == 1


def test_the_split_is_the_same_everywhere_or_musans_test_recordings_become_training_recordings():
    assert sorted(split_of("test", [f"music-fma-{n:04}" for n in range(20)])) == ["music-fma-0000", "music-fma-0016"]


def test_a_tree_that_is_no_musan_says_what_was_looked_for(musan, tmp_path):
    with pytest.raises(ValueError, match=r"rain is no MUSAN tree: wanted .*rain/music/\*/\*.wav"):
        musan_files(tmp_path / "rain", "music", "test")
    raises(ValueError, rf"is it {musan}\?", musan_files, musan.parent, "speech", "test")
    few = touch(tmp_path / "few", *[f"noise/a/noise-a-{n:04}.wav" for n in range(9)])
    raises(ValueError, "has 9 recordings of noise, too few for the valid share", musan_files, few, "noise", "valid")


def test_demand_gives_one_channel_of_each_environment(tmp_path):
    root = touch(tmp_path, *(f"{place}/ch{n:02}.wav" for place in ("DKITCHEN", "PCAFETER") for n in (1, 2)))
    assert demand_files(root) == [root / "DKITCHEN/ch01.wav", root / "PCAFETER/ch01.wav"]
    assert demand_files(root, "PCAFETER") == [root / "PCAFETER/ch01.wav"]
    raises(ValueError, "has no SCAFE, wanted one of DKITCHEN, PCAFETER", demand_files, root, "SCAFE")
    raises(ValueError, r"has DKITCHEN twice: .*48k", demand_files, touch(tmp_path, "48k/DKITCHEN/ch01.wav"))
    raises(ValueError, r"is no DEMAND tree: wanted .*/<environment>/ch01\.wav", demand_files, tmp_path / "absent")


def test_noisex92_takes_its_own_recordings_only(tmp_path):
    root = touch(tmp_path, "babble.wav", "sub/Factory1.wav", "readme.wav", "white.txt")
    assert noisex92_files(root) == [root / "babble.wav", root / "sub/Factory1.wav"]
    assert noisex92_files(root, "factory1") == [root / "sub/Factory1.wav"]
    raises(ValueError, "has no volvo, wanted one of babble, factory1", noisex92_files, root, "volvo")
    with pytest.raises(ValueError, match=r"is no NOISEX-92 folder: wanted some of babble, .*white, each \.wav"):
        noisex92_files(tmp_path / "absent")


def test_a_folder_is_searched_to_the_bottom(tmp_path):
    root = touch(tmp_path, "b.WAV", "deep/er/a.flac", "notes.txt", "deep/._a.flac")
    assert folder_files(root) == [root / "b.WAV", root / "deep/er/a.flac"]
    (tmp_path / "empty").mkdir()
    for name, message in (("absent", "absent is no folder"), ("empty", "empty holds no recordings")):
        raises(ValueError, message, folder_files, tmp_path / name)
