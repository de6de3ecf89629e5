"""Run a command that is killed, with all its children, when its parent ends.

    python data_prep/leash.py COMMAND...

Standard input is a pipe that the parent holds open. When the kernel closes it, even after ``kill -9``, this process
kills its process group, so start it in a new session. The exit status is the command's.
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
    if os.getpgrp() != os.getpid():
        sys.exit("leash.py kills its process group and must lead one: start it with start_new_session=True")
    command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, close_fds=False)
    threading.Thread(target=_die_with_starter, daemon=True).start()
    status = command.wait()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    os._exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    main()
