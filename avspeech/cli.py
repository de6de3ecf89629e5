"""The command ``avspeech COMMAND ...``, the same as ``python -m avspeech.COMMAND ...``."""

import runpy
import sys

from avspeech import __version__

COMMANDS = {
    "transcribe": "transcribe videos and sound files",
    "app": "serve a page that transcribes videos",
    "train": "train or pre-train a model",
    "average": "average the weights of a training's checkpoints",
    "evaluate": "evaluate a model in noise and with video faults",
    "export": "write a model as ONNX",
    "hub": "list the names of models",
}


def main() -> None:
    """Run the subcommand named on the command line."""
    arguments = sys.argv[1:]
    if arguments[:1] in ([], ["-h"], ["--help"]):
        lines = "\n".join(f"  {name:<12}{meaning}" for name, meaning in COMMANDS.items())
        print(f"usage: avspeech COMMAND ...\n\n{lines}\n\nSee avspeech COMMAND --help.")
        sys.exit(0 if arguments else 2)
    if arguments == ["--version"]:
        print(__version__)
        return
    name = arguments[0]
    if name not in COMMANDS:
        print(f"avspeech: unknown command {name!r}, wanted one of {', '.join(COMMANDS)}", file=sys.stderr)
        sys.exit(2)
    sys.argv = [f"avspeech {name}", *arguments[1:]]
    runpy.run_module(f"avspeech.{name}", run_name="__main__", alter_sys=False)


if __name__ == "__main__":
    main()
