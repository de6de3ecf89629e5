"""Training through the command line: it learns, it resumes exactly, it writes a model file."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from avspeech.manifest import ManifestError, read_manifest, write_manifest
from avspeech.models.files import load_model
from avspeech.train import main
from avspeech.training.modules import step_generator

ROOT = Path(__file__).parents[2]
ENCODER = """{width: 32, depth: 1, num_heads: 2, ffn_width: 64, position_kernel: 7, position_groups: 4, layer_drop: 0.2,
  video: {shrink: 4, stem_kernel: 5, stem_width: 8, widths: [8, 16], blocks: [1, 1]}}"""


def arguments(task, corpus, out, steps, *more):
    return [
        "fit",
        *(f"--config={ROOT}/configs/{part}/toy.yaml" for part in (task, "data", "trainer")),
        *(f"--data.init_args.{split}={corpus}/{split}.jsonl" for split in ("train", "val")),
        f"--trainer.max_steps={steps}",
        f"--trainer.default_root_dir={out}",
        "--trainer.enable_progress_bar=false",
        "--trainer.enable_model_summary=false",
        *more,
    ]


def pretraining(corpus, out, steps, *more):
    options = [
        f"--model.init_args.encoder={ENCODER}",
        "--model.init_args.num_units=4",
        *(f"--data.init_args.{split}_units={corpus}/{split}.km" for split in ("train", "val")),
        "--data.init_args.noise={probability: 0.5, snr_db: [0, 10]}",
        "--data.init_args.noise.noises={babble: {kind: babble, num_voices: [2, 3]}}",
    ]
    return arguments("pretrain", corpus, out, steps, *options, *more)


def finetuning(corpus, out, steps, tokenizer_file, *more):
    options = [f"--model.init_args.recognizer.encoder={ENCODER}", f"--model.init_args.tokenizer={tokenizer_file}"]
    return arguments("finetune", corpus, out, steps, *options, *more)


CHECKPOINT = (
    "--trainer.enable_checkpointing=true",
    "--trainer.callbacks+=lightning.pytorch.callbacks.ModelCheckpoint",
    "--trainer.callbacks.init_args.save_top_k=-1",
)


def test_resume_equals_uninterrupted(corpus, tmp_path):
    """Stopped in the middle of an epoch, with dropout, noise, masks, validation and a schedule that goes on."""
    schedule = "--model.init_args.schedule={decay: linear, warmup_steps: 3, total_steps: 20}"
    main(pretraining(corpus, tmp_path / "whole", 20, schedule))
    every_7 = "--trainer.callbacks.init_args.every_n_train_steps=7"
    main(pretraining(corpus, tmp_path / "first", 7, schedule, *CHECKPOINT, every_7))
    (checkpoint,) = (tmp_path / "first").rglob("*.ckpt")
    main(pretraining(corpus, tmp_path / "second", 20, schedule, f"--ckpt_path={checkpoint}"))
    whole, resumed, early = (load_file(tmp_path / run / "model.safetensors") for run in ("whole", "second", "first"))
    for name, weight in whole.items():
        torch.testing.assert_close(resumed[name], weight, rtol=0, atol=0)
    assert not torch.equal(early["unit_head.embedding"], whole["unit_head.embedding"])


def test_pretraining_learns_more_than_the_commonest_unit(corpus, tmp_path):
    metrics = main(pretraining(corpus, tmp_path, 60, "--model.init_args.optimizer.lr=5e-3")).trainer.callback_metrics
    assert metrics["val/masked_accuracy"] > metrics["val/majority_share"] + 0.1
    assert load_model(tmp_path / "model.safetensors").num_units == (4,)


@pytest.mark.slow
def test_finetuning_from_a_pretrained_encoder_learns_to_read(corpus, tokenizer_file, tmp_path):
    main(pretraining(corpus, tmp_path / "pre", 2))
    options = [
        "--model.init_args.recognizer.decoder={width: 32, depth: 1, num_heads: 2, ffn_width: 64}",
        f"--model.init_args.pretrained={tmp_path}/pre/model.safetensors",
        "--model.init_args.optimizer.lr=5e-3",
        "--model.init_args.freeze_steps=5",
        "--model.init_args.modality_dropout={p_both: 1.0, p_audio_only: 0.0, p_video_only: 0.0}",
        "--data.init_args.spans={start: 1.0, end: 0.2, steps: 60}",
        "--trainer.val_check_interval=50",
    ]
    cli = main(finetuning(corpus, tmp_path / "fine", 300, tokenizer_file, *options))
    assert cli.trainer.callback_metrics["val/wer"] < 0.2
    model = load_model(tmp_path / "fine/model.safetensors")
    assert model.tokenizer.kind == "words" and model.about == {"modality": "audio+video"}


def test_a_model_is_of_its_mouths_and_starts_only_on_the_same(corpus, tokenizer_file, tmp_path):
    for name in ("train", "val"):
        cut = [replace(one, crop="causal") for one in read_manifest(corpus / f"{name}.jsonl")]
        write_manifest(tmp_path / f"{name}.jsonl", cut)
        shutil.copy(corpus / f"{name}.km", tmp_path)
    main(pretraining(tmp_path, tmp_path / "pre", 1))
    start = f"--model.init_args.pretrained={tmp_path}/pre/model.safetensors"
    main(finetuning(corpus, tmp_path / "unknown", 1, tokenizer_file, start))
    assert load_model(tmp_path / "unknown/model.safetensors").inputs.crop == "causal"
    write_manifest(tmp_path / "train.jsonl", [replace(one, crop="official") for one in cut])
    with pytest.raises(ManifestError, match="is cut 'official', wanted 'causal'"):
        main(finetuning(tmp_path, tmp_path / "other", 1, tokenizer_file, start))


def test_a_frozen_encoder_does_not_move(corpus, tokenizer_file, tmp_path):
    def run(out, *more):
        main(finetuning(corpus, out, 3, tokenizer_file, "--model.init_args.optimizer.weight_decay=0", *more))
        return load_file(out / "model.safetensors")

    frozen = run(tmp_path / "frozen", "--model.init_args.freeze_steps=3")
    free = run(tmp_path / "free")
    name, head = "encoder.blocks.0.ffn.inner.weight", "ctc_head.weight"
    start = run(tmp_path / "start", "--model.init_args.optimizer.lr=0")
    assert torch.equal(frozen[name], start[name]) and not torch.equal(free[name], start[name])
    assert not torch.equal(frozen[head], start[head])


def test_mixed_precision_accumulation_and_clipping_go_together(corpus, tmp_path):
    flags = ["--trainer.precision=bf16-mixed", "--trainer.accumulate_grad_batches=2"]
    cli = main(pretraining(corpus, tmp_path, 3, *flags))
    assert cli.trainer.gradient_clip_val and cli.trainer.global_step == 3
    assert (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("task", "flag", "hint"),
    [
        ("pretrain", "p_drop=0.5", "p_drop is now modality_dropout.p_both, which is 1 - p_drop"),
        ("finetune", "p_audio=0.5", "p_audio is now modality_dropout.p_video_only in pre-training and fine-tuning"),
        ("pretrain", "drop_per_batch=true", "drop_per_batch is now modality_dropout.per_batch"),
        ("flamingo", "p_av=0.5", "p_av is now modality_dropout.p_both"),
    ],
)
def test_a_key_that_was_renamed_is_answered_with_its_new_name(task, flag, hint, capsys):
    module = f"--model=avspeech.training.{task}.{task.capitalize()}Module"
    with pytest.raises(SystemExit):
        main(["fit", module, f"--model.init_args.{flag}"], run=False)
    assert hint in capsys.readouterr().err


def test_a_run_without_an_end_is_refused(corpus, tmp_path):
    with pytest.raises(ValueError, match=r"trainer\.max_steps"):
        main(pretraining(corpus, tmp_path, -1))


def test_draws_depend_on_the_seed_and_the_number_of_the_batch():
    assert len({step_generator(seed, number).initial_seed() for seed in range(3) for number in range(100)}) == 300
    one = torch.rand(3, generator=step_generator(0, 5)), torch.rand(3)
    other = torch.rand(3, generator=step_generator(0, 5)), torch.rand(3)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert not torch.equal(*one)
