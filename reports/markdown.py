"""The Markdown report: a pull-request comment that says the verdict first and folds the rest."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from weightgate.policies.decision import RuleOutcome, Verdict
from weightgate.policies.quantity import count, signed, unit_name
from weightgate.reports import summary
from weightgate.reports.kind_words import kind_lines, kind_title
from weightgate.reports.record import AuditRecord
from weightgate.reports.visible import block, inline

MARKER = "<!-- weightgate -->"
"""First line of the comment: by it a later run finds the comment and updates it in place."""
MAX_BYTES = 65_536
"""A comment on GitHub holds 65,536 characters; bytes are counted, so that it holds whatever counts as a character."""
MOST_HEAD = 48_000
MOST_ROWS, MOST_EXAMPLES, MOST_FINDINGS, MOST_TENSORS = 60, 6, 20, 15

_ALERTS: dict[Verdict, str] = {"approve": "TIP", "block": "CAUTION", "review": "WARNING"}
_MARKS = {"Holds": "✓", "Broken": "✕", "Open": "?", "Not measured": "?", "Excused": "·"}
_JOINER = "\N{WORD JOINER}"
_SPECIAL = re.compile(r"[\\`*\[\]<>|~&$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_STARTS = tuple("-+#=0123456789")
_LINKED = re.compile(r"(?<=[@#:])(?=\S)|(?<=\bwww)(?=\.)|(?<=\bGH)(?=-)", re.IGNORECASE)


def render_markdown(record: AuditRecord) -> str:
    """The report as GitHub-flavoured Markdown, at most `MAX_BYTES` bytes; what did not fit is named at the end."""
    concerns, held = summary.concerns(record), summary.held(record)
    folds: list[tuple[str, Callable[[], Iterable[str]]]] = [
        (_held_title(held), lambda: _table(record, held)),
        (f"Findings ({len(summary.findings(record))})", lambda: _findings(record)),
        ("Before and after", lambda: _examples(record)),
        ("The update", lambda: _update(record)),
        ("What the probes cannot see", lambda: _limits(record)),
    ]
    return _fit(
        _head(record, concerns), [(title, "\n".join(lines())) for title, lines in folds], "\n".join(_foot(record))
    )


def _head(record: AuditRecord, concerns: tuple[RuleOutcome, ...]) -> str:
    """What is never folded or left out: fewer rows where texts are so long that it would fill the comment alone."""
    heads = (
        "\n".join([MARKER, *_verdict(record), "", *_table(record, concerns, rows), *_advice(concerns)])
        for rows in (MOST_ROWS, 25, 10, 4)
    )
    head = next(heads)
    while _size(head) > MOST_HEAD and (shorter := next(heads, "")):
        head = shorter
    return head


def words(text: str, limit: int = 300) -> str:
    """Foreign text as one line of words: no markup, link, mention, image or table cell can come out of it.

    Markdown takes no structure from character references; a word joiner keeps GitHub, which looks for mentions, issue
    numbers, addresses and emoji names in the finished text, from finding any.
    """
    joined = _LINKED.sub(_JOINER, inline(text, limit))
    if joined.lstrip()[:1] in _STARTS:
        joined = _JOINER + joined  # at the start of a line it would begin a list or a heading
    return _SPECIAL.sub(lambda match: f"&#{ord(match[0])};", joined)


def code(text: str, limit: int = 120) -> str:
    """Foreign text as one line of code."""
    return f"<code>{words(text, limit)}</code>"


def fenced(text: str, limit: int = 600) -> str:
    """Foreign text of several lines as a code block that nothing in it can close."""
    shown = block(text, limit)
    runs = [len(run) for run in re.findall("`+", shown)]
    fence = "`" * max(3, 1 + max(runs, default=0))
    return f"{fence}text\n{shown}\n{fence}"


def _verdict(record: AuditRecord) -> list[str]:
    verdict = record.decision.verdict
    parent, child = code(record.changeset.parent.name, 60), code(record.changeset.child.name, 60)
    return [
        f"> [!{_ALERTS[verdict]}]",
        f"> **{summary.VERDICTS[verdict]}**: {parent} → {child}",
        ">",
        f"> {words(summary.reason(record), 1200)}",
    ]


def _table(record: AuditRecord, rules: tuple[RuleOutcome, ...], most: int = MOST_ROWS) -> list[str]:
    if not rules:
        return []
    measured = summary.measurements(record)
    lines = ["| | rule | change [interval] | limit |", "|---|---|---|---|"]
    for rule in rules[:most]:
        word, m = summary.outcome_word(rule), measured.get(rule.metric or "")
        seen, limit = words(rule.message, 240), ""
        if m is not None and rule.effect is not None:
            seen = f"{summary.change(m)} {words(unit_name(m.unit), 40)}".rstrip()
            limit = "" if rule.limit is None else signed(rule.limit, m.unit)
        cells = (f"{_MARKS[word]} {word.lower()}", words(summary.title(rule, m), 120), seen, limit)
        lines.append(f"| {' | '.join(cells)} |")
    if len(rules) > most:
        lines.append(f"| | {len(rules) - most} more in record.json | | |")
    return [*lines, ""]


def _advice(concerns: tuple[RuleOutcome, ...]) -> list[str]:
    remedies = list(dict.fromkeys(rule.remedy for rule in concerns if rule.remedy))
    return ["**What to do**", "", *(f"- {words(remedy)}." for remedy in remedies[:5]), ""] if remedies else []


def _held_title(held: tuple[RuleOutcome, ...]) -> str:
    excused = sum(rule.outcome == "missing" for rule in held)
    holding = len(held) - excused
    return f"{count(holding, 'rule')} {'hold' if holding != 1 else 'holds'}" + (
        f", {excused} excused" if excused else ""
    )


def _findings(record: AuditRecord) -> Iterable[str]:
    found = summary.findings(record)
    for finding in found[:MOST_FINDINGS]:
        seen = f"Seen in {code(finding.where)}. {words(finding.detail, 400)}"
        yield f"- **{finding.severity}**: {words(finding.title)}. {seen}"
    if len(found) > MOST_FINDINGS:
        yield f"- and {len(found) - MOST_FINDINGS} more in record.json"


def _examples(record: AuditRecord) -> Iterable[str]:
    items = summary.examples(record)
    if not items:
        return
    flipped = sum(summary.moved(item) > 0 for item in items)
    yield f"Judged differently: {flipped} of {len(items)} answers, shown first."
    for item in items[:MOST_EXAMPLES]:
        yield f"\nPrompt {code(item.id, 40)}\n\n{fenced(item.prompt, 300)}"
        yield f"\nParent\n\n{fenced(item.before_text or '')}\n\nChild\n\n{fenced(item.after_text or '')}"
    if len(items) > MOST_EXAMPLES:
        yield f"\n{len(items) - MOST_EXAMPLES} more in record.json."


def _update(record: AuditRecord) -> Iterable[str]:
    changeset, delta = record.changeset, record.changeset.delta
    yield f"- Stated purpose: {words(changeset.intent, 600) or 'none'}"
    yield f"- Kind {kind_title(delta.kind)}; {delta.tensors_changed:,} of {delta.tensors_total:,} tensors changed"
    for name, text in kind_lines(delta.facts):
        yield f"- {name.capitalize()}: {words(text, 400)}"
    yield f"- Parent {code(changeset.parent.root)}"
    yield f"- Child {code(changeset.child.root)}"
    if record.attempt:
        yield f"- Attempt {record.attempt.number} of this child, logged as {code(record.attempt.id[:16])}"
    for data in changeset.inputs:
        yield f"- Data, {data.role}: {code(data.name)}, {data.rows:,} rows, {code(data.sha256)}"
    changed = sorted(delta.changed, key=lambda tensor: (-(tensor.relative_norm or 0.0), tensor.name))
    if changed:
        yield "\n| tensor | change | relative norm |\n|---|---|---|"
    for tensor in changed[:MOST_TENSORS]:
        norm = "" if tensor.relative_norm is None else f"{tensor.relative_norm:#.3g}"
        yield f"| {code(tensor.name)} | {tensor.change} | {norm} |"
    if len(changed) > MOST_TENSORS:
        yield f"\n{len(changed) - MOST_TENSORS} more in record.json."


def _limits(record: AuditRecord) -> Iterable[str]:
    yield summary.CAVEAT
    yield ""
    for result in record.results:
        limits = " ".join(words(limit) for limit in result.limits[:10])
        yield f"- {code(result.probe)} ({result.status}): {limits}"


def _foot(record: AuditRecord) -> list[str]:
    from weightgate.lineage.canonical import digest

    policy = f"{code(record.policy.name, 60)} v{record.policy.version} {code(record.decision.policy_digest[:16])}"
    told = (
        f"Policy {policy}",
        f"record {code(digest(record)[:16])}",
        f"signed by {code(record.changeset.author[:16])}",
        words(record.tool, 60),
        "check with <code>weightgate verify RUN --public-key signer.pub</code>",
    )
    return [f"<sub>{' · '.join(told)}</sub>", ""]


def _fit(head: str, folds: list[tuple[str, str]], foot: str) -> str:
    """Head and foot always, then as many folded parts as there is room for, in order."""
    parts, left_out = [head], []
    note = "> Shortened, for a comment holds no more. Left out: {}. Everything is in report.html.\n"
    reserve = len(note) + sum(len(title) + 2 for title, _ in folds)
    room = MAX_BYTES - _size(head) - _size(foot) - reserve
    for title, body in folds:
        text = f"<details><summary>{title}</summary>\n\n{body}\n\n</details>\n"
        if not body:
            continue
        if _size(text) + 1 <= room:
            parts.append(text)
            room -= _size(text) + 1
        else:
            left_out.append(title)
    if left_out:
        parts.append(note.format(", ".join(left_out)))
    return "\n".join([*parts, foot])


def _size(text: str) -> int:
    return len(text.encode())
