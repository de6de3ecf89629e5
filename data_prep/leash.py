"""Run a command that is killed, with all its children, when the process that started it ends.

    python data_prep/leash.py COMMAND...

Standard input is a pipe that the starter holds open and never writes to. The kernel closes it when the starter ends,
by ``kill -9`` too; then this process kills its group: a training, its loaders, the other ranks of DDP. Start it in a
session of its own. The exit status is the command's.
"""

import os
import signal
import subprocess
import sys
import threading


def _die_with_starter() -> None:
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Run the command line's command."""
    if os.getpgrp() != os.getpid():
        sys.exit("leash.py kills its process group and must lead one: start it with start_new_session=True")
    command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, close_fds=False)
    threading.Thread(target=_die_with_starter, daemon=True).start()
    status = command.wait()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)  # whatever the command has left behind
    os._exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    main()
