"""Notebooks: whether this is one, and how words and pages get into it."""

import io
import sys
import warnings
from typing import Any, TextIO, cast

from frostline.base.html import escape


def is_notebook() -> bool:
    """Says whether code runs in the kernel of a notebook, and not in a terminal."""
    shell = _shell()
    return shell is not None and getattr(shell, "kernel", None) is not None


def keep_tqdm_quiet() -> None:
    """Keeps libraries that are loaded next from asking for `ipywidgets` on red ground.

    They import `tqdm.auto`, which warns once where that is missing. No bar of ours needs it.
    """
    if is_notebook():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import tqdm.auto  # noqa: F401


def words_to() -> TextIO:
    """Returns where words and progress go: standard error; in a notebook standard output.

    A notebook shows standard error on red ground. There, a bar is drawn as on a terminal: all
    front ends rewrite a line after a carriage return.
    """
    return cast(TextIO, _NotebookOutput()) if is_notebook() else sys.stderr


def show_page(html: str, height_px: int = 640) -> None:
    """Shows a whole HTML page below the cell, apart from the notebook's own style."""
    from IPython.display import HTML, display  # there, for this is a notebook

    frame = (
        f'<iframe srcdoc="{escape(html)}" sandbox="allow-popups" title="Report" '
        f'style="width:100%;height:{height_px}px;border:1px solid rgb(128 128 128/.4)"></iframe>'
    )
    display(HTML(frame))


class _NotebookOutput:
    """Standard output as it is at the moment of writing: each cell has one of its own.

    A line that comes while a bar is shown takes the bar's place; the bar is drawn again below it.
    """

    encoding = "utf-8"

    def __init__(self) -> None:
        self._unfinished = 0

    def write(self, text: str) -> int:
        if self._unfinished and not text.startswith("\r"):
            sys.stdout.write("\r" + " " * self._unfinished + "\r")
        self._unfinished = len(text.rpartition("\n")[2].rpartition("\r")[2])
        return sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")


def _shell() -> Any:
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None
