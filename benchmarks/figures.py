"""Writes figures with where they come from, and renders them into the documentation.

python -m benchmarks.figures            # fill the tables of docs/*.md from docs/measurements/*.json
python -m benchmarks.figures --check    # fail if a page is stale
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MEASUREMENTS = ROOT / "docs" / "measurements"
LABELS = ("case", "family", "run", "command", "update", "trigger", "target", "ordinary data")
"""Columns that say what a row is about: they come first."""
BLOCK = re.compile(r"(<!-- figures: (?P<name>[a-z_]+)/(?P<table>[a-z_]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def write(name: str, command: str, figures: dict[str, Any]) -> Path:
    """Merge figures into docs/measurements/NAME.json with machine, commit, command and date."""
    path = MEASUREMENTS / f"{name}.json"
    document = json.loads(path.read_text()) if path.exists() else {}
    document |= {
        "machine": machine(),
        "commit": _git("rev-parse", "--short=12", "HEAD"),
        "command": command,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        **figures,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
    return path


def machine() -> str:
    """Processor, cores and memory in words."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}"


def render(page: str) -> str:
    """A page with every block of figures filled from its file."""
    return BLOCK.sub(lambda match: f"{match[1]}{_table(match['name'], match['table'])}\n{match[4]}", page)


def _table(name: str, table: str) -> str:
    document = json.loads((MEASUREMENTS / f"{name}.json").read_text())
    rows = document["tables"][table]
    head = sorted(rows[0], key=lambda column: column not in LABELS)
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(str(row[key]) for key in head)} |" for row in rows]
    source = f"{document['date']}, commit {document['commit']}, `{document['command']}`; {document['machine']}."
    return "\n".join([*lines, "", source])


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def main() -> int:
    """Render all pages, or check that they are current."""
    stale = []
    for page in sorted((ROOT / "docs").rglob("*.md")):
        text = page.read_text()
        if (new := render(text)) != text:
            stale.append(page)
            if "--check" not in sys.argv:
                page.write_text(new)
    for page in stale:
        print(f"{'stale' if '--check' in sys.argv else 'rendered'}: {page.relative_to(ROOT)}")
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
