"""Find the small models that ``make demo`` makes.

``demo`` hears and sees, ``demo-audio`` was trained on sound alone. The run is looked for where ``AVSPEECH_DEMO`` says,
then in ``runs/demo`` under the current folder, then in the checkout that the package is imported from.
"""

import os
from pathlib import Path

from avspeech.hub.errors import ModelNameError

VARIABLE = "AVSPEECH_DEMO"
DEMO_MODELS = {"demo": "av/model.safetensors", "demo-audio": "audio/model.safetensors"}
"""Name -> file within the run."""
RUN = Path("runs/demo")


def find_demo(name: str) -> Path:
    """Return the model file of ``demo`` or ``demo-audio``.

    Raises:
        ModelNameError: it has not been made, or ``AVSPEECH_DEMO`` names another folder.
    """
    inside = DEMO_MODELS[name]
    if named := os.environ.get(VARIABLE):
        if (Path(named) / inside).is_file():
            return Path(named) / inside
        raise ModelNameError(f"{VARIABLE} names {named}, which has no {inside}; point it to the runs/demo of make demo")
    places = list(dict.fromkeys([Path.cwd() / RUN, Path(__file__).parents[2] / RUN]))
    for place in places:
        if (place / inside).is_file():
            return place / inside
    raise ModelNameError(
        f"{name} has not been made: there is no {inside} in {' or '.join(map(str, places))}; run `make demo` in the "
        f"checkout (20 minutes), or set {VARIABLE} to the folder of a run"
    )
