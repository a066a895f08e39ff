"""The HTML report: one self-contained file that asks for nothing, runs no script, and is the same on every run."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from weightgate.reports import html_view, summary
from weightgate.reports.record import AuditRecord
from weightgate.reports.visible import brief, inline

if TYPE_CHECKING:
    from jinja2 import Environment

_POLICY = "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'"
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
TEMPLATES = Path(__file__).parent / "templates"


def render_html(record: AuditRecord) -> str:
    """The report of an audit as one HTML document (UTF-8).

    Its content security policy forbids scripts, requests, forms and frames; all styles are in the file.
    """
    concerns, held = summary.concerns(record), summary.held(record)
    examples, flipped, examples_left = html_view.examples(record)
    found = summary.findings(record)
    tensors, tensors_left = html_view.tensors(record.changeset)
    return page(
        "report.html.j2",
        tone=record.decision.verdict,
        record=record,
        verdict=summary.VERDICTS[record.decision.verdict],
        exit_code=summary.EXIT_CODES[record.decision.verdict],
        caveat=summary.CAVEAT,
        reason=inline(summary.reason(record), 1500),
        concerns=html_view.rules(record, concerns, "c"),
        held=html_view.rules(record, held, "h"),
        excused=sum(rule.outcome == "missing" for rule in held),
        strip=html_view.rules(record, (*concerns, *held), "s"),
        examples=examples,
        open_examples=min(html_view.OPEN_EXAMPLES, flipped),
        flipped=flipped,
        examples_left=examples_left,
        findings=found[: html_view.MOST_FINDINGS],
        findings_left=max(len(found) - html_view.MOST_FINDINGS, 0),
        probes=html_view.probes(record),
        identity=html_view.identity_rows(record.changeset.parent, record.changeset.child),
        tensors=tensors,
        tensors_left=tensors_left,
        view=html_view,
        parent=html_view.label(record.changeset.parent),
        child=html_view.label(record.changeset.child),
    )


def page(template: str, *, tone: str, **context: Any) -> str:
    """Render a page on the shared base template, with its styles inside and named in its security policy by hash."""
    css = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    style_hash = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    return (
        _environment()
        .get_template(template)
        .render(
            css=Markup(css),  # noqa: S704 - our own file
            csp=f"{_POLICY}; style-src 'sha256-{style_hash}'",
            tone=tone,
            **context,
        )
    )


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from weightgate.reports.visible import block

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"inline": inline, "brief": brief, "block": block, "date": _date}
    return environment


def _date(moment: str) -> str:
    """An RFC 3339 UTC time as '20 November 2026, 09:21 UTC'; anything else as it is."""
    from datetime import datetime

    try:
        at = datetime.strptime(moment, "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return inline(moment, 40)
    return f"{at.day} {_MONTHS[at.month - 1]} {at.year}, {at:%H:%M} UTC"
