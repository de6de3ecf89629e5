"""The command ``avspeech VERB ...``, the same as ``python -m avspeech.VERB ...``."""

import runpy
import sys

from avspeech import __version__

VERBS = {
    "transcribe": "transcribe videos and sound files",
    "app": "serve a page that transcribes videos",
    "train": "train or pre-train a model",
    "evaluate": "measure a model in noise and with faults of the picture",
    "export": "write a model as ONNX",
    "hub": "list the names of models",
}


def main() -> None:
    """Run the verb of the command line."""
    arguments = sys.argv[1:]
    if arguments[:1] in ([], ["-h"], ["--help"]):
        lines = "\n".join(f"  {verb:<12}{meaning}" for verb, meaning in VERBS.items())
        print(f"usage: avspeech VERB ...\n\n{lines}\n\nSee avspeech VERB --help.")
        sys.exit(0 if arguments else 2)
    if arguments == ["--version"]:
        print(__version__)
        return
    verb = arguments[0]
    if verb not in VERBS:
        print(f"avspeech: no verb {verb!r}; wanted one of {', '.join(VERBS)}", file=sys.stderr)
        sys.exit(2)
    sys.argv = [f"avspeech {verb}", *arguments[1:]]
    runpy.run_module(f"avspeech.{verb}", run_name="__main__", alter_sys=False)


if __name__ == "__main__":
    main()
