"""Prepare the output of `kedro viz build` for publishing: remove local paths and web fonts."""

import json
import re
import sys
from pathlib import Path
from typing import Any

WEB_FONTS = re.compile(r"\s*<link\b[^>]*https://fonts\.[^>]*>")


def clean_site(site: Path, root: Path) -> None:
    """Rewrite the output of `kedro viz build` in `site`: make paths relative to `root`, the project's folder.

    Of files outside the project, only the name is kept. Pages no longer load fonts from other hosts.
    """
    for path in sorted((site / "api").rglob("*")):
        if path.is_file():
            content = _without_root(json.loads(path.read_text()), root)
            path.write_text(json.dumps(content, ensure_ascii=False))
    for page in sorted(site.glob("*.html")):
        page.write_text(WEB_FONTS.sub("", page.read_text()))


def _without_root(value: Any, root: Path) -> Any:
    if isinstance(value, dict):
        return {
            name: _relative(item, root)
            if name == "filepath" and isinstance(item, str)
            else _without_root(item, root)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_without_root(item, root) for item in value]
    return value.replace(f"{root}/", "") if isinstance(value, str) else value


def _relative(filepath: str, root: Path) -> str:
    path = root.parent / filepath  # code paths are relative to root.parent, data paths absolute
    return str(path.relative_to(root)) if path.is_relative_to(root) else path.name


if __name__ == "__main__":
    clean_site(Path(sys.argv[1]), Path.cwd())
