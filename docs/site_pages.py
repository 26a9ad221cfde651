"""What mkdocs asks while it builds the site: the pages that lie beside `docs/`, and their links.

The front page is the README. Links that hold in the repository are turned to where their targets
lie on the site.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
# Files beside `docs/`, and what they are called on the site.
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
}
TEXTS = ("LICENSE", "NOTICE")
_LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")


def on_files(files: Files, config: Any) -> Files:
    """Adds what lies beside `docs/`."""
    for name, called in PAGES.items():
        text = (ROOT / name).read_text("utf-8")
        files.append(File.generated(config, called, content=text))
    for name in TEXTS:
        text = (ROOT / name).read_text("utf-8")
        files.append(File.generated(config, f"{name}.txt", content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Turns the links of a page to where their targets lie on the site."""
    return _LINK.sub(lambda found: f"]({moved(found[1])}", markdown)


def moved(target: str) -> str:
    """Returns where on the site lies what a page of the repository links to."""
    name = target.removeprefix("../").removeprefix("docs/")
    return f"{name}.txt" if name in TEXTS else PAGES.get(name, name)
