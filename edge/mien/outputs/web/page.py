"""The page itself, `page.html`, and the headers that let nothing but its own code run."""

import base64
import hashlib
import json
import re
from pathlib import Path

from mien.outputs.draw import COLORS

PAGE = Path(__file__).with_name("page.html")


def load_page() -> tuple[str, dict[str, str]]:
    """Return the page with our emotions and colours in it, and the headers that every answer gets."""
    colors = {name: f"rgb({red}, {green}, {blue})" for name, (blue, green, red) in COLORS.items()}
    page = PAGE.read_text(encoding="utf-8").replace("{{colors}}", json.dumps(colors))
    policy = (
        f"default-src 'none'; script-src {_hashes(page, 'script')}; style-src {_hashes(page, 'style')}; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page, {
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-store",
    }


def _hashes(page: str, tag: str) -> str:
    parts = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in parts]
    return " ".join(f"'sha256-{digest}'" for digest in digests)
