"""The terminal report: one screen of 80 columns that no quoted text can take over."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from weightgate.reports.record import AuditRecord
from weightgate.reports.terminal import render_terminal


def shown(record: AuditRecord, **options: object) -> str:
    out = io.StringIO()
    render_terminal(record, Console(file=out, width=80, **options))
    return out.getvalue()


def test_it_fits_one_screen(record: AuditRecord) -> None:
    """At most 24 lines of 80 columns."""
    lines = shown(record).splitlines()
    assert len(lines) <= 24
    assert max(len(line.rstrip()) for line in lines) <= 80


def test_the_verdict_and_the_numbers_are_there(records) -> None:
    """Verdict, names, reason, each rule that did not pass with its numbers, and the next step."""
    text = shown(records["block"])
    minus = "\N{MINUS SIGN}"
    assert text.startswith("✕ Blocked  support-135m-v7 → support-135m-v8")
    assert f"{minus}41.7 [{minus}46.7, {minus}36.7] points" in text
    assert re.search(rf"Refusal rate, harmful prompts .*{minus}10\.0\n", text)
    assert "14 of 19 rules hold" in text
    assert "Next: look at the items behind this number" in text


def test_an_approval_is_short(records) -> None:
    """Nothing needs attention, so nothing asks for it."""
    assert len(shown(records["approve"]).splitlines()) <= 6


def test_no_escape_sequence_of_a_model_reaches_the_terminal(records) -> None:
    """With colour on, the only escape sequences are the renderer's own styles: no links, titles or cursor moves."""
    text = shown(records["hostile"], force_terminal=True, color_system="truecolor", legacy_windows=False)
    assert "\x1b" in text
    assert not re.sub(r"\x1b\[[0-9;]*m", "", text).count("\x1b")
    assert not re.search(r"[\x00-\x09\x0b-\x1a\x1c-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)


def test_markup_in_text_is_text(records) -> None:
    """Rich markup in a quoted text is printed, not obeyed."""
    record = records["block"]
    change = record.changeset
    named = change.model_copy(update={"child": change.child.model_copy(update={"name": "[bold red]x[/] [/oops]"})})
    assert "[bold red]x[/] [/oops]" in shown(record.model_copy(update={"changeset": named}))


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
def test_an_old_encoding_is_served(record: AuditRecord, encoding: str) -> None:
    """A terminal without Unicode gets the same words in the characters it has."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding)
    render_terminal(record, Console(file=file, width=80))
    file.flush()
    assert raw.getvalue()
    assert b"?41.7" not in raw.getvalue()
