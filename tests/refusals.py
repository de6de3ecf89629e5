"""How tests say in one line that something is refused, and in which words."""

import pytest


def raises(error, message, call, /, *arguments, **options):
    """Check that a call ends with this error, and that the pattern ``message`` is found in what it says."""
    with pytest.raises(error, match=message):
        call(*arguments, **options)
