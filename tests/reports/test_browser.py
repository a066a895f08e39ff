"""The pages in a real browser: quiet, still, legible, and as wide as the screen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from weightgate.reports.html import render_html
from weightgate.reports.record import AuditRecord

pytestmark = pytest.mark.browser

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
CONTRAST = """() => {
  const parse = (c) => { const m = c.match(/[\\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m; };
  const light = ([r, g, b]) => {
    const f = (v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
    return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b);
  };
  const behind = (e) => {
    for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] === 1) return c; }
    return [255, 255, 255, 1];
  };
  const low = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || e.closest('.visually-hidden, .skip, svg title, svg desc')) continue;
    const style = getComputedStyle(e);
    const ink = parse(e.closest('svg') ? style.fill : style.color);
    const [a, b] = [light(ink), light(behind(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) low.push([ratio.toFixed(2), e.tagName, e.className.toString(), e.textContent.slice(0, 40)]);
  }
  return low;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One headless Chromium for all tests."""
    if not CHROMIUM.exists():
        pytest.skip(f"needs {CHROMIUM}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """Open a page from a file; what it logged, asked for or popped up is in ``page.seen``."""
    pages = []

    def _visit(html: str, *, width: int = 1280, scheme: str = "light") -> Any:
        path = tmp_path / "report.html"
        path.write_text(html, encoding="utf-8")
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        pages.append(page)
        page.seen = []
        page.on("console", lambda message: page.seen.append(("console", message.text)))
        page.on("pageerror", lambda error: page.seen.append(("error", str(error))))
        page.on("dialog", lambda dialog: (page.seen.append(("dialog", dialog.message)), dialog.dismiss()))
        page.on("request", lambda request: page.seen.append(("request", request.url[:200])))
        page.goto(path.as_uri())
        page.wait_for_timeout(100)
        page.own = ("request", path.as_uri())
        return page

    yield _visit
    for page in pages:
        page.close()


def test_the_page_is_quiet(visit, record: AuditRecord) -> None:
    """Nothing is logged, nothing pops up, and nothing but the file itself is asked for."""
    page = visit(render_html(record))
    asked = [event for event in page.seen if event != page.own and not event[1].startswith("data:image/svg+xml,")]
    assert asked == []


def test_the_styles_are_applied(visit, records) -> None:
    """The page's own security policy lets its own styles through."""
    page = visit(render_html(records["block"]))
    assert page.evaluate("getComputedStyle(document.querySelector('.card')).borderTopLeftRadius") == "12px"


def test_injected_code_would_not_run(visit, records) -> None:
    """Even if escaping failed, the security policy stops scripts, handlers and images."""
    html = render_html(records["approve"])
    attack = (
        "<script>document.title='x'</script><img src=x onerror=\"document.title='x'\"><style>body{display:none}</style>"
    )
    page = visit(html.replace("</main>", f"{attack}</main>"))
    assert page.title().startswith("Approved")
    assert page.evaluate("getComputedStyle(document.body).display") == "block"


@pytest.mark.parametrize("width", [320, 375, 768, 1280])
def test_no_width_scrolls_sideways(visit, record: AuditRecord, width: int) -> None:
    """The page is never wider than the screen, folded parts opened."""
    page = visit(render_html(record), width=width)
    page.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["approve", "block", "review"])
def test_all_text_has_contrast(visit, records, name: str, scheme: str) -> None:
    """Every text reaches 4.5 to 1 against what is behind it (WCAG 2.2 AA), by day and by night."""
    page = visit(render_html(records[name]), scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true })")
    assert page.evaluate(CONTRAST) == []


def test_the_keyboard_reaches_everything(visit, records) -> None:
    """The first stop is the skip link, and folds and scrolling tables can be reached."""
    page = visit(render_html(records["block"]))
    stops = []
    for _ in range(40):
        page.keyboard.press("Tab")
        stops.append(page.evaluate("document.activeElement.className || document.activeElement.tagName"))
    assert stops[0] == "skip"
    assert "SUMMARY" in stops
    assert "scroll" in stops


def test_printing_unfolds_everything(visit, records, tmp_path: Path) -> None:
    """On paper nothing stays folded."""
    page = visit(render_html(records["block"]))
    page.emulate_media(media="print")
    hidden = page.evaluate(
        "[...document.querySelectorAll('details > :not(summary)')].filter((e) => !e.checkVisibility()).length"
    )
    assert hidden == 0
    pdf = page.pdf(path=str(tmp_path / "report.pdf"), prefer_css_page_size=True)
    assert pdf.startswith(b"%PDF")
