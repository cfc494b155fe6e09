"""Check the built site: python docs/_ext/check_links.py FOLDER; 1 if a local link leads nowhere."""

from __future__ import annotations

import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """Where a page's links and pictures point, and what in it can be pointed at."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.targets: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a tag's attributes."""
        for key, value in attrs:
            if key in ("href", "src") and value:
                self.targets.add(value)
            elif key in ("id", "name") and value:
                self.anchors.add(value)


page = cache(Page)


def broken(path: Path) -> list[str]:
    """Links of a page to files, or to places in files, that are not there."""
    found = []
    for target in sorted(page(path).targets):
        parts = urlsplit(target)
        if parts.scheme or parts.netloc:
            continue
        file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        anchor = unquote(parts.fragment)
        known = (
            not anchor or file.suffix != ".html" or (file.exists() and anchor in page(file).anchors)
        )
        if not file.exists() or not known:
            found.append(f"{path}: {target}")
    return found


def main() -> int:
    """Check every page of the folder."""
    pages = sorted(Path(sys.argv[1]).resolve().rglob("*.html"))
    found = [line for path in pages for line in broken(path)]
    print(*found, f"{len(pages)} pages, {len(found)} broken links", sep="\n")
    return 1 if found or not pages else 0


if __name__ == "__main__":
    sys.exit(main())
