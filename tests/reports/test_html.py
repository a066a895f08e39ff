"""The HTML report: self-contained, inert, deterministic, bounded and well-structured."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightgate.reports.html import render_html
from weightgate.reports.json_report import read_record, record_bytes
from weightgate.reports.record import AuditRecord
from weightgate.reports.visible import block

VOID = {"meta", "link", "wbr", "path", "circle", "rect", "line"}
TAGS = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "link",
        "style",
        "body",
        "a",
        "header",
        "nav",
        "main",
        "section",
        "article",
        "footer",
    ),
    *(
        "h1",
        "h2",
        "h3",
        "h4",
        "p",
        "span",
        "div",
        "ul",
        "li",
        "dl",
        "dt",
        "dd",
        "details",
        "summary",
        "pre",
        "code",
        "wbr",
    ),
    *("table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td"),
    *("svg", "g", "path", "line", "circle", "rect", "desc", "text"),
}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    ancestors: tuple[str, ...]
    text: str = ""
    children: list[str] = field(default_factory=list)


class Page(HTMLParser):
    """The elements of a page in document order, each with all text inside it."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self.stack: list[Element] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs), tuple(e.tag for e in self.stack))
        self.elements.append(element)
        if self.stack:
            self.stack[-1].children.append(tag)
        if tag not in VOID:
            self.stack.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, dict(attrs), tuple(e.tag for e in self.stack)))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self.stack[-1].tag == tag, f"</{tag}> closes <{self.stack[-1].tag}>"
        self.stack.pop()

    def handle_data(self, data: str) -> None:
        for element in self.stack:
            element.text += data

    def all(self, tag: str) -> list[Element]:
        return [element for element in self.elements if element.tag == tag]


@pytest.fixture
def page(record: AuditRecord) -> Page:
    """The report of every record in turn, parsed."""
    return Page(render_html(record))


def test_the_report_is_the_same_on_every_run(record: AuditRecord) -> None:
    """The same record renders to the same bytes, also after it was written and read: verify compares them."""
    html = render_html(record)
    assert render_html(record) == html
    assert render_html(read_record(record_bytes(record))) == html


def test_nothing_is_loaded_and_nothing_runs(page: Page) -> None:
    """No script, no handler, no inline style, no frame or form, and every reference stays in the file."""
    assert {element.tag for element in page.elements} <= TAGS
    for element in page.elements:
        for name, value in element.attributes.items():
            assert not name.startswith("on")
            assert name != "style"
            if name in ("href", "src", "action", "data", "xlink:href"):
                assert value.startswith(("#", "data:image/svg+xml,"))
    assert len(page.all("style")) == 1
    assert not re.search(r"url\(|@import|expression", page.all("style")[0].text)


def test_the_security_policy_names_the_styles_by_hash(page: Page) -> None:
    """The policy forbids everything but this one style sheet and data images."""
    policy = next(
        e.attributes["content"] for e in page.all("meta") if e.attributes.get("http-equiv") == "Content-Security-Policy"
    )
    digest = base64.b64encode(hashlib.sha256(page.all("style")[0].text.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; style-src 'sha256-{digest}'"
    )


def test_no_invisible_character_is_in_the_report(record: AuditRecord) -> None:
    """Control characters and direction overrides are shown by name, never passed on."""
    html = render_html(record)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]", html)


def test_the_size_is_bounded(records) -> None:
    """A record of megabytes gives a report that a mail program accepts."""
    assert len(record_bytes(records["hostile"])) > 1_000_000
    assert len(render_html(records["hostile"]).encode()) < 300_000


def test_headings_and_landmarks_are_in_order(page: Page) -> None:
    """One h1, no level skipped, one main, and a language."""
    levels = [int(e.tag[1]) for e in page.elements if re.fullmatch("h[1-6]", e.tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    for landmark in ("main", "nav", "footer"):
        assert len(page.all(landmark)) == 1
    assert page.all("html")[0].attributes["lang"] == "en"


def test_ids_are_unique_and_every_reference_resolves(page: Page) -> None:
    """Links within the page and labels point at something, and at one thing only."""
    ids = [e.attributes["id"] for e in page.elements if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    for element in page.elements:
        for name in (element.attributes.get("aria-labelledby") or "").split():
            assert name in ids
        if (element.attributes.get("href") or "").startswith("#"):
            assert element.attributes["href"][1:] in ids


def test_tables_and_pictures_can_be_read_aloud(page: Page) -> None:
    """Header cells have a scope; a picture has a title or is hidden; scrolling regions have a name and take focus."""
    assert all(e.attributes.get("scope") in ("col", "row") for e in page.all("th"))
    for svg in page.all("svg"):
        assert svg.attributes.get("aria-hidden") == "true" or "title" in svg.children
    for region in (e for e in page.elements if e.attributes.get("role") == "region"):
        assert region.attributes.get("tabindex") == "0"
        assert region.attributes.get("aria-label") or region.attributes.get("aria-labelledby")


def test_the_verdict_comes_first_and_failures_before_passes(records) -> None:
    """The first heading is the verdict; what broke precedes what holds."""
    html = render_html(records["block"])
    assert Page(html).all("h1")[0].text.strip() == "Blocked"
    order = [html.index(f'id="{name}"') for name in ("verdict", "attention", "findings", "answers", "held", "limits")]
    assert order == sorted(order)
    headings = [e.text for e in Page(html).all("h3")]
    assert headings[0] == "BrokenRefusal margin, harmful prompts"


def test_every_rule_number_and_limit_is_in_the_report(records) -> None:
    """Each rule that did not pass shows its interval, its limit and what to do."""
    text = Page(render_html(records["block"])).all("main")[0].text
    minus = "\N{MINUS SIGN}"
    for expected in (
        f"{minus}46.7 to {minus}36.7",
        f"{minus}10.0",
        "+3.20 to +4.60",
        "3 of 24 planted secrets come out word for word",
        "measure about 577 items instead of 256",
        "Harmful requests that the parent refused must still be refused.",
        records["block"].changeset.child.root[:32],
        "weightgate verify RUN --public-key signer.pub",
    ):
        assert expected.lower() in text.lower()


def test_what_is_left_out_is_counted(records) -> None:
    """Answers and tensors beyond the bound are counted."""
    text = Page(render_html(records["block"])).all("main")[0].text
    assert "20 more in record.json." in text
    assert "110 more in record.json." in text


@given(st.text(st.characters(codec="utf-8"), max_size=120))
@settings(max_examples=25, deadline=None)
def test_any_answer_appears_as_text_and_nothing_else(builders, text: str) -> None:
    """Whatever a model says stands in its box as text; the page has the elements it always has."""
    record = builders.approved()
    first, *others = record.results
    items = tuple(item.model_copy(update={"after_text": text, "prompt": text}) for item in first.items)
    page = Page(
        render_html(record.model_copy(update={"results": (first.model_copy(update={"items": items}), *others)}))
    )
    said = [e.text for e in page.elements if e.attributes.get("class") == "said"]
    assert (block(text) or "(empty)") in said
    plain = Page(render_html(record))
    assert [e.tag for e in page.elements] == [e.tag for e in plain.elements]
