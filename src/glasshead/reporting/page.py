"""Documents from Jinja templates: content is escaped, and pages load nothing from other hosts."""

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from glasshead.reporting.wording import central, clipped, estimated, interval, number, spelled

TEMPLATES = Path(__file__).with_name("templates")
MARKDOWN = {ord(sign): f"\\{sign}" for sign in r"\`*_{}[]#|~"}
FILTERS = {
    "central": central,
    "clipped": clipped,
    "estimated": estimated,
    "interval": interval,
    "number": number,
}


def page(template: str, **content: Any) -> str:
    """Return the HTML page `template`, with its style and script inside.

    In case a label is ever not escaped, a content security policy forbids all other scripts and all other hosts.
    """
    style, script = (TEMPLATES.joinpath(name).read_text() for name in ("page.css", "page.js"))
    environment = _environment(autoescape=True)
    policy = (
        "default-src 'none'; img-src data:; "
        f"style-src 'sha256-{_digest(style)}'; script-src 'sha256-{_digest(script)}'"
    )
    resources = {"policy": policy, "style": Markup(style), "script": Markup(script)}
    return _encodable(environment.get_template(template).render(**resources, **content))


def markdown(template: str, **content: Any) -> str:
    """Return the Markdown document `template`; the template passes names through the filter `escaped`."""
    environment = _environment(autoescape=False)
    environment.filters |= {"escaped": escaped, "spelled": spelled}
    return _encodable(environment.get_template(template).render(**content))


def escaped(text: Any, longest: int | None = None) -> str:
    """Return text on one line, escaped for Markdown and for HTML inside Markdown."""
    line = clipped(text, longest or len(str(text)) + 1)
    safe = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return safe.translate(MARKDOWN)


def _environment(*, autoescape: bool) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(FILTERS)
    return environment


def _encodable(text: str) -> str:
    """Return text with "?" for each character that UTF-8 cannot encode; some file names hold such characters."""
    return text.encode(errors="replace").decode()


def _digest(text: str) -> str:
    """Return the SHA-256 hash by which a content security policy allows an inline element."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
