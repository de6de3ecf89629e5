"""Worker processes that end with the process that started them."""

import os
import threading
from multiprocessing import parent_process


def die_with_parent() -> None:
    """End this worker process as soon as its parent has ended, so that an orphan never writes files of a new run."""
    threading.Thread(target=_wait_and_die, daemon=True).start()


def _wait_and_die() -> None:
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)
