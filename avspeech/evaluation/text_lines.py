"""A text file of somebody else's as numbered lines; what is wrong with it is said with file and line."""

from pathlib import Path


class FileFault(ValueError):
    """A file from outside cannot be used: the message names the file, the line where there is one, and why."""

    def __init__(self, path: Path, number: int | None, why: str) -> None:
        super().__init__(f"{path}: {why}" if number is None else f"{path}, line {number}: {why}")


def read_text(path: Path) -> str:
    """Return a UTF-8 file, a byte order mark taken off.

    Raises:
        FileFault: it cannot be read, or a byte is no UTF-8.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FileFault(path, None, f"cannot be read: {error.strerror}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = error.object.count(b"\n", 0, error.start) + 1
        byte = error.object[error.start]
        raise FileFault(path, number, f"byte 0x{byte:02x} is no UTF-8; save the file as UTF-8") from error


def read_text_lines(path: Path) -> list[tuple[int, str]]:
    """Return the lines and their numbers from 1; only a line feed ends one, for a transcript may hold U+2028.

    Raises:
        FileFault: see ``read_text``.
    """
    return [(number, line.removesuffix("\r")) for number, line in enumerate(read_text(path).split("\n"), start=1)]
