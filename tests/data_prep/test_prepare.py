"""From a raw tree to shards by one command: nothing vanishes on the way, and deaths change nothing."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from avspeech.data.clips import open_clips
from avspeech.files import read_lines, write_lines
from avspeech.manifest import Utterance, read_manifest, write_manifest
from avspeech.media.audio import write_wav
from avspeech.media.video import write_video
from avspeech.shards.index import read_index
from data_prep import check_clips, prepare
from data_prep.corpus_report import reason_of, report_corpus
from data_prep.overlaps import ClipSet, overlaps
from tests.conftest import draw_clip
from tests.data_prep.conftest import sound, steps_in_process, talking_frames
from tests.data_prep.killing import kill, wait_until
from tests.dying import DIED, contents, live
from tests.refusals import raises

SAID = {"train": ["pa mo", "fi su pa", "mo", "su"], "test": ["pa mo", "mo"]}


def make_muavic(root):
    """Write crops and sounds of one language; of train the third is black, the fourth has half a sound."""
    for split, texts in SAID.items():
        names = [f"{split}{place % 2}/{split}_{place:04}" for place in range(len(texts))]
        lines = ["/", *(f"{name}\tv\ta\t-1\t-1" for name in names), "gone/gone_0000\tv\ta\t-1\t-1"]
        (root / "es").mkdir(parents=True, exist_ok=True)
        (root / f"es/{split}_avsr.tsv").write_text("\n".join(lines))
        (root / f"es/{split}_avsr.es").write_text("\n".join([*texts, "nadie"]))
        for place, (name, text) in enumerate(zip(names, texts, strict=True)):
            mouth_THW, audio_S = draw_clip(text.split(), 10, seed=place)
            damage = split == "train" and place
            for kind in ("video", "audio"):
                (root / f"es/{kind}/{split}/{name}").parent.mkdir(parents=True, exist_ok=True)
            write_video(root / f"es/video/{split}/{name}.mp4", 0 * mouth_THW if damage == 2 else mouth_THW)
            write_wav(root / f"es/audio/{split}/{name}.wav", audio_S[: len(audio_S) // (2 if damage == 3 else 1)])
    (root / "es/video/test/test1/test_0001.mp4").write_bytes(b"no video")


def make_folder(root):
    """Write a recording of a drawn face with two cues, and one without a face."""
    root.mkdir(exist_ok=True)
    write_video(root / "face.mp4", talking_frames(70), sound(70))
    write_video(root / "none.mp4", [frame * 0 for frame in talking_frames(20)], sound(20))
    cues = ["1\n00:00:00,200 --> 00:00:01,200\nhello\n", "2\n00:00:01,400 --> 00:00:02,600\ngood morning\n"]
    (root / "face.srt").write_text("\n".join(cues))
    (root / "none.txt").write_text("nothing to see")


def make_parquet(root):
    """Write two files of crops in bytes, one of them damaged."""
    root.mkdir(exist_ok=True)
    rows = []
    for number, text in enumerate(("pa", "mo fi", "", "su")):
        mouth_THW, audio_S = draw_clip((text or "pa").split(), 12, seed=number)
        write_video(root / "a.mp4", mouth_THW)
        write_wav(root / "a.wav", audio_S)
        row = {"spk_id": f"id{number}", "video_id": "v", "part_id": "1", "text": text, "text_lang": "en"}
        clip = (root / "a.mp4").read_bytes()[: 200 if number == 3 else None]
        rows.append(row | {"lip_video": clip, "audio": {"bytes": (root / "a.wav").read_bytes(), "path": None}})
    for path in (root / "a.mp4", root / "a.wav"):
        path.unlink()
    parquet.write_table(pa.Table.from_pylist(rows), root / "train-00000-of-00001.parquet")


HERE = {"workers": 0, "lips": ("--safe_decoding=false",), "shards": ("--safe_decoding=false", "--clips_per_shard=2"),
        "tokenizer": ("--kind=words",), "max_failed": 1.0}  # fmt: skip
MADE = {"muavic": make_muavic, "folder": make_folder, "huggingface": make_parquet}


def prepared(root, out, corpus="muavic", **more):
    prepare.main(corpus, root, out, **(HERE | more))
    return json.loads((out / "report.json").read_text())


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("muavic")
    make_muavic(root)
    return root


@pytest.fixture(scope="module")
def done(tree, tmp_path_factory):
    out = tmp_path_factory.mktemp("done")
    with steps_in_process():
        prepared(tree, out)
    return out


@pytest.fixture
def copy(done, tmp_path):
    return Path(shutil.copytree(done, tmp_path / "copy"))


def made(out):
    """Return the files of a preparation without its records of time; its own place is called OUT."""
    files = {name: content for name, content in contents(out).items() if name not in ("steps.json", "lock")}
    return {name: content.replace(str(out).encode(), b"OUT") for name, content in files.items()}


def test_every_clip_is_in_a_shard_or_lost_with_its_stage_and_reason(done, tree, in_process, capsys):
    report = json.loads((done / "report.json").read_text())
    assert report["clips"] == {"found": 6, "lost": 3, "in_shards": 3}
    lost = {(one["stage"], one["what"].rpartition("/")[2]): one["reason"] for one in read_lines(done / "losses.jsonl")}
    assert lost == {
        **{("read", f"{split}_avsr.tsv, line {len(texts) + 2}"): "missing video" for split, texts in SAID.items()},
        ("check", "train_0002"): "blank pictures",
        ("check", "train_0003"): "picture and sound differ in length",
        ("cut", "test_0001"): "unreadable media",
    }
    assert report["losses"]["check"] == {"blank pictures": 1, "picture and sound differ in length": 1}
    train = report["splits"]["train"]
    assert (train["clips"], train["speakers"], train["words"], train["silent_clips"]) == (2, 2, 5, 0)
    assert train["hours"] == pytest.approx(50 / 25 / 3600, abs=1e-4) and train["seconds"]["longest"] == 1.2
    assert train["languages"] == {"es": {"clips": 2, "hours": train["hours"]}} and list(train["corpora"]) == ["muavic"]
    table, facts = read_index(done / "shards/train/index.arrow")
    assert table["id"].to_pylist() == ["es/train0/train_0000", "es/train1/train_0001"] and facts.profile == "fast"
    clips = open_clips(done / "shards/train")  # as training opens them
    mouth_THW, steps_S = clips.streams(1, audio=True, video=True)
    assert mouth_THW is not None and mouth_THW.shape == (30, 96, 96) and steps_S is not None and len(steps_S) == 19200
    assert json.loads((done / "tokenizer.json").read_text())["symbols"] == ["fi", "mo", "pa", "su"]
    page = (done / "report.html").read_text()
    assert "blank pictures" in page and "CC BY-NC-ND" in page and "<svg" in page
    before = made(done)
    prepared(tree, done, workers=3)
    assert made(done) == before and not in_process  # all was done
    assert "3 of 6 clips in shards, 3 lost" in capsys.readouterr().out
    raises(SystemExit, r"pictures", prepare.main, "muavic", tree, done, **HERE | {"reader": ("--pictures=raw",)})


@pytest.mark.parametrize(
    "corpus", ["muavic", *(pytest.param(name, marks=pytest.mark.slow) for name in MADE if name != "muavic")]
)
def test_two_deaths_on_the_way_change_no_byte(corpus, tmp_path, in_process, request):
    root, out, log = tmp_path / "root", tmp_path / "out", tmp_path / "log"
    if corpus == "muavic":
        root, whole = request.getfixturevalue("tree"), made(request.getfixturevalue("done"))
    elif corpus == "folder":
        request.getfixturevalue("face_model")
    if corpus != "muavic":
        MADE[corpus](root)
        report = prepared(root, out, corpus)
        assert report["clips"] == {"found": 3, "lost": 1, "in_shards": 2}
        if corpus == "folder":  # each cue has its own part of picture and sound
            table, _ = read_index(out / "shards/all/index.arrow")
            assert [table[name].to_pylist() for name in ("num_frames", "num_samples")] == [[25, 30], [16000, 19200]]
        whole = made(out)
        shutil.rmtree(out)
    out.mkdir(exist_ok=True)
    for deadly in (20, 20):
        assert live(lambda: prepare.main(corpus, root, out, **HERE), out, deadly)[0] == DIED
    assert made(out).keys() < whole.keys()
    assert live(lambda: prepare.main(corpus, root, out, **HERE), out, log=log)[0] == 0, log.read_text()
    assert made(out) == whole


@pytest.mark.slow
@pytest.mark.skipif("AVSPEECH_SHARED" not in os.environ, reason="AVSPEECH_SHARED names no folder with GRID clips")
def test_real_clips_killed_twice_come_to_the_same_bytes(tmp_path, face_model):
    root = tmp_path / "root"
    for speaker in ("s2", "s3"):
        (root / speaker).mkdir(parents=True)
        for clip in sorted((Path(os.environ["AVSPEECH_SHARED"]) / "data/grid_speakers" / speaker).glob("*.mpg"))[:2]:
            for path in (clip, clip.with_suffix(".align")):
                (root / speaker / path.name).symlink_to(path)

    def start(out):
        command = [
            sys.executable,
            "-m",
            "data_prep.prepare",
            "grid",
            root,
            out,
            "--workers=1",
            "--tokenizer=[--kind=words]",
        ]
        return subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.DEVNULL)

    assert start(tmp_path / "whole").wait() == 0
    out = tmp_path / "out"
    for reached in (lambda: len(list((out / "lips").rglob("*.mp4"))) >= 2, (out / "shards").exists):
        process = start(out)
        wait_until(reached, process)
        assert kill(process)
    assert start(out).wait() == 0
    assert made(out) == made(tmp_path / "whole")
    report = json.loads((out / "report.json").read_text())
    assert report["clips"] == {"found": 4, "lost": 0, "in_shards": 4} and report["splits"]["all"]["speakers"] == 2


def test_what_two_sets_share_is_found(copy, tmp_path):
    other = [Utterance("es/train0/train_0000", speaker="somebody", text="Fi, SU pa!"), Utterance("x", text="anything")]
    write_manifest(tmp_path / "other.jsonl", other)
    found = report_corpus(copy, ["train", "test"], "muavic", "none", [tmp_path / "other.jsonl", copy / "shards/test"])
    by_pair = {(one["first"], Path(one["second"]).name, one["kind"]): one for one in found.overlaps}
    assert by_pair["train", "other.jsonl", "ids"]["examples"] == ["es/train0/train_0000"]
    assert by_pair["train", "other.jsonl", "texts"]["examples"] == ["fi su pa"]
    assert by_pair["train", "test", "texts"]["clips"] == [1, 1] and by_pair["test", "test", "ids"]["number"] == 1
    assert "ids in train and in" in "\n".join(found.summary())
    assert "somebody" not in (copy / "report.html").read_text() and "anything" not in (copy / "report.html").read_text()


def test_overlaps_count_clips_and_never_what_is_unknown():
    sets = {
        "train": ClipSet(["a", "a", None, "b"], ["1", "2", "3", "4"], ["Good day.", "good  day", None, "no"]),
        "test": ClipSet(["a", None, None], ["5", "6", "7"], ["GOOD DAY", None, ""]),
        "far": ClipSet(["b"], ["5"], [None]),
        "farther": ClipSet(["b"], ["5"], [None]),
    }
    found = overlaps(sets, ["train", "test"])
    facts = [(one["first"], one["second"], one["kind"], one["number"], one["clips"], one["examples"]) for one in found]
    assert facts == [
        ("train", "test", "speakers", 1, [2, 1], ["a"]),
        ("train", "test", "texts", 1, [2, 1], ["Good day.", "good  day"]),
        ("train", "far", "speakers", 1, [1, 1], ["b"]),
        ("train", "farther", "speakers", 1, [1, 1], ["b"]),
        ("test", "far", "ids", 1, [1, 1], ["5"]),
        ("test", "farther", "ids", 1, [1, 1], ["5"]),
    ]


def test_a_clip_that_vanished_is_a_bug_and_said(copy):
    failures = copy / "checked/train.failures.jsonl"
    write_lines(failures, read_lines(failures)[1:])
    raises(RuntimeError, r"train_0002 is 1 times in corpus/train\.jsonl, 0 times in shards and losses", report_corpus,
           copy, ["train", "test"], "muavic", "none", ())  # fmt: skip


def test_mistakes_and_too_many_losses_end_with_a_message(copy, tree, tmp_path, in_process):
    raises(SystemExit, r"corpus 'lrs9' came, wanted one of .*folder.*grid.*muavic", prepared, tree, tmp_path, "lrs9")
    raises(SystemExit, r"50\.0% of the clips were lost, more than 10%", prepared, tree, copy, max_failed=0.1)
    clips = read_manifest(copy / "corpus/train.jsonl")
    write_manifest(copy / "corpus/train.jsonl", [*clips, Utterance("uncut", clips[0].video)])
    raises(SystemExit, "4 of 5 clips of train have a mouth clip; wanted all or none", prepared, tree, copy)


@pytest.mark.parametrize(
    ("why", "reason"),
    [
        ("NoFace: none of 75 frames", "no face"),
        ("MediaError: a/b.mp4: cannot be opened", "unreadable media"),
        ("its worker died: SIGKILL", "its worker died"),
        ("blank pictures: 3 of 3 frames", "blank pictures"),
        ("/a/b.wav: has no sample", "unreadable media"),
    ],
)
def test_reasons_are_a_few_words(why, reason):
    assert reason_of(why) == reason


def test_a_clip_needs_the_streams_that_are_asked_for(tmp_path):
    facts = {"num_frames": 25, "num_samples": 16000, "blank": 0, "no_audio": None}
    records = {
        "good": {},
        "mute": {"num_samples": None, "no_audio": "NoAudio: none"},
        "black": {"blank": 13},
        "dark": {"blank": 12},
        "short": {"num_samples": 11999},
        "less": {"num_samples": 12001},
    }
    write_lines(tmp_path / "a.rois.jsonl", [facts | record | {"id": name} for name, record in records.items()])
    write_manifest(tmp_path / "a.jsonl", [Utterance(name) for name in records])
    lost = {"audio+video": {"mute", "black", "short"}, "audio": {"mute"}, "video": {"black"}}
    for modality, wanted in lost.items():
        check_clips.main(tmp_path / "a.jsonl", tmp_path / "b.jsonl", modality)
        assert {one["id"] for one in read_lines(tmp_path / "b.failures.jsonl")} == wanted
        assert {one.id for one in read_manifest(tmp_path / "b.jsonl")} == records.keys() - wanted
    (tmp_path / "a.rois.jsonl").unlink()
    raises(
        SystemExit, "good of .*a.jsonl has no record beside it", check_clips.main, tmp_path / "a.jsonl", tmp_path / "b"
    )
