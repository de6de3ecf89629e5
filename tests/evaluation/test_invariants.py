"""Each check passes a recogniser that has the property, and fails one that lacks it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from avspeech.evaluation.config import EvaluationConfig
from avspeech.evaluation.invariants import Bounds, NoisyOrSilent, Subject, as_table, check_all, main, readable
from avspeech.evaluation.loading import ConditionLoader
from avspeech.inputs import InputSpec
from avspeech.models.files import save_model
from avspeech.noise.making import make_plan
from avspeech.noise.plan import PlanMixer
from avspeech.noise.spec import NoiseSpec
from tests.refusals import raises


class Listener:
    """Writes the right text where it hears speech or sees lips; its faults are switched on by name.

    It knows an utterance by its id, so that all it does with the streams is to notice what a check did to them.
    """

    def __init__(self, texts, faults=()):
        self.texts, self.faults = texts, set(faults)
        self.first_frames = {}

    def __call__(self, batch, keep_B2):
        return [self.one(batch, place, *keep_B2[place].tolist()) for place in range(len(batch.ids))]

    def one(self, batch, place, hears, sees):
        name, size = batch.ids[place], int(batch.valid_BT[place].sum())
        clip_THW = None if batch.video_BTHW is None else batch.video_BTHW[place, :size]
        blank = clip_THW is None or bool((clip_THW == clip_THW[0, 0, 0]).all())
        # filterbanks of silence are the same in every frame but the last, which is filled up
        silent = batch.audio_BTF is None or float(batch.audio_BTF[place, : size - 1].std(dim=0).max()) < 1e-3
        if hears and silent and not (sees and not blank):
            return "thank you for watching" if "talks in silence" in self.faults else ""
        if "needs the video" in self.faults and hears and sees and blank:
            return "no"
        if "looks at what is dropped" in self.faults and hears and not sees and clip_THW is not None:
            return "no"
        if "hears its neighbours" in self.faults and place % 2:
            return "another's words"
        if "sees the padding" in self.faults and not bool(batch.valid_BT[place].all()):
            return "padding"
        if clip_THW is not None and not blank and sees and hears:
            first = self.first_frames.setdefault(name, clip_THW)
            if "is out of step" in self.faults and not torch.equal(first, clip_THW):
                return "late"
        return self.texts[name]


@pytest.fixture
def subject_of(clips):
    clips = [replace(one, id=f"{one.id}_{n}", speaker=f"s{n}") for n in range(6) for one in clips]  # four show nothing
    plan = make_plan(clips, {"white": NoiseSpec("white")}, (0.0,), seed=0)

    def make(*faults):
        loader = ConditionLoader(NoisyOrSilent(PlanMixer(plan, {})), inputs=InputSpec(clip_size=24))
        return Subject(Listener({one.id: one.text for one in clips}, faults), loader, clips, EvaluationConfig())

    return make


def failed(checks):
    return {check.name for check in checks if not check.passed}


def test_a_sound_recogniser_passes_everything(subject_of):
    checks = check_all(subject_of())
    assert failed(checks) == {"a quiet room"}  # the fake takes noise for speech: that it is found is the next test's
    assert len(checks) == 10
    assert "9 of 10 hold" in as_table(checks)


@pytest.mark.parametrize(
    ("fault", "names"),
    [
        ("talks in silence", {"silence", "silence and a blank video"}),
        ("needs the video", {"video blank, clean", "video blank, white 0 dB"}),
        ("looks at what is dropped", {"video dropped, clean", "video dropped, white 0 dB"}),
        ("hears its neighbours", {"order in the batch", "padding"}),
        ("sees the padding", {"padding", "order in the batch"}),
        ("is out of step", {"40 ms between picture and sound"}),
    ],
)
def test_a_fault_is_found_by_its_check(subject_of, fault, names):
    found = failed(check_all(subject_of(fault))) - {"a quiet room"}
    assert found <= names
    assert sorted(names)[-1] in found or found == names, f"{fault} was not found: {found}"


def test_bounds_decide(subject_of):
    loose = Bounds(offset_cost=2.0, silent_words=2.0, changed_texts=1.0)
    assert not failed(check_all(subject_of("talks in silence", "hears its neighbours", "is out of step"), loose))


def test_silence_is_silent_and_a_quiet_room_quiet():
    mixer = NoisyOrSilent(None)
    speech_S = np.ones(16000, dtype=np.float32)
    assert not mixer.mix(speech_S, "a", "silence", None).any()
    level_db = 20 * np.log10(np.sqrt(np.mean(mixer.mix(speech_S, "a", "quiet_room", None) ** 2)))
    assert level_db == pytest.approx(-60, abs=0.2)


def test_a_real_model_from_the_command_line(tmp_path, corpus, model, capsys):
    tiny, manifest, out_file = tmp_path / "m.safetensors", corpus / "test.jsonl", tmp_path / "i.json"
    save_model(tiny, model)
    with pytest.raises(SystemExit) as caught:
        main(str(tiny), manifest, out_file=out_file, decoding={"beam_size": 1})
    checks = {check["name"]: check for check in json.loads(out_file.read_text())["checks"]}
    assert caught.value.code == (0 if all(check["passed"] for check in checks.values()) else 1)
    for name in ("order in the batch", "padding", "video dropped, clean"):
        assert checks[name]["passed"], checks[name]
    assert "order in the batch" in capsys.readouterr().out
    raises(SystemExit, r"--out_file .* is a folder, wanted a file", main, str(tiny), manifest, out_file=tmp_path)
    raises(SystemExit, "device='moon' cannot be used", main, str(tiny), manifest, device="moon")
    raises(SystemExit, "max_utterances=0 must be at least 1", main, str(tiny), manifest, max_utterances=0)
    without = "method='attention' came for a Recognizer without text decoder"
    raises(SystemExit, without, main, str(tiny), manifest, decoding={"method": "attention"})
    raises(SystemExit, r"absent\.jsonl: cannot be read", main, str(tiny), tmp_path / "absent.jsonl")


def test_what_cannot_be_read_holds_no_invariant(tmp_path, clips, caplog):
    (tmp_path / "clip1.wav").write_text("no sound")
    broken = [replace(clips[1], audio=tmp_path / "clip1.wav"), replace(clips[2], mouth=tmp_path / "mouth2.mp4")]
    utterances = [clips[0], *broken, clips[3]]
    loader = ConditionLoader(None, inputs=InputSpec(clip_size=24))
    assert [one.id for one in readable(utterances, ["audio+video"], loader)] == ["c0", "c3"]
    assert "c1 is left out" in caplog.text and "mouth2.mp4" in caplog.text
    with pytest.raises(ValueError, match=r"none of 1 utterances can be read; the first reason: .*clip1\.wav"):
        readable(utterances[1:2], ["audio"], loader)
