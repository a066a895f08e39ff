"""Every format a record can be rendered to, by name: what `weightgate report --format` takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from weightgate.reports.attestation import render_test_result, render_vsa
from weightgate.reports.cyclonedx import render_cyclonedx, render_cyclonedx_17
from weightgate.reports.gitlab import render_gitlab
from weightgate.reports.html import render_html
from weightgate.reports.interchange import as_json
from weightgate.reports.json_report import record_bytes
from weightgate.reports.junit import render_junit
from weightgate.reports.markdown import render_markdown
from weightgate.reports.model_card import render_model_card
from weightgate.reports.oscal import render_oscal
from weightgate.reports.record import AuditRecord
from weightgate.reports.sarif import render_sarif


@dataclass(frozen=True, slots=True)
class Rendering:
    """One format: the same record gives the same text, byte for byte, on every machine."""

    file: str
    """Its name in the ``reports`` folder of a run."""
    render: Callable[[AuditRecord], str]
    in_every_run: bool = False
    """Whether the run folder holds it without being asked, under its own name."""


def _render_json(record: AuditRecord) -> str:
    return as_json(json.loads(record_bytes(record)))


FORMATS: dict[str, Rendering] = {
    "html": Rendering("report.html", render_html, in_every_run=True),
    "md": Rendering("report.md", render_markdown, in_every_run=True),
    "json": Rendering("record.json", _render_json, in_every_run=True),
    "sarif": Rendering("weightgate.sarif", render_sarif),
    "junit": Rendering("junit.xml", render_junit),
    "gitlab": Rendering("gl-code-quality-report.json", render_gitlab),
    "cyclonedx": Rendering("bom.cdx.json", render_cyclonedx),
    "cyclonedx-1.7": Rendering("bom-1.7.cdx.json", render_cyclonedx_17),
    "oscal": Rendering("oscal-assessment-results.json", render_oscal),
    "vsa": Rendering("vsa.intoto.json", render_vsa),
    "test-result": Rendering("test-result.intoto.json", render_test_result),
    "modelcard": Rendering("model-card.md", render_model_card),
}


def render(record: AuditRecord, name: str) -> str:
    """The record in one format."""
    return FORMATS[name].render(record)


def extra_files(record: AuditRecord, names: tuple[str, ...]) -> dict[str, bytes]:
    """Those of the named formats that are not in every run, as files of the ``reports`` folder."""
    wanted = [FORMATS[name] for name in names]
    return {f.file: f.render(record).encode() for f in wanted if not f.in_every_run}


def by_file(name: str) -> Rendering | None:
    """The format of a file in the ``reports`` folder; None where no format has that name."""
    return next((f for f in FORMATS.values() if f.file == name and not f.in_every_run), None)
