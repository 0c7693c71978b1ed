"""A hook of mkdocs: formulas become MathML when the site is built, so that no script is needed.

The Markdown extension pymdownx.arithmatex marks formulas; this replaces them. GitHub renders the
same source by itself.
"""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from latex2mathml.converter import convert

_INLINE = re.compile(r'<span class="arithmatex">\\\((.+?)\\\)</span>', re.DOTALL)
_BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.+?)\\\]\s*</div>', re.DOTALL)
_UNKNOWN = {
    r"\!": "",
    r"\bigl": "",
    r"\bigr": "",
    r"\tfrac": r"\frac ",
    r"\arg": r"\operatorname{arg}",
}
"""Spacing and sizes that MathML sets by itself, and a name that the converter does not know."""


def on_page_content(html: str, **_: Any) -> str:
    """Replace every marked formula."""
    html = _BLOCK.sub(lambda found: _mathml(found.group(1), display="block"), html)
    return _INLINE.sub(lambda found: _mathml(found.group(1), display="inline"), html)


def _mathml(tex: str, *, display: str) -> str:
    text = unescape(tex).strip()
    for command, instead in _UNKNOWN.items():
        text = re.sub(re.escape(command) + r"(?![A-Za-z])", instead.replace("\\", "\\\\"), text)
    return str(convert(text, display=display))
