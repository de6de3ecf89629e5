"""``python -m avspeech.interop``: any official checkpoint into a model file, and back."""

import runpy
import sys

import pytest
import torch

from avspeech.interop.__main__ import main
from avspeech.interop.whisper import load_openai, load_whisper
from avspeech.models.files import load_model, save_model
from avspeech.models.whisper import Whisper
from tests.interop.official import PIECES, finetuned, pretrained, same_tensors, with_training_state
from tests.interop.test_whisper_flamingo import HEADS, make
from tests.interop.whisper_files import half_file


def write_avhubert(path):
    torch.save(with_training_state(pretrained()[1]), path)
    return {}, ["2 blocks, width 32", "adam_betas=(0.9,0.98)", "last_optimizer_state: dropped"]


def write_finetuned(path):
    torch.save(finetuned()[1], path)
    (path.parent / "given.txt").write_text("".join(f"{piece} 1\n" for piece in PIECES), encoding="utf-8")
    return {"dictionary": path.parent / "given.txt"}, ["9 tokens, tokenizer: pieces"]


def write_whisper(path):
    half_file(path)
    return {"official_padding": True}, ["audio encoder: 2 blocks, width 24"]


def write_flamingo(path):
    torch.save(make()[1], path)
    said = "video encoder (self_supervised): 2 blocks, width 24, 3 heads"
    return HEADS, [said, "encoder.video_model.mask_emb: kept in the model file"]


@pytest.mark.parametrize("write", [write_avhubert, write_finetuned, write_whisper, write_flamingo])
def test_a_checkpoint_goes_both_ways(write, tmp_path, capsys):
    official, ours = tmp_path / "official.pt", tmp_path / "ours.safetensors"
    options, wanted = write(official)
    main(str(official), ours, **options)
    said = capsys.readouterr().out
    total = sum(parameter.numel() for parameter in load_model(ours).parameters())
    assert all(part in said for part in [*wanted, f"parameters: {total:,}", f"model file: {ours}"]), said
    assert "author" not in said
    main(str(ours), tmp_path / "back.pt")
    assert capsys.readouterr().out == f"official checkpoint: {tmp_path / 'back.pt'}\n"
    one, other = (torch.load(path, weights_only=False) for path in (official, tmp_path / "back.pt"))
    key = next(key for key in ("model", "model_state_dict", "state_dict") if key in one)
    same_tensors(one[key], other[key])


def test_options_of_the_way_back(tmp_path):
    model, _ = make()
    save_model(tmp_path / "flamingo.safetensors", model)
    main(str(tmp_path / "flamingo.safetensors"), tmp_path / "whisper.pt", layout="whisper")
    whisper, state = load_openai(tmp_path / "whisper.pt"), model.state_dict()  # without its gated layers
    assert type(whisper) is Whisper
    same_tensors(whisper, {name: state[name].half().float() for name in whisper.state_dict()})
    main(str(tmp_path / "flamingo.safetensors"), tmp_path / "half.pt", half=True, variant="finetuned")
    written = torch.load(tmp_path / "half.pt", weights_only=True)["state_dict"]
    assert any(".w2v_model." in key for key in written)
    assert {value.dtype for value in written.values() if value.is_floating_point()} == {torch.float16}


def test_padding_as_openais_code_has_it_stays_in_the_model_file(tmp_path):
    half_file(tmp_path / "official.pt")
    for choice in (False, True):
        main(str(tmp_path / "official.pt"), tmp_path / "ours.safetensors", official_padding=choice)
        assert load_whisper(tmp_path / "ours.safetensors").sizes.official_padding == choice


def test_what_cannot_be_done_ends_with_one_line(tmp_path):
    official, ours = tmp_path / "official.pt", tmp_path / "ours.safetensors"
    torch.save(pretrained()[1], official)
    main(str(official), ours)
    (tmp_path / "cut.pt").write_bytes(official.read_bytes()[:5000])
    out = tmp_path / "out.safetensors"
    for source, target, options, reason in [
        (official, tmp_path / "out.bin", {}, r"out\.bin must end in \.safetensors .* or \.pt"),
        (official, tmp_path / "out.pt", {}, r"is no model file; wanted a \.safetensors target"),
        (official, out, {"half": True}, r"no option of writing a \.pt"),
        (official, out, {"audio_heads": 4}, "audio_heads came for .*, which takes dictionary, sentencepiece"),
        (official, official / "out.safetensors", {}, r"official\.pt"),  # a folder that is a file
        (ours, out, {}, r"is a model file; wanted a \.pt target"),
        (ours, tmp_path / "out.pt", {"official_padding": True}, "no option of reading a checkpoint"),
        (tmp_path / "cut.pt", out, {}, "is no whole PyTorch checkpoint"),
        (tmp_path / "nowhere.pt", out, {}, "does not exist"),
    ]:
        with pytest.raises(SystemExit, match=reason) as caught:
            main(str(source), target, **options)
        assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.pt", "official.pt", "ours.safetensors"]


def test_the_former_commands_still_work(tmp_path, monkeypatch, capsys):
    half_file(tmp_path / "official.pt")
    monkeypatch.setattr(sys, "argv", ["command", str(tmp_path / "official.pt"), str(tmp_path / "ours.safetensors")])
    runpy.run_module("avspeech.interop.whisper", run_name="__main__")
    assert "model file: " in capsys.readouterr().out and (tmp_path / "ours.safetensors").exists()
