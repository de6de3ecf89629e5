"""Every configuration is parsed and instantiated, large ones without memory; each trains one step at small sizes."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import yaml

from avspeech.evaluation.config import read_conditions
from avspeech.models.fusion import ModalityDropout
from avspeech.text.tokenizer import Tokenizer
from avspeech.train import main
from avspeech.training.data import AVDataModule

CONFIGS = Path(__file__).parents[1] / "configs"
TASKS = ["pretrain small", "pretrain toy", "finetune small", "finetune toy"]
FINETUNE = {  # files -> AV-HuBERT's own width; frozen updates, warm-up, decay, updates in thousands
    "finetune base": (768, 48, 20, 40, 60),
    "finetune base variants/30h": (768, 24, 10, 20, 30),
    "finetune base variants/large": (1024, 48, 20, 40, 60),
    "finetune base variants/large variants/large_30h": (1024, 30, 6, 18, 18),
}
PAPER = ["pretrain base", "pretrain base variants/large", *FINETUNE]


def mostly_slow(tasks, quick):
    """Return every task; those that are not ``quick`` run with the slow tests only."""
    return [task if task in quick else pytest.param(task, marks=pytest.mark.slow) for task in tasks]


def name(path):
    return f"{path.parent.name}/{path.stem}"


def files_of(task):
    folder, *files = task.split()
    return [CONFIGS / folder / f"{file}.yaml" for file in files]


@pytest.fixture(scope="session")
def big_tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    Tokenizer.fit([f"w{i}" for i in range(996)], "words").save(path)  # as many numbers as the paper's
    return path


def needed(task, tokenizer):
    """Return the arguments that name files of a user's own."""
    own = [f"--model.init_args.tokenizer={tokenizer}", "--model.init_args.pretrained=null"]
    return own if task.startswith("finetune") else []


def composed(paths, *more):
    """Return trainer, model and data of configurations; large models without memory."""
    arguments = [f"--config={path}" for path in [*paths, CONFIGS / "data/lrs3.yaml"]]
    with torch.device("meta"):
        return main([*arguments, "--trainer.accelerator=cpu", "--trainer.precision=null", *more], run=False)


@pytest.mark.parametrize("task", TASKS)
def test_a_small_task_is_instantiated(task, big_tokenizer):
    cli = composed(files_of(task), *needed(task, big_tokenizer))
    assert isinstance(cli.datamodule, AVDataModule)
    assert cli.trainer.max_steps == yaml.safe_load(files_of(task)[0].read_text())["trainer"]["max_steps"]
    assert 0.05e6 < sum(parameter.numel() for parameter in cli.model.parameters()) < 1.5e6


@pytest.mark.parametrize("task", mostly_slow(FINETUNE, ["finetune base", list(FINETUNE)[-1]]))
def test_official_finetuning_configurations_are_composed(task, big_tokenizer):
    width, *thousands = FINETUNE[task]
    cli = composed(files_of(task), *needed(task, big_tokenizer))
    encoder, schedule = cli.model.model.encoder.config, cli.model.schedule
    assert (encoder.width, encoder.dropout, encoder.activation_dropout, encoder.layer_drop) == (width, 0.0, 0.1, 0.1)
    steps = [cli.model.freeze_steps, schedule.warmup_steps, schedule.decay_steps, cli.trainer.max_steps]
    assert steps == [1000 * one for one in thousands]
    assert cli.config.model.init_args.recognizer.decoder.dropout == 0.1  # is kept where a variant changes sizes


# Shi et al. 2022's own configurations: files, lr, warm-up, updates, units/s, masking, modality dropout, longest clip,
# cut to, cropped batches, weight of seen frames, noise
MIDDLE_VOX = "base hide_features drop_streams vox"
OFFICIAL = {
    "base_lrs3_iter1": ("base hide_features mfcc_units", 5e-4, 32, 400, 100, "features", 0, 500, None, False, 0, 0),
    "base_lrs3_iter2": ("base hide_features", 5e-4, 32, 400, 25, "features", 0, 500, None, False, 0, 0),
    "base_lrs3_iter5": ("base", 5e-4, 32, 400, 25, "input", 0.5, 500, None, False, 0, 0),
    "base_vox_iter1": ("base hide_features vox mfcc_units", 2e-3, 64, 800, 100, "features", 0, 2000, 400, True, 0, 0),
    "base_vox_iter2": (MIDDLE_VOX, 2e-3, 64, 800, 25, "features", 0.5, 2000, 400, True, 0, 0),
    "base_vox_iter5": ("base vox", 2e-3, 64, 800, 25, "input", 0.5, 2000, 400, True, 0, 0),
    "noise_base_vox_iter5": ("base vox noise", 2e-3, 64, 800, 25, "input", 0.5, 2000, 400, True, 0, 0.25),
    "large_lrs3_iter5": ("base large", 2e-3, 32, 400, 25, "input", 0.5, 2000, 400, True, 1, 0),
    "large_vox_iter5": ("base large vox_large", 2e-3, 48, 600, 25, "input", 0.5, 2000, 400, True, 1, 0),
    "noise_large_vox_iter5": ("base large vox_large noise", 2e-3, 48, 600, 25, "input", 0.5, 2000, 400, True, 1, 0.25),
}
LISTED = (CONFIGS / "pretrain/variants/README.md").read_text()


def compose(files):
    task, *variants = files.split()
    return composed(files_of(" ".join(["pretrain", task, *(f"variants/{part}" for part in variants)])))


@pytest.mark.parametrize(
    "official", mostly_slow(OFFICIAL, ["base_lrs3_iter1", "base_vox_iter2", "noise_large_vox_iter5"])
)
def test_official_pretraining_configurations_are_composed(official):
    files, lr, warmup, updates, rate, masks, drop, longest, cut, crop, seen, noise = OFFICIAL[official]
    cli = compose(files)
    model, data = cli.model, cli.datamodule
    assert (model.optimizer_config.lr, model.schedule.warmup_steps) == (lr, warmup * 1000)
    assert cli.trainer.max_steps == updates * 1000
    assert (data.units_rate or 25, model.masking.on) == (rate, masks)
    assert model.modality_dropout == ModalityDropout(1 - drop, drop / 2, drop / 2)
    assert (data.batches.longest, data.augment.max_frames, data.batches.crop) == (longest, cut, crop)
    assert (model.unmasked_weight, data.noise.probability) == (seen, noise)
    assert (model.optimizer_config.betas, model.optimizer_config.eps) == ((0.9, 0.98), 1e-6)
    assert (model.schedule.decay, cli.trainer.gradient_clip_val, data.batches.max_frames) == ("linear", 10.0, 1000)
    encoder = model.model.encoder.config
    rates = (encoder.dropout, encoder.attention_dropout, encoder.activation_dropout, encoder.input_dropout)
    assert (rates, model.masking.audio_fraction) == ((0.1, 0.1, 0.0, 0.1), 0.8)
    assert (encoder.layer_drop, encoder.frontend_grad_scale, encoder.pre_norm) == (0.05, 0.1, True)
    assert model.model.mask_embedding.shape == ((encoder.width if masks == "features" else 104),)
    task, *variants = files.split()
    assert official in LISTED.replace("iter2, 3, 4", "iter2")
    assert ", ".join([task, *(f"variants/{part}" for part in variants)]) in LISTED


@pytest.mark.parametrize(("task", "parameters"), [("base", 103_330_280), ("base large", 325_398_504)])
def test_official_sizes_with_2000_units(task, parameters):
    assert sum(parameter.numel() for parameter in compose(task).model.parameters()) == parameters


def test_official_rules_and_shortcuts_go_behind_any_task():
    model = compose("base vox official_rules").model
    assert (model.masking.sampler, model.masking.audio_fraction) == ("official", 0.8)
    assert model.modality_dropout.per_batch
    assert (model.model.encoder.config.official_padding, model.trim_to_units) == (True, True)
    assert compose("base faster").model.shortcuts.score_hidden_only


# Whisper-Flamingo's and mWhisper-Flamingo's own configurations: rate, warm-up, updates (both in thousands), longest
# clip in seconds, longest text, clips of that length in a batch, SpecAugment
FLAMINGO = {
    "audio/en_large": (5e-6, 1, 90, 10, 350, 8, True), "audio/en_medium": (6.25e-6, 1, 40, 24, 400, 4, False),
    "audio/enx_small": (1.25e-5, 1, 225, 10, 300, 4, False), "audio/enx_medium": (6.25e-6, 1, 225, 10, 300, 3, False),
    "audio/enx_large": (5e-6, 1, 225, 10, 300, 4, True), "audio/multi_small": (1.25e-5, 1, 90, 20, 350, 2, False),
    "audio/multi_medium": (6.25e-6, 1, 110, 20, 350, 1.6, False),
    "av/en_large": (1e-4, 5, 20, 15, 350, 16, True), "av/en_medium": (1e-4, 5, 20, 24, 400, 4, False),
    "av/enx_small": (1e-4, 5, 40, 15, 250, 6, False), "av/enx_medium": (1e-4, 5, 40, 15, 250, 6, False),
    "av/enx_large": (1e-4, 5, 40, 15, 250, 3, True), "av/multi_small": (1e-4, 5, 120, 20, 350, 2, False),
    "av/multi_medium": (1e-4, 5, 120, 20, 350, 0.6, False),
}  # fmt: skip
FEW_CLIPS = ("audio/few_clips", "av/few_clips")
WHISPERS = {"small": (768, 12, 12, 244), "medium": (1024, 16, 24, 769), "large": (1280, 20, 32, 1550)}
"""Width, heads, blocks of encoder and decoder, and OpenAI's number of weights in millions."""
LARGE_LIPS = {"width": 1024, "depth": 24, "num_heads": 16, "ffn_width": 4096}
TINY_LIPS = {"width": 16, "depth": 1, "num_heads": 2, "ffn_width": 32, "position_kernel": 8, "position_groups": 4}
TINY_LIPS |= {"video": {"input_size": 24, "stem_width": 8, "widths": [8, 16], "blocks": [1, 1]}}
SIZES = ("width", "heads", "depth")
VARIANTS = sorted(CONFIGS.glob("flamingo/variants/*.yaml"))
FLAMINGO_TABLE = (CONFIGS / "flamingo/README.md").read_text()


def flamingo_files(task, *variants):
    return files_of(" ".join(["flamingo", task.split("/")[0], task, *(f"variants/{one}" for one in variants)]))


def flamingo_sizes(task, size=None):
    """Return the arguments that give sizes in place of weights; ``size``: key of ``WHISPERS``, None: tiny models."""
    lips, whisper = (TINY_LIPS, (16, 2, 1)) if size is None else (LARGE_LIPS, WHISPERS[size][:3])
    sizes = {f"{side}_{key}": value for side in ("audio", "text") for key, value in zip(SIZES, whisper, strict=True)}
    arguments = ["--model.init_args.whisper=null", f"--model.init_args.sizes={json.dumps(sizes)}"]
    if task.startswith("av/"):
        arguments += ["--model.init_args.video_pretrained=null", f"--model.init_args.video={json.dumps(lips)}"]
    return arguments


def compose_flamingo(task, *variants, size=None):
    return composed(flamingo_files(task, *variants), *flamingo_sizes(task, size))


def merged(below, above):  # a value of the second wins
    both = below.keys() & above.keys()
    return below | above | {key: merged(below[key], above[key]) for key in both if isinstance(above[key], dict)}


def settings_of(task):
    return merged(*(yaml.safe_load(path.read_text()) for path in flamingo_files(task)))


@pytest.mark.parametrize("task", mostly_slow(FLAMINGO, ["audio/enx_small", "av/en_medium", "av/multi_small"]))
def test_the_official_values_of_whisper_flamingo(task):
    rate, warmup, updates, seconds, text, clips, masked = FLAMINGO[task]
    stage, languages, size = task.replace("/", "_").split("_")
    cli, settings = compose_flamingo(task, size=size), settings_of(task)
    model, data, trainer, adam = cli.model, cli.datamodule, cli.trainer, cli.model.optimizer_config
    assert (adam.lr, adam.betas, adam.eps, adam.weight_decay) == (rate, (0.9, 0.999), 1e-8, 0.01)
    assert adam.decay_bias == (stage == "av")
    assert (model.schedule.decay, model.schedule.warmup_steps) == ("linear", 1000 * warmup)
    assert trainer.max_steps == 1000 * updates
    assert (data.batches.longest, data.batches.longest_text) == (25 * seconds, text)
    assert data.batches.max_frames == round(25 * seconds * clips)
    assert (data.augment.mel_masks, data.augment.mel_mask_bins, data.augment.mel_mask_frames) == (int(masked), 27, 100)
    assert (data.noise.probability, data.noise.snr_db) == (1.0, (0, 0))
    assert (settings["trainer"]["precision"], settings["seed_everything"]) == ("16-mixed", 3407)
    assert (trainer.gradient_clip_val, trainer.accumulate_grad_batches) == (None, 2 if task == "av/multi_medium" else 1)
    assert settings["trainer"].get("sync_batchnorm", False) == (stage == "av")
    assert (model.smoothing, model.task, model.rates) == (0.0, "transcribe", {"video_encoder": 1.0, "_gate": 1.0})
    assert data.modality == ("audio" if stage == "audio" else "audio+video")

    given, millions = settings["model"]["init_args"], WHISPERS[size][3]
    parts = {"audio": model.model} if stage == "audio" else dict(model.model.named_children())
    counts = {name: sum(weight.numel() for weight in part.parameters()) / 1e6 for name, part in parts.items()}
    if stage == "audio":
        assert given["whisper"] == {"large": "large-v2"}.get(size, size)
        assert counts["audio"] == pytest.approx(millions, rel=0.02)
        assert not model.model.has_video and all(weight.requires_grad for weight in model.model.parameters())
        return
    assert given["whisper"] == f"runs/audio_{languages}_{size}/model.safetensors"
    assert counts["video_encoder"] == pytest.approx(325, rel=0.01)
    assert model.modality_dropout == (ModalityDropout(0.5, 0.0, 0.5) if languages == "multi" else ModalityDropout())
    assert (model.freeze_video, model.freeze_batch_norm) == (languages != "multi", False)
    trained = {name for name, weight in model.model.named_parameters() if weight.requires_grad}
    new = {name for name, _ in model.model.named_parameters() if ".video." in name or name.startswith("video_project")}
    lips = {name for name, _ in model.model.named_parameters() if name.startswith("video_encoder.")}
    assert trained == new | {"video_scale"} | (lips if languages == "multi" else set())


def test_every_configuration_is_checked_or_listed():
    variants = {f"variants/{path.stem}" for path in CONFIGS.glob("finetune/variants/*.yaml")}
    assert variants == {file for task in FINETUNE for file in task.split()[2:]}
    assert not [path.stem for path in CONFIGS.glob("pretrain/variants/*.yaml") if f"variants/{path.stem}" not in LISTED]
    tasks = {f"{path.parent.name}/{path.stem}" for path in CONFIGS.glob("flamingo/a*/*.yaml")}
    assert tasks == {*FLAMINGO, *FEW_CLIPS}
    assert not [task for task in tasks if f"| {task} |" not in FLAMINGO_TABLE]
    assert not [path.stem for path in VARIANTS if f"| variants/{path.stem} |" not in FLAMINGO_TABLE]


@pytest.mark.parametrize("task", FEW_CLIPS)
def test_training_on_few_clips_is_instantiated(task):
    cli = compose_flamingo(task)
    assert cli.trainer.max_steps == settings_of(task)["trainer"]["max_steps"] and cli.trainer.gradient_clip_val == 1.0
    assert cli.model.model.has_video == (task == "av/few_clips")


def by_path(config, path=()):
    for key, value in config.items():
        if isinstance(value, dict):
            yield from by_path(value, (*path, key))
        else:
            yield (*path, key), value


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("task", mostly_slow(["av/en_large", "av/few_clips"], ["av/few_clips"]))
def test_a_variant_goes_behind_an_audio_visual_task(variant, task):
    cli = compose_flamingo(task, variant.stem)
    model, have = cli.model.model, asdict(cli.model.modality_dropout)
    have |= {
        "zero_dropped_video": model.config.zero_dropped_video,
        "official_padding": model.sizes.official_padding,
        "save_memory": model.encoder.saves_memory and model.decoder.saves_memory,
        "accumulate_grad_batches": cli.trainer.accumulate_grad_batches,
        "sync_batchnorm": cli.config.trainer.sync_batchnorm,
    }
    for keys, value in by_path(yaml.safe_load(variant.read_text())):
        if keys[-1] != "precision":  # replaced here, since a CPU trainer has no fp16
            assert have[keys[-1]] == value, keys
    if variant.stem != "one_gpu":
        assert not have["save_memory"]
        chances = {"drop_none": (1.0, 0.0), "drop_either": (0.5, 0.25)}.get(variant.stem, (0.5, 0.0))
        assert (have["p_both"], have["p_audio_only"]) == chances
    official = variant.stem == "drop_official"
    assert (have["per_batch"], have["zero_dropped_video"], have["official_padding"]) == (official,) * 3


def test_one_gpu_goes_behind_an_audio_task_too():
    cli = compose_flamingo("audio/multi_medium", "one_gpu")
    assert cli.model.model.encoder.saves_memory and cli.trainer.accumulate_grad_batches == 4


def takes_a_step(paths, corpus, folder, *more):
    arguments = ["fit", *(f"--config={path}" for path in paths), *more, f"--trainer.default_root_dir={folder}"]
    arguments += [f"--data.init_args.train={corpus}/train.jsonl", f"--data.init_args.val={corpus}/val.jsonl"]
    arguments += ["--trainer.max_steps=1", "--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.logger=false"]
    assert main(arguments).trainer.global_step == 1 and (folder / "model.safetensors").exists()


@pytest.mark.slow
@pytest.mark.parametrize("task", mostly_slow([*FLAMINGO, *FEW_CLIPS], ["av/multi_medium"]))
def test_a_flamingo_configuration_takes_a_training_step_with_only_sizes_overridden(task, corpus, tmp_path):
    more = ["--trainer.precision=null", "--trainer.limit_val_batches=0", "--trainer.enable_checkpointing=false"]
    more += ["--data.init_args.num_workers=0", "--trainer.sync_batchnorm=false", *flamingo_sizes(task)]
    takes_a_step([*flamingo_files(task), CONFIGS / "data/lrs3.yaml"], corpus, tmp_path, *more)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("data/*.yaml")) + sorted(CONFIGS.glob("trainer/*.yaml")), ids=name)
def test_data_and_trainer_compose_with_a_task(path, tmp_path):
    settings = yaml.safe_load(path.read_text())
    paths = [CONFIGS / "pretrain/toy.yaml", *([] if path.parent.name == "data" else [CONFIGS / "data/toy.yaml"]), path]
    arguments = [f"--config={one}" for one in paths] + [f"--trainer.default_root_dir={tmp_path}"]
    arguments += [
        "--trainer.accelerator=cpu",
        "--trainer.devices=1",
        "--trainer.strategy=auto",
        "--trainer.num_nodes=1",
    ]
    cli = main(arguments, run=False)
    for key, value in settings.get("data", {}).get("init_args", {}).items():
        if key in ("train", "val"):
            assert getattr(cli.datamodule, f"{key}_path") == value
    if (interval := settings.get("trainer", {}).get("val_check_interval")) is not None:
        assert cli.trainer.val_check_interval == interval


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("evaluate/*.yaml")), ids=name)
def test_conditions_are_read(path):
    assert read_conditions(path).grid()


def test_a_wrong_key_or_value_is_refused_by_name(capsys):
    toy = [f"--config={CONFIGS}/pretrain/toy.yaml", f"--config={CONFIGS}/data/toy.yaml"]
    with pytest.raises(SystemExit):
        main([*toy, "--model.init_args.encoder.widht=3"], run=False)
    assert "widht" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"encoder\.width=30 is not a multiple of encoder\.num_heads=4"):
        main([*toy, "--model.init_args.encoder.width=30"], run=False)


@pytest.mark.slow
@pytest.mark.parametrize("task", PAPER)
def test_a_paper_configuration_takes_a_training_step_with_only_sizes_overridden(task, corpus, tokenizer_file, tmp_path):
    prefix = "encoder" if task.startswith("pretrain") else "recognizer.encoder"
    sizes = {"width": 32, "depth": 1, "num_heads": 2, "ffn_width": 64}
    more = ["--trainer.precision=32-true", *needed(task, tokenizer_file)]
    more += [f"--model.init_args.{prefix}.{key}={value}" for key, value in sizes.items()]
    if task.startswith("finetune"):
        more += [f"--model.init_args.recognizer.decoder.{key}={value}" for key, value in sizes.items()]
    else:
        more += [f"--data.init_args.train_units={corpus}/train.km", "--trainer.limit_val_batches=0"]
    takes_a_step(files_of(task), corpus, tmp_path, *more)
