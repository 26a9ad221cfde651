"""The log of a run: all that was said, with the time of day."""

import time
from pathlib import Path

from frostline.base.errors import DiskError


class Log:
    """Lines that are kept until it is known in which file they belong."""

    def __init__(self) -> None:
        """Begins without a file."""
        self._lines: list[str] = []
        self._path: Path | None = None

    def add(self, text: str) -> None:
        """Adds a line, or several.

        Raises:
            DiskError: Where the file cannot be written.
        """
        stamp = time.strftime("%H:%M:%S")
        self._lines += [f"{stamp}  {line}" for line in text.splitlines() if line.strip()]
        self._flush()

    def write_to(self, path: Path) -> None:
        """Writes what was said so far to the end of a file, and then each line as it comes.

        Args:
            path: The file; what an earlier process wrote stays above, behind a line with the date.

        Raises:
            DiskError: Where it cannot be written.
        """
        self._path = path
        self._lines.insert(0, f"{time.strftime('%Y-%m-%d')}")
        self._flush()

    def _flush(self) -> None:
        if self._path is None or not self._lines:
            return
        text = "".join(f"{line}\n" for line in self._lines)
        try:
            with self._path.open("ab") as file:
                file.write(text.encode("utf-8", "surrogateescape"))
        except OSError as error:
            raise DiskError(
                f"{self._path}: cannot be written: {error.strerror or error}. "
                "Make room, and run the same command again: it goes on from what is kept."
            ) from error
        self._lines.clear()
