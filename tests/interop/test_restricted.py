"""Nothing in a checkpoint can run; what cannot be read is said in one line."""

import argparse
import os
import pickle

import pytest
import torch

from avspeech.interop.restricted import find_inert, read_checkpoint, to_plain
from tests.interop import official
from tests.interop.official import FairseqDictionary, save_with_fairseq


class Hostile:
    """Runs a command when an ordinary unpickler reads it."""

    def __init__(self, command, function=os.system):
        self.command, self.function = command, function

    def __reduce__(self):
        return self.function, (self.command,)


def refused(path):
    message = official.refused(read_checkpoint, path)
    assert message.startswith(str(path))
    return message


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_hostile_checkpoint_runs_nothing_and_is_refused_by_name(tmp_path, protocol, zipped):
    path, proof = tmp_path / "evil.pt", tmp_path / "proof"
    content = {"model": {"w": torch.ones(2)}, "cfg": {}, "task_state": Hostile(f"touch {proof}")}
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    assert "system" in refused(path) and not proof.exists()
    if zipped:  # the file does work on who trusts it
        torch.load(path, weights_only=False)
        assert proof.exists()


@pytest.mark.parametrize("function", [eval, exec, getattr, __import__, open, torch.hub.load])
def test_builtins_and_other_functions_of_torch_are_refused_too(tmp_path, function):
    torch.save({"model": Hostile("1", function)}, tmp_path / "evil.pt")
    assert ("torch.hub.load" if function is torch.hub.load else function.__name__) in refused(tmp_path / "evil.pt")


def test_a_bare_pickle_is_refused_before_it_runs(tmp_path):
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Hostile(f"touch {tmp_path}/proof")))
    assert "system" in refused(tmp_path / "evil.pt") and not (tmp_path / "proof").exists()


def test_a_truncated_file_is_named_as_such(tmp_path):
    torch.save({"model": torch.ones(5000)}, tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    for length in (0, 10, 1000, len(whole) - 10):
        (tmp_path / "cut.pt").write_bytes(whole[:length])
        assert "cut off" in refused(tmp_path / "cut.pt")
    assert "does not exist" in refused(tmp_path / "none.pt")


def test_known_classes_become_inert(tmp_path, monkeypatch):
    content = {"model": {"w": torch.ones(2)}, "task_state": {"dictionaries": [FairseqDictionary(["a", "b"])]}}
    save_with_fairseq(monkeypatch, content, tmp_path / "file.pt")
    read = read_checkpoint(tmp_path / "file.pt")
    (dictionary,) = find_inert(read, "fairseq.data.dictionary.Dictionary")
    assert type(dictionary).__name__ == "Inert" and dictionary.state["symbols"][4:] == ["a", "b"]
    assert torch.equal(read["model"]["w"], torch.ones(2))


def test_configurations_become_plain(tmp_path):
    content = {"args": argparse.Namespace(lr=[0.1], nested=argparse.Namespace(name="x")), "cfg": {"a": (1, None)}}
    torch.save(content, tmp_path / "file.pt")
    plain = to_plain(read_checkpoint(tmp_path / "file.pt"))
    assert plain == {"args": {"lr": [0.1], "nested": {"name": "x"}}, "cfg": {"a": [1, None]}}
