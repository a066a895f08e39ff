"""The Markdown report: structured for a pull request, inert whatever it quotes, and never too long."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from weightgate.reports.json_report import read_record, record_bytes
from weightgate.reports.markdown import MARKER, MAX_BYTES, code, fenced, render_markdown, words
from weightgate.reports.record import AuditRecord

OUR_HTML = re.compile(r"</?(details|summary|code|sub)>|<!-- weightgate -->")


def parse(text: str) -> list[Token]:
    """Block and inline tokens of a GitHub-flavoured document."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)
    return [inner for token in tokens for inner in (token, *(token.children or ()))]


def visible_text(text: str) -> str:
    """Text as GitHub sees it when it looks for mentions, issues and addresses: outside of code."""
    out, depth = [], 0
    for token in parse(text):
        if token.type == "html_inline":
            depth += {"<code>": 1, "</code>": -1}.get(token.content, 0)
        elif token.type == "text" and depth == 0:
            out.append(token.content)
    return "\n".join(out)


def test_the_marker_is_the_first_line(record: AuditRecord) -> None:
    """A later run finds the comment by its first line and updates it in place."""
    assert render_markdown(record).splitlines()[0] == MARKER == "<!-- weightgate -->"


def test_the_report_is_the_same_on_every_run(record: AuditRecord) -> None:
    """The same record renders to the same text, also after it was written and read."""
    assert render_markdown(read_record(record_bytes(record))) == render_markdown(record)


def test_the_verdict_leads_and_the_rest_is_folded(records) -> None:
    """An alert with verdict and reason, the table of what broke, then folded parts."""
    text = render_markdown(records["block"])
    lines = text.splitlines()
    assert lines[1:3] == ["> [!CAUTION]", "> **Blocked**: <code>support-135m-v7</code> → <code>support-135m-v8</code>"]
    assert text.count("<details>") == text.count("</details>") == 5
    assert text.index("✕ broken") < text.index("<details>") < text.index("✓ holds")


def test_the_tables_hold_every_rule(records) -> None:
    """As many rows as there are rules, each of four cells."""
    for name in ("approve", "block", "review"):
        tokens = MarkdownIt("commonmark").enable("table").parse(render_markdown(records[name]))
        rows = [i for i, token in enumerate(tokens) if token.type == "tr_open"]
        cells = [sum(t.type == "td_open" for t in tokens[i : i + 14]) for i in rows]
        assert sum(count >= 4 for count in cells) >= len(records[name].decision.rules)


def test_hostile_text_adds_no_markup(record: AuditRecord) -> None:
    """No HTML but ours, no link, image, heading or rule, and no table row that is not ours."""
    tokens = parse(render_markdown(record))
    for token in tokens:
        assert token.type not in {"link_open", "image", "heading_open", "hr", "code_block", "s_open", "em_open"}
        if token.type.startswith("html"):
            assert "<" not in OUR_HTML.sub("", token.content)
    rows = sum(t.type == "tr_open" for t in tokens)
    tensors = min(len(record.changeset.delta.changed), 15)
    assert rows == len(record.decision.rules) + tensors + bool(tensors) + 1 + (record.decision.verdict != "approve")


def test_hostile_text_notifies_and_links_nobody(record: AuditRecord) -> None:
    """No mention, issue reference, address or web link is left for GitHub to find outside of code."""
    text = visible_text(render_markdown(record))
    assert not re.search(r"@[A-Za-z0-9]", text)
    assert not re.search(r"#\d|GH-\d", text)
    assert not re.search(r"https?://|www\.", text)
    assert not re.search(r":[a-z]+:", text)


def test_the_length_is_bounded_and_shortening_is_said(builders) -> None:
    """A comment fits in what GitHub takes, and names what it left out."""
    hostile = render_markdown(builders.hostile())
    assert len(hostile.encode()) <= MAX_BYTES
    record = builders.blocked()
    first = record.results[0]
    many = tuple(
        item.model_copy(update={"after_text": "\N{GRINNING FACE}" * 600, "before_text": "\N{GRINNING FACE}" * 600})
        for item in first.items
    )
    limits = tuple("\N{GRINNING FACE}" * 300 for _ in range(10))
    results = tuple(r.model_copy(update={"limits": limits, "items": many}) for r in record.results)
    text = render_markdown(record.model_copy(update={"results": results}))
    assert len(text.encode()) <= MAX_BYTES
    assert "Left out: What the probes cannot see. Everything is in report.html." in text
    assert text.splitlines()[0] == MARKER
    assert "signed by" in text.splitlines()[-1]


@pytest.mark.parametrize("make", [words, code])
@given(text=st.text(max_size=120) | st.text(alphabet="`~*_[]()<>!|\\&#@:/-+=w.1a \n$^{}", max_size=60))
@settings(max_examples=400, deadline=None)
def test_any_text_stays_in_its_cell(make, text: str) -> None:
    """Foreign text in a table cell, a list item or a quotation leaves the structure as it was."""
    shown = make(text)
    assume(shown.strip())
    for frame in ("| a | b |\n|---|---|\n| {} | x |\n", "- {}\n", "> Policy {} decides\n"):
        kinds = [t.type for t in parse(frame.format(shown)) if t.type != "text" or not t.content]
        wanted = [t.type for t in parse(frame.format(make("x"))) if t.type != "text" or not t.content]
        assert kinds == wanted


@given(st.text(max_size=200) | st.text(alphabet="`~ \n\ta<", max_size=80))
@settings(max_examples=400, deadline=None)
def test_any_text_stays_in_its_fence(text: str) -> None:
    """A fenced block holds exactly one block whatever fences its text holds."""
    tokens = parse(f"before\n\n{fenced(text)}\n\nafter\n")
    assert [t.type for t in tokens if t.block and t.level == 0] == [
        "paragraph_open",
        "paragraph_close",
        "fence",
        "paragraph_open",
        "paragraph_close",
    ]


@given(
    text=st.text(min_size=1, max_size=3) | st.sampled_from(["|", "\U000e0041", "*", "@a", "\N{GRINNING FACE}", "\x1b"]),
    rules=st.integers(0, 300),
)
@settings(max_examples=25)
def test_no_record_is_too_long_for_a_comment(records, text: str, rules: int) -> None:
    """However many rules, findings and tensors, and however long every text: marker, verdict, footer, and it fits."""
    record, long = records["block"], text * 800
    rule = next(rule for rule in record.decision.rules if rule.effect is not None)
    changed = {"message": long, "remedy": long, "verdict": "block", "outcome": "fail"}
    many = tuple(rule.model_copy(update=changed | {"remedy": f"{i} {long}"}) for i in range(rules))
    results = tuple(
        result.model_copy(
            update={
                "limits": (long,) * 20,
                "measurements": tuple(m.model_copy(update={"title": long, "unit": long}) for m in result.measurements),
            }
        )
        for result in record.results
    )
    shown = render_markdown(
        record.model_copy(
            update={
                "results": results,
                "tool": long,
                "decision": record.decision.model_copy(update={"rules": (*record.decision.rules, *many)}),
                "policy": record.policy.model_copy(update={"name": long}),
                "changeset": record.changeset.model_copy(update={"intent": long}),
            }
        )
    )
    assert len(shown.encode()) <= MAX_BYTES
    assert shown.startswith(f"{MARKER}\n> [!CAUTION]\n")
    assert "signed by" in shown.rstrip().splitlines()[-1]
