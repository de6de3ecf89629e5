"""One small run of everything, by the commands that a user types: faces, lips, units, training, evaluation."""

import json
from pathlib import Path

import pytest
from jsonargparse import auto_cli

from avspeech.evaluate import main as evaluate
from avspeech.manifest import read_manifest
from avspeech.train import main as train_command
from data_prep import assign_units, extract_rois, fit_units, train_tokenizer
from data_prep.corpora import synthetic
from tests.roi.conftest import finder  # noqa: F401 - a fixture

CONFIGS = Path(__file__).parents[1] / "configs"
ENCODER = """{width: 48, depth: 1, num_heads: 2, ffn_width: 96, position_kernel: 15, position_groups: 4,
  layer_drop: 0.0, video: {shrink: 4, stem_kernel: 5, stem_width: 8, widths: [8, 16], blocks: [1, 1],
  activation: relu}}"""


def command(main, *parts, **options):
    """Run a command with its line's arguments, without the start of another interpreter."""
    auto_cli(main, args=[*map(str, parts)], **options)


@pytest.mark.usefixtures("finder")
def test_from_faces_to_a_report(tmp_path):
    pytest.importorskip("espeakng_loader", reason="pip install 'avspeech[synthetic]'")
    sets = ["--num_train=6", "--num_valid=1", "--num_test=1", "--speakers_train=2", "--speakers_valid=1"]
    sets += ["--speakers_test=1", "--num_babble=8", "--languages=[en]", "--workers=2"]
    command(synthetic.main, tmp_path / "corpus", *sets)
    source, out = tmp_path / "corpus/train.jsonl", tmp_path / "train.jsonl"
    command(extract_rois.main, source, tmp_path / "roi", f"--out_manifest={out}")
    assert len(read_manifest(tmp_path / "train.jsonl", require=["mouth", "num_frames"], check_files=True)) == 6
    command(train_tokenizer.main, tmp_path / "train.jsonl", tmp_path / "tokens.json", "--kind=words")
    book = tmp_path / "units/book.safetensors"
    command(fit_units.main, tmp_path / "train.jsonl", book, "--num_units=10")
    command(assign_units.main, tmp_path / "train.jsonl", book, tmp_path / "units/train.km")

    def train(task, name, steps, *more):
        configs = [f"--config={CONFIGS}/{path}.yaml" for path in (f"{task}/small", "trainer/toy")]
        data = [f"--data.init_args.train={tmp_path}/train.jsonl", f"--data.init_args.val={tmp_path}/train.jsonl"]
        out = [f"--trainer.default_root_dir={tmp_path}/{name}", "--trainer.enable_progress_bar=false"]
        rest = ["--data.init_args.cache_gb=1", f"--trainer.max_steps={steps}", "--trainer.val_check_interval=1000"]
        train_command(["fit", *configs, *data, *out, *rest, *more])

    units = [f"--data.init_args.{key}_units={tmp_path}/units/train.km" for key in ("train", "val")]
    train("pretrain", "pre", 10, "--model.init_args.num_units=10", f"--model.init_args.encoder={ENCODER}", *units)
    model = [f"--model.init_args.recognizer.encoder={ENCODER}", f"--model.init_args.tokenizer={tmp_path}/tokens.json"]
    model += ["--model.init_args.modality_dropout={p_both: 1.0, p_audio_only: 0.0, p_video_only: 0.0}"]
    model += [f"--model.init_args.pretrained={tmp_path}/pre/model.safetensors"]
    model += ["--model.init_args.optimizer.lr=3e-3", "--model.init_args.schedule.warmup_steps=20"]
    plain = ["--data.init_args.noise.probability=0", "--data.init_args.spans={start: 1.0, end: 0.0, steps: 100}"]
    train("finetune", "fine", 280, *model, *plain)

    report = tmp_path / "report"
    voices = f"{{babble: {tmp_path}/corpus/babble_test.jsonl}}"
    fine, grid = tmp_path / "fine/model.safetensors", CONFIGS / "evaluate/noise_grid.yaml"
    command(
        *(evaluate, "--model", fine, "--manifest", tmp_path / "train.jsonl", "--conditions", grid),
        *("--out_dir", report, "--noise_manifests", voices),
        as_positional=False,
    )
    rows = json.loads((report / "results.json").read_text())["conditions"]
    wer = {(row["modality"], row["snr_db"]): row["wer"] for row in rows}
    assert len(wer) == 15
    assert wer["audio+video", None] < 0.1  # it knows its training clips by heart
    assert wer["audio", -5] > wer["audio", None]
    assert "<svg" in (report / "report.html").read_text()
