"""What can be wrong with the name of a model; every message is one line."""


class ModelNameError(ValueError):
    """A name, a file or a folder gives no model: the message says what came, what was wanted and what to do."""

    def __init__(self, reason: object) -> None:
        # Libraries break their messages into lines; a command prints this one after the name of the file it was for.
        super().__init__(" ".join(str(reason).split()))
