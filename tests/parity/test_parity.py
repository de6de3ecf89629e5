"""Every recorded tensor of the official code equals ours to 1e-5 of its largest value, or has a stated reason."""

from tests.parity.compare_encoder import compare_encoder
from tests.parity.compare_flamingo import compare_flamingo
from tests.parity.compare_frontend import compare_frontend
from tests.parity.compare_pretrain import compare_pretrain
from tests.parity.compare_seq2seq import compare_seq2seq

COMPARE = {
    "frontend": compare_frontend,
    "encoder": compare_encoder,
    "pretrain": compare_pretrain,
    "seq2seq": compare_seq2seq,
    "flamingo": compare_flamingo,
}


def test_every_recorded_tensor_is_ours(fixture, tables):
    assert fixture.kind in COMPARE, (
        f"{fixture.folder}: its config.json is of no kind that tests/parity/fixtures.py knows"
    )
    table = COMPARE[fixture.kind](fixture)
    tables[fixture.name] = table
    assert not table.wrong
    assert not table.unvisited
