"""The documents as a site: built strictly, every link leads somewhere, nothing is from outside."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from conftest import REPOSITORY

LOADED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}
GUIDES = ("data_scientist", "pricing_analyst", "manager", "data_engineer", "operator")


class Page(HTMLParser):
    """Links, anchors and what a page loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.loads: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if found.get("id"):
            self.anchors.add(str(found["id"]))
        if tag == "a" and found.get("href"):
            self.links.append(str(found["href"]))
        address = found.get(LOADED.get(tag, ""))
        if address and found.get("rel") not in ("canonical", "prev", "next"):
            self.loads.append(address)


class Site:
    """The pages of a built site."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def pages(self) -> dict[Path, Page]:
        return {path: Page(path) for path in sorted(self.root.rglob("*.html"))}

    def broken(self, page: Page) -> list[str]:
        """Links within the site that lead nowhere."""
        return [link for link in page.links if not self._leads_somewhere(page, link)]

    def _leads_somewhere(self, page: Page, link: str) -> bool:
        parts = urlsplit(link)
        if parts.scheme:
            return True
        target = page.path
        if parts.path:
            base = self.root if parts.path.startswith("/") else page.path.parent
            target = (base / unquote(parts.path).lstrip("/")).resolve()
        target = target / "index.html" if target.is_dir() else target
        if not target.is_file():
            return False
        known = self.pages[target].anchors if target in self.pages else set()
        return not parts.fragment or unquote(parts.fragment) in {*known, "__skip"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    root = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(root)],
        cwd=REPOSITORY,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return Site(root)


def test_every_link_leads_to_a_page_and_an_anchor(site: Site) -> None:
    broken = {
        str(path.relative_to(site.root)): site.broken(page)
        for path, page in site.pages.items()
        if path.name != "404.html"
    }
    assert not {page: links for page, links in broken.items() if links}


def test_the_pages_load_nothing_from_outside(site: Site) -> None:
    outside = [
        (path.name, address)
        for path, page in site.pages.items()
        for address in page.loads
        if urlsplit(address).scheme in ("http", "https") or address.startswith("//")
    ]
    assert not outside
    sheets = "".join(path.read_text(encoding="utf-8") for path in site.root.rglob("*.css"))
    assert not re.findall(r"url\([\"']?https?:", sheets)
    assert not re.findall(r"@import\s+[\"']?https?:", sheets)


def test_formulas_are_mathml(site: Site) -> None:
    methods = (site.root / "methods.html").read_text(encoding="utf-8")
    assert methods.count("<math") > 30
    assert "arithmatex" not in methods
    left = re.findall(r"<m[io]>\\[a-zA-Z]+", methods)
    assert not left, "a command of TeX that was not understood"


def test_there_is_a_guide_for_each_user_and_a_runbook(site: Site) -> None:
    names = {str(path.relative_to(site.root)) for path in site.pages}
    assert {f"guides/{name}.html" for name in GUIDES} <= names
    assert {"index.html", "runbook.html", "methods.html", "results.html"} <= names


def test_every_alert_has_its_place_in_the_runbook() -> None:
    rules = yaml.safe_load((REPOSITORY / "deploy/prometheus/alerts.yml").read_text())
    runbook = (REPOSITORY / "docs/runbook.md").read_text(encoding="utf-8")
    headings = " ".join(line for line in runbook.splitlines() if line.startswith("## "))
    alerts = [rule["alert"] for group in rules["groups"] for rule in group["rules"]]
    assert not [name for name in alerts if name not in headings]


@pytest.mark.parametrize("name", [*(f"guides/{guide}" for guide in GUIDES), "runbook", "index"])
def test_settings_and_commands_that_are_named_exist(name: str) -> None:
    """Dotted keys in backticks, and subcommands of pricing."""
    from pricing_assets.cli import build_parser
    from pricing_assets.core.settings import PricingSettings

    text = (REPOSITORY / "docs" / f"{name}.md").read_text(encoding="utf-8")
    sections = PricingSettings().model_dump()
    for section, key in re.findall(r"`([a-z_]+)\.([a-z_]+)(?:`|:)", text):
        if isinstance(sections.get(section), dict):
            assert key in sections[section], f"{section}.{key}"
    commands = build_parser().format_help()
    for command in re.findall(r"(?:`|^)pricing ([a-z]+)", text, flags=re.MULTILINE):
        assert f"    {command} " in commands or f"    {command}\n" in commands, command
