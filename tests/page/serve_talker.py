"""Serve the page with a model that needs no weights: ``python serve_talker.py PORT MAX_SECONDS EXAMPLE``."""

import sys
from pathlib import Path

from talker import TalkerModel

from avspeech.manifest import Utterance
from avspeech.page.job import Limits
from avspeech.page.layout import Shelf
from avspeech.page.serving import serve

if __name__ == "__main__":
    port, max_seconds, example = sys.argv[1:]
    model = TalkerModel()
    serve(
        Shelf(["talker"], lambda name: model),  # type: ignore[arg-type]
        limits=Limits(max_mb=2, max_seconds=float(max_seconds)),
        port=int(port),
        examples=[Utterance("example", video=Path(example), text="set red now", language="en")],
        on_start=lambda address: print(f"at {address}", flush=True),
    )
