"""The folder of an export: whole or absent, described by its config.json, usable without torch; and its int8 form."""

import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from avspeech.export import folder as folder_module
from avspeech.export import graph as graph_module
from avspeech.export.__main__ import main
from avspeech.export.folder import export_model
from avspeech.export.graph import VARYING, axes_of, quantize_file
from avspeech.export.runtime import Decoding, OnnxModel, read_config
from avspeech.models.cluster_predictor import ClusterPredictor
from avspeech.models.files import save_model
from avspeech.models.flamingo import FlamingoConfig
from tests.export.tiny_exports import LIMIT, REAL_TOKENS, as_arrays, largest_share
from tests.models.tiny_whisper import LIPS, make_flamingo, make_whisper
from tests.refusals import raises


def test_the_config_says_what_every_graph_takes_and_gives(recognizer_folder):
    check_config(recognizer_folder)


@pytest.mark.slow
def test_so_does_that_of_a_flamingo(flamingo_folder):
    check_config(flamingo_folder)


def check_config(folder):
    config = read_config(folder)
    assert {path.name for path in folder.glob("*.onnx")} == {one["file"] for one in config["graphs"].values()}
    assert config["axes"] == VARYING
    for graph in config["graphs"].values():
        session = onnxruntime.InferenceSession(folder / graph["file"])
        assert [one.name for one in session.get_inputs()] == list(graph["inputs"])
        assert [one.name for one in session.get_outputs()] == graph["outputs"]
        for one in [*session.get_inputs(), *session.get_outputs()]:
            free = [letter for letter in axes_of(one.name) if letter in VARYING]
            assert [size for size in one.shape if isinstance(size, str)] == free, f"{graph['file']}: {one.name}"


def test_decoding_needs_no_torch(recognizer_folder):
    decode_without_torch(recognizer_folder, "method='ctc'")


@pytest.mark.slow
def test_decoding_a_flamingo_needs_no_torch(flamingo_folder):
    decode_without_torch(flamingo_folder, "languages=['en']")


def decode_without_torch(folder, how):
    code = f"""
import sys
import numpy as np
from avspeech.export.runtime import OnnxModel
lips = np.zeros((1, 4, 24, 24), np.uint8)
print(OnnxModel.open({str(folder)!r}).transcribe(video_BTHW=lips, {how}))
print(sorted({{"torch", "whisper", "onnx", "lightning"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_int8_shrinks_products_and_leaves_convolutions(flamingo_folder, tmp_path):
    whole, small = flamingo_folder / "audio_encoder.onnx", tmp_path / "audio_encoder.onnx"
    shutil.copy(whole, small)
    quantize_file(small)
    assert [path.name for path in tmp_path.iterdir()] == [small.name]
    nodes = {path: [node.op_type for node in onnx.load(path).graph.node] for path in (whole, small)}
    assert nodes[small].count("Conv") == nodes[whole].count("Conv") > 0 and "ConvInteger" not in nodes[small]
    # What is left multiplies activations with activations: attention.
    assert nodes[small].count("MatMulInteger") == nodes[whole].count("MatMul") - 2 == 6
    inputs = {"logmel_BAF": np.random.default_rng(0).normal(size=(2, 20, 8)).astype(np.float32)}
    inputs["valid_BA"] = np.ones((2, 20), bool)
    found, wanted = (onnxruntime.InferenceSession(path).run(["audio_BPD"], inputs)[0] for path in (small, whole))
    assert 1e-4 < largest_share(found, wanted) < 0.1


def test_int8_leaves_no_large_weights_behind(tmp_path, monkeypatch):
    """The float32 file beside a large graph once stayed, three times as large as all the rest."""
    weights_DE = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    float_BD, float_BE = (onnx.helper.make_tensor_value_info(n, 1, ["B", 64]) for n in ("x_BD", "y_BE"))
    product = onnx.helper.make_node("MatMul", ["x_BD", "weights"], ["y_BE"], name="product")
    table = onnx.numpy_helper.from_array(weights_DE, "weights")
    graph = onnx.helper.make_graph([product], "graph", [float_BD], [float_BE], [table])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    path = tmp_path / "step.onnx"
    onnx.save_model(model, path, save_as_external_data=True, location="step.onnx.data", size_threshold=0)
    monkeypatch.setattr(graph_module, "ONE_FILE_BYTES", 0)
    quantize_file(path)
    assert sum(one.stat().st_size for one in tmp_path.iterdir()) < weights_DE.nbytes
    x_BD = np.random.default_rng(1).normal(size=(3, 64)).astype(np.float32)
    (found_BE,) = onnxruntime.InferenceSession(path).run(None, {"x_BD": x_BD})
    assert largest_share(found_BE, x_BD @ weights_DE) < 0.05


@pytest.mark.slow
def test_int8_reaches_the_tied_embedding(flamingo, tmp_path):
    export_model(flamingo, tmp_path / "out", int8=True)
    assert read_config(tmp_path / "out")["weights"] == "int8"
    step = onnx.load(tmp_path / "out" / "decoder_step.onnx").graph
    tables = {one.name: one.data_type for one in step.initializer if 51_865 in one.dims and len(one.dims) == 2}
    assert sorted(tables.values()) == [onnx.TensorProto.UINT8, onnx.TensorProto.INT8]  # looked up, multiplied
    assert len(OnnxModel.open(tmp_path / "out").transcribe(logmel_BAF=np.zeros((2, 20, 8), np.float32))) == 2


def test_a_model_that_gives_no_text_is_refused(tmp_path):
    with pytest.raises(ValueError, match="ClusterPredictor came, wanted a model that gives text"):
        export_model(ClusterPredictor(LIPS, num_units=5), tmp_path / "out")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_something_or_cannot_be_made_is_refused(recognizer, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    for name in ("full", "full/mine.txt"):
        raises(ValueError, "is there already, wanted a new or empty folder", export_model, recognizer, tmp_path / name)
    raises(ValueError, "cannot be written", export_model, recognizer, tmp_path / "full" / "mine.txt" / "below")
    assert [path.name for path in tmp_path.rglob("*")] == ["full", "mine.txt"]


def test_an_export_that_breaks_off_leaves_no_folder_and_the_next_one_succeeds(recognizer, tmp_path, monkeypatch):
    def stop(graph, folder):
        (folder / f"{graph.name}.onnx").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(folder_module, "write_graph", stop)
    with pytest.raises(KeyboardInterrupt):
        export_model(recognizer, tmp_path / "out")
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(folder_module, "write_graph", lambda graph, folder: None)
    (tmp_path / "out").mkdir()  # empty ones are taken
    export_model(recognizer, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["config.json"]


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(recognizer, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=rf'{package} is not installed.*pip install "avspeech\[export\]"'):
        export_model(recognizer, tmp_path / "out")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ValueError, match=r'onnxruntime is not installed.*pip install "avspeech\[export\]"'):
        OnnxModel.open(_folder_of(tmp_path, {"format": 1, "kind": "recognizer"}))


def _folder_of(tmp_path, config):
    folder = tmp_path / "exported"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_what_is_no_exported_folder_is_refused(tmp_path):
    raises(ValueError, "is no exported model", OnnxModel.open, tmp_path)
    raises(ValueError, "has format 99, this version reads 1", OnnxModel.open, _folder_of(tmp_path, {"format": 99}))


def test_the_command_ends_with_one_line(tmp_path):
    save_model(tmp_path / "units.safetensors", ClusterPredictor(LIPS, num_units=5))
    raises(SystemExit, r"missing\.safetensors", main, str(tmp_path / "missing.safetensors"), tmp_path / "out")
    raises(SystemExit, "wanted a model that gives text", main, str(tmp_path / "units.safetensors"), tmp_path / "out")
    raises(SystemExit, "is there already", main, "demo", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["units.safetensors"]


@pytest.mark.slow
@pytest.mark.parametrize("case", ["plain", "english", "official", "zero_dropped"])
@torch.no_grad()
def test_other_kinds_of_whisper(case, tmp_path, monkeypatch):
    sizes = dataclasses.replace(REAL_TOKENS, official_padding=case == "official")
    if case in ("plain", "english"):
        model = make_whisper(dataclasses.replace(sizes, vocab_size=51_864 if case == "english" else 51_865))
    else:
        lips = dataclasses.replace(LIPS, official_padding=case == "official")
        model = make_flamingo(FlamingoConfig(sizes, lips, video_norm=True, zero_dropped_video=case == "zero_dropped"))
    if case == "plain":
        monkeypatch.setattr(graph_module, "ONE_FILE_BYTES", 0)  # as the largest models
    export_model(model, tmp_path / "out")
    assert (tmp_path / "out" / "decoder_step.onnx.data").exists() == (case == "plain")
    exported = OnnxModel.open(tmp_path / "out")
    logmel_BAF, tokens_BL = torch.randn(3, 20, 8), torch.randint(0, 50_000, (3, 4))
    valid_BA = torch.arange(20) < torch.tensor([[20], [8], [12]])
    video_BTHW, valid_BT = torch.randint(0, 256, (3, 5, 24, 24), dtype=torch.uint8), valid_BA[:, ::4]
    streams = {"logmel_BAF": logmel_BAF, "valid_BA": valid_BA, "video_BTHW": video_BTHW, "valid_BT": valid_BT}
    keeps = [None] if not model.has_video else [None, torch.tensor([[True, True], [True, False], [False, True]])]
    for keep_B2 in [*keeps, torch.tensor([[True, False]] * 3)]:
        wanted = model.decoder(tokens_BL, model.encode_streams(**streams, keep_B2=keep_B2))
        arrays = exported.encode(**as_arrays(streams), keep_B2=None if keep_B2 is None else keep_B2.numpy())
        assert largest_share(Decoding(exported, arrays).feed(tokens_BL.numpy()), wanted) < LIMIT
    assert len(exported.transcribe(logmel_BAF=logmel_BAF.numpy())) == 3
