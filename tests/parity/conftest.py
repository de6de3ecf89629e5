"""A test for each fixture folder; the table of errors is printed at the end of the run."""

from pathlib import Path

import pytest

from tests.parity.fixtures import find_fixtures

TABLES = pytest.StashKey[dict]()


def pytest_configure(config):
    config.stash[TABLES] = {}


def pytest_generate_tests(metafunc):
    if "fixture" in metafunc.fixturenames:
        fixtures, why = find_fixtures()
        wanted = getattr(metafunc.function, "kinds", None)
        mine = [one for one in fixtures if wanted is None or one.kind in wanted]
        quick = getattr(metafunc.function, "quick", len(mine))  # fixtures that the default suite sees
        slow = [()] * quick + [pytest.mark.slow] * len(mine[quick:])
        chosen = [pytest.param(one, id=one.name, marks=marks) for one, marks in zip(mine, slow, strict=False)]
        none = pytest.param(None, marks=pytest.mark.skip(reason=why), id="none")
        metafunc.parametrize("fixture", chosen or [none])


@pytest.fixture
def tables(request):
    """Comparisons of this run by the name of their fixture."""
    return request.config.stash[TABLES]


def pytest_terminal_summary(terminalreporter, config):
    tables = config.stash.get(TABLES, {})
    if not tables:
        return
    alone = any("parity" in str(Path(argument)) for argument in config.args)
    terminalreporter.section("parity with the official code: error / largest value of each recorded tensor")
    for table in tables.values():
        terminalreporter.write_line(table.summary)
        for line in table.lines() if alone else []:
            terminalreporter.write_line(line)
    if not alone:
        terminalreporter.write_line("(the whole table: pytest tests/parity)")
