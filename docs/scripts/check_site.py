"""Check a built site: ``python docs/scripts/check_site.py site``.

Every link, picture and anchor of every page leads somewhere, nothing is loaded from another host, and the search index
knows every page but the repository's sources.
"""

from __future__ import annotations

import json
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlparse

LOADED = {
    ("img", "src"),
    ("script", "src"),
    ("link", "href"),
    ("source", "src"),
    ("video", "src"),
    ("iframe", "src"),
}
"""What a browser fetches by itself."""


class Page(HTMLParser):
    """The links of a page, what it loads, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors = {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag refers to."""
        for name, value in attrs:
            if value and name in ("id", "name"):
                self.anchors.add(value)
            elif value and (tag, name) in LOADED and ("rel", "canonical") not in attrs:
                self.loaded.append(value)
            elif value and (tag, name) == ("a", "href"):
                self.links.append(value)


def check_site(site: Path) -> list[str]:
    """Everything that is wrong with a site, one line each."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    faults = []
    for path, page in pages.items():
        here = path.relative_to(site)
        faults += [f"{here}: loads {url}" for url in page.loaded if urlparse(url).netloc]
        for link in dict.fromkeys(page.links + page.loaded):
            address, anchor = urldefrag(link)
            if urlparse(link).scheme or urlparse(link).netloc:
                continue
            start = site if address.startswith("/") else path.parent
            target = (start / unquote(address).lstrip("/")).resolve() if address else path.resolve()
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                faults.append(f"{here}: {link} leads nowhere")
            elif target in pages and unquote(anchor) not in pages[target].anchors:
                faults.append(f"{here}: {link} leads to no anchor")
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    found = {entry["location"].partition("#")[0] for entry in index["docs"]}
    for path in pages:
        location = path.relative_to(site).as_posix().removesuffix("index.html")
        if location not in found | {"404.html"} and not location.startswith("repository/"):
            faults.append(f"{location}: the search does not find it")
    return faults


if __name__ == "__main__":
    found = check_site(Path(sys.argv[1]).resolve())
    sys.exit("\n".join(found) if found else 0)
