"""Both stages at toy sizes: what is trained, what stays as it was, what is drawn, resuming, and evaluation."""

import json
from dataclasses import replace

import pytest
import torch

from avspeech.evaluate import main as evaluate
from avspeech.manifest import ManifestError, read_manifest, write_manifest
from avspeech.models.encoder import EncoderConfig
from avspeech.models.files import load_model, save_model
from avspeech.models.flamingo import Flamingo
from avspeech.models.recognizer import Recognizer, RecognizerConfig
from avspeech.models.whisper import Whisper
from avspeech.models.whisper_encoder import WhisperConfig
from avspeech.text.whisper_tokens import WhisperTokenizer
from avspeech.train import main
from avspeech.training.flamingo import FlamingoModule, build, check_synchronised
from avspeech.training.schedules import OptimizerConfig, group_weights
from tests.models.tiny_whisper import VIDEO
from tests.refusals import raises
from tests.training.test_training import CHECKPOINT

pytest.importorskip("whisper", reason="openai-whisper is not installed")
TOY = {"audio_width": 16, "audio_heads": 2, "audio_depth": 1, "text_width": 16, "text_heads": 2, "text_depth": 1}
SIZES = WhisperConfig(**TOY)
LIPS = EncoderConfig(16, 1, 2, 32, position_kernel=8, position_groups=4, video=VIDEO)


def test_what_was_trained_no_longer_counts_as_openais(tmp_path):
    """OpenAI's own weights are given 30 s of sound, those that were trained here are not."""
    official = Whisper(SIZES)
    official.source = {"model": "whisper", "name": "toy"}
    save_model(tmp_path / "official.safetensors", official)
    module = FlamingoModule(whisper=str(tmp_path / "official.safetensors"))
    assert module.model.source == {"model": "whisper", "name": "toy", "fine_tuned": True}
    assert FlamingoModule(sizes=SIZES, video=LIPS).model.source == {"fine_tuned": True}
    save_model(tmp_path / "tuned.safetensors", module.model)
    assert load_model(tmp_path / "tuned.safetensors").source["fine_tuned"]


@pytest.fixture(scope="module")
def lips_file(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("lips") / "lips.safetensors"
    save_model(path, Recognizer(RecognizerConfig(LIPS, None, True), 7))
    return path


def arguments(corpus, folder, *more, steps=2, modality="audio"):
    return [
        "fit",
        "--model=avspeech.training.flamingo.FlamingoModule",
        *(f"--model.init_args.sizes.{name}={value}" for name, value in TOY.items()),
        "--model.init_args.optimizer.lr=0.01",
        "--data=avspeech.training.data.AVDataModule",
        *(f"--data.init_args.{split}={corpus}/{split}.jsonl" for split in ("train", "val")),
        f"--data.init_args.modality={modality}",
        "--data.init_args.batches.max_clips=4",
        "--data.init_args.noise.probability=0",
        f"--trainer.max_steps={steps}",
        "--trainer.accelerator=cpu",
        "--trainer.logger=false",
        "--trainer.enable_progress_bar=false",
        "--trainer.limit_val_batches=0",
        f"--trainer.default_root_dir={folder}",
        "--trainer.enable_checkpointing=false",
        *more,
    ]


@pytest.fixture(scope="module")
def stages(corpus, lips_file, tmp_path_factory):
    """Run stage 1 and stage 2 with the lip encoder trained; return the second and the folder of both."""
    folder = tmp_path_factory.mktemp("stages")
    validation = ["--trainer.limit_val_batches=1", "--trainer.val_check_interval=2"]
    main(arguments(corpus, folder / "one", *validation))
    start = [
        f"--model.init_args.whisper={folder}/one/model.safetensors",
        f"--model.init_args.video_pretrained={lips_file}",
        "--model.init_args.freeze_video=false",
        "--model.init_args.freeze_batch_norm=false",
        "--model.init_args.modality_dropout={p_both: 0.5, p_audio_only: 0.0, p_video_only: 0.5}",
        "--model.init_args.gate_rate=9",
    ]
    return main(arguments(corpus, folder / "two", *start, *validation, modality="audio+video")), folder


def test_stage_2_leaves_every_weight_of_whisper_as_it_was_and_trains_all_others(stages, lips_file):
    second, folder = stages
    one, two = load_model(folder / "one/model.safetensors"), load_model(folder / "two/model.safetensors")
    assert type(one) is Whisper and isinstance(two, Flamingo)
    before, after = one.state_dict(), two.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    lips = {f"video_encoder.{k}": v for k, v in load_model(lips_file).encoder.state_dict().items()}
    unread = ("audio_project", "video_encoder.norm")  # no audio reaches the lip encoder; see below for the norm
    for name, tensor in lips.items():
        if not any(part in name for part in unread) and tensor.is_floating_point():
            assert not torch.equal(after[name], tensor), name
    gates = [tensor for name, tensor in after.items() if name.endswith("_gate")]
    assert len(gates) == 2 and all(bool(gate.abs() > 0) for gate in gates)
    assert {"val/loss", "val/loss_audio", "val/loss_video", "val/wer"} <= set(second.trainer.callback_metrics)


def test_a_fresh_second_stage_is_the_first_one(stages, corpus):
    one = load_model(stages[1] / "one/model.safetensors")
    fresh = FlamingoModule(str(stages[1] / "one/model.safetensors"), video=LIPS).model.eval()
    generator = torch.Generator().manual_seed(0)
    logmel_BAF = torch.randn(2, 40, 80, generator=generator)
    tokens_BL = torch.tensor([[50258, 11, 12], [50258, 13, 14]])
    video_BTHW = torch.randint(0, 256, (2, 10, 24, 24), dtype=torch.uint8, generator=generator)
    with torch.no_grad():
        expected = one(tokens_BL, one.encode_streams(logmel_BAF))
        assert torch.equal(fresh(tokens_BL, fresh.encode_streams(logmel_BAF, None, video_BTHW)), expected)


def modes(**settings):
    encoder = FlamingoModule(sizes=SIZES, video=LIPS, **settings).train().model.video_encoder
    norms = [part for part in encoder.modules() if isinstance(part, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d)]
    assert norms
    return encoder.dropout.training, {norm.training for norm in norms}


def test_the_lip_encoder_is_frozen_as_asked():
    assert modes() == (False, {False})
    assert modes(freeze_video=False) == (True, {False})
    assert modes(freeze_video=False, freeze_batch_norm=False) == (True, {True})
    assert modes(freeze_video=True, freeze_batch_norm=False) == (True, {True})  # the official code's way
    weights = FlamingoModule(sizes=SIZES, video=LIPS).model.named_parameters()
    trained = {name.split(".")[0] for name, weight in weights if weight.requires_grad}
    assert trained == {"decoder", "video_project", "video_scale"}


def test_a_run_that_was_stopped_ends_as_one_that_was_not(corpus, lips_file, stages, tmp_path):
    start = [
        f"--model.init_args.whisper={stages[1]}/one/model.safetensors",
        f"--model.init_args.video_pretrained={lips_file}",
        "--model.init_args.modality_dropout={p_both: 0.4, p_audio_only: 0.3, p_video_only: 0.3}",
        "--data.init_args.noise.probability=1",
        *CHECKPOINT,
        "--trainer.callbacks.init_args.every_n_train_steps=2",
        f"--trainer.callbacks.init_args.dirpath={tmp_path}/ckpt",
        "--trainer.callbacks.init_args.filename={step}",
    ]
    for run, more in (("whole", []), ("again", [f"--ckpt_path={tmp_path}/ckpt/step=2.ckpt"])):
        main(arguments(corpus, tmp_path / run, *start, *more, steps=4, modality="audio+video"))
    whole, again = (load_model(tmp_path / run / "model.safetensors").state_dict() for run in ("whole", "again"))
    assert all(torch.equal(whole[name], again[name]) for name in whole)


@pytest.mark.slow
def test_both_models_are_evaluated_and_say_what_they_cannot_do(corpus, stages, tmp_path):
    conditions = tmp_path / "conditions.yaml"
    grid = "modalities: [audio, audio+video, video]\nvideo_streams: [own, blank]\ndecoding: {max_tokens: 5}\n"
    conditions.write_text(grid)
    one, two = (stages[1] / run / "model.safetensors" for run in ("one", "two"))
    evaluate(two, corpus / "val.jsonl", conditions, tmp_path / "two")
    rows = json.loads((tmp_path / "two/results.json").read_text())["conditions"]
    seen = {f"{row['modality']} {row['video_stream']}" for row in rows}
    assert seen == {"audio own", "audio+video own", "audio+video blank", "video own"}
    with pytest.raises(SystemExit, match="the model cannot decode audio\\+video, video; evaluate it with --modalities"):
        evaluate(one, corpus / "val.jsonl", conditions, tmp_path / "one")
    evaluate(one, corpus / "val.jsonl", conditions, tmp_path / "one", modalities=["audio"])
    assert (tmp_path / "one/report.html").exists()
    with pytest.raises(SystemExit, match="came for a Flamingo without CTC head"):
        evaluate(two, corpus / "val.jsonl", conditions, tmp_path / "x", decoding={"method": "ctc"})


def test_learning_rates_and_decay_go_by_name():
    model = FlamingoModule(sizes=SIZES, video=LIPS, freeze_video=False).model
    optimizer = OptimizerConfig(lr=0.1, weight_decay=0.5, decay_bias=False)
    groups = group_weights(model, optimizer, {"_gate": 10.0, "video_encoder": 0.1})
    by_weight = {id(w): (round(g["lr"], 6), g["weight_decay"]) for g in groups for w in g["params"]}
    of = {name: by_weight.get(id(weight)) for name, weight in model.named_parameters()}
    assert (of["decoder.blocks.0.video.attention_gate"], of["video_encoder.norm.bias"]) == ((1.0, 0.5), (0.01, 0.0))
    assert (of["video_project.weight"], of["encoder.conv1.weight"]) == ((0.1, 0.5), None)
    raises(ValueError, "learning rates are given for nobody", group_weights, model, OptimizerConfig(), {"nobody": 2.0})


def test_wrong_settings_are_named(lips_file):
    with pytest.raises(ValueError, match="video and video_pretrained both came"):
        FlamingoModule(sizes=SIZES, video=LIPS, video_pretrained=str(lips_file))
    raises(ValueError, r"'whisper-tiny' is no file and no model's name", FlamingoModule, "whisper-tiny")
    raises(ValueError, r"lips\.safetensors holds a Recognizer, wanted a Whisper", FlamingoModule, str(lips_file))
    raises(ValueError, "no language came for a multilingual Whisper", WhisperTokenizer().prompt, None)


def test_what_a_whisper_cannot_take_is_found_before_the_first_step(corpus, lips_file, stages, tmp_path):
    def manifest(**changes):
        write_manifest(tmp_path / "bad.jsonl", [replace(one, **changes) for one in read_manifest(corpus / "val.jsonl")])
        return tmp_path / "bad.jsonl"

    def fit(*more):
        main(arguments(corpus, tmp_path / "run", *more))

    for split in ("train", "val"):
        for changes, message in (
            ({"language": None}, "has no 'language'"),
            ({"language": "english"}, "has language 'english'; this model knows en, zh"),
            ({"num_frames": 760}, r"lasts 30\.4 s, this model takes at most 30 s"),
            ({"text": "never " * 445}, "has 445 tokens, this model has room for 444"),
        ):
            raises(ManifestError, rf"bad\.jsonl.*{message}", fit, f"--data.init_args.{split}={manifest(**changes)}")
    conditions, model = tmp_path / "conditions.yaml", stages[1] / "one/model.safetensors"
    with pytest.raises(ValueError, match=r"got no video; set data\.init_args\.modality"):
        fit(f"--model.init_args.whisper={model}", f"--model.init_args.video_pretrained={lips_file}")
    conditions.write_text("modalities: [audio]\ndecoding: {max_tokens: 3}\n")
    for changes, message in (({"language": None}, "has no 'language'"), ({"language": "eng"}, "has language 'eng'")):
        raises(SystemExit, message, evaluate, model, manifest(**changes), conditions, tmp_path / "out")
    conditions.write_text("modalities: [audio]\ndecoding: {max_tokens: 3, detect_language: true}\n")
    evaluate(model, manifest(language=None), conditions, tmp_path / "out")
    conditions.write_text("modalities: [audio]\nscoring: {normalization: shout}\n")
    raises(SystemExit, "shout", evaluate, model, corpus / "val.jsonl", conditions, tmp_path / "out")


def test_training_goes_on_from_a_model_that_reads_lips_with_the_settings_given(tmp_path):
    model = FlamingoModule(sizes=SIZES, video=LIPS).model
    again = build(model, None, False, zero_dropped_video=True, official_padding=True)
    assert again is model
    save_model(tmp_path / "m.safetensors", again)
    config = load_model(tmp_path / "m.safetensors").config
    assert config.zero_dropped_video and config.whisper.official_padding and again.encoder.config.official_padding
    raises(ValueError, "video_norm=True came for a Flamingo trained without", build, model, None, True, False, False)


def test_processes_that_would_wait_for_each_other_are_refused():
    model = FlamingoModule(sizes=SIZES, video=LIPS, freeze_batch_norm=False).model
    check_synchronised(model, 0.25, 2)
    model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    check_synchronised(model, 0.25, 1)
    check_synchronised(model, 0.0, 2)
    raises(ValueError, r"p_audio_only=0\.25 with trainer\.sync_batchnorm=true", check_synchronised, model, 0.25, 2)
    check_synchronised(model.eval(), 0.25, 2)
