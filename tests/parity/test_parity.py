"""Every recorded tensor of the official code equals ours to 1e-5 of its largest value, or has a stated reason."""

import pytest

from tests.parity.compare_encoder import compare_encoder
from tests.parity.compare_frontend import compare_frontend
from tests.parity.compare_pretrain import compare_pretrain
from tests.parity.compare_seq2seq import compare_seq2seq
from tests.parity.comparison import Comparison

COMPARE = {
    "frontend": compare_frontend,
    "encoder": compare_encoder,
    "pretrain": compare_pretrain,
    "seq2seq": compare_seq2seq,
}


def test_every_recorded_tensor_is_ours(fixture, tables):
    if fixture.kind is None:
        table = Comparison(fixture.name, fixture.tensors)
        table.skip("", "this project has no such model yet")
        tables[fixture.name] = table
        pytest.skip(f"{fixture.name} is of a model that is not here yet")
    table = COMPARE[fixture.kind](fixture)
    tables[fixture.name] = table
    assert not table.wrong
    assert not table.unvisited
