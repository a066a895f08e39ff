"""What the HTML report shows, cut to a bounded size and put into words; the template only lays it out.

Every text that is not ours passes through `visible`; the template escapes all of it once more for HTML.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from weightgate.lineage.canonical import canonical, digest
from weightgate.lineage.changeset import Changeset, ModelVersion
from weightgate.policies.decision import RuleOutcome
from weightgate.policies.policy import Policy
from weightgate.policies.quantity import amount, e_value, interval, power, reading, signed, unit_name
from weightgate.probes.evidence import Item, Measurement, ProbeResult
from weightgate.reports import kind_words, summary
from weightgate.reports.record import AuditRecord
from weightgate.reports.svg import Plot, interval_plot, small_plot
from weightgate.reports.visible import block, brief, inline

MOST_EXAMPLES, OPEN_EXAMPLES = 12, 4
MOST_FINDINGS = 40
MOST_TENSORS = 10
MOST_NAMES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleView:
    """One rule: its words, its numbers and its picture."""

    rule: str
    name: str
    title: str
    word: str
    tone: str
    message: str
    remedy: str
    why: str
    facts: tuple[tuple[str, str], ...]
    change: str
    limit: str
    plot: Markup
    small: Markup
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleView:
    """One prompt with the answers of parent and child."""

    prompt: str
    group: str
    moved: str
    tone: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeView:
    """What a probe did, whether it can be trusted, and what it cannot see."""

    name: str
    version: str
    status: str
    tone: str
    reason: str
    control: str
    limits: tuple[str, ...]
    parameters: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of a table: a label and two values, or a share for a bar."""

    label: str
    first: str = ""
    second: str = ""
    share: float = 0.0


def rules(record: AuditRecord, chosen: tuple[RuleOutcome, ...], prefix: str) -> tuple[RuleView, ...]:
    """The views of some rules; ``prefix`` keeps the ids of their pictures apart."""
    measured = summary.measurements(record)
    return tuple(
        _rule(rule, measured.get(rule.metric or ""), record.policy, f"{prefix}{i}") for i, rule in enumerate(chosen)
    )


def _rule(rule: RuleOutcome, measured: Measurement | None, policy: Policy, name: str) -> RuleView:
    plot = _plot(rule, measured, name)
    reasons = [budget.why for budget in policy.budgets if budget.metric == rule.metric]
    limited = measured is not None and rule.limit is not None
    return RuleView(
        rule=inline(rule.rule, 160),
        name="" if measured is None else inline(measured.metric, 160),
        title=inline(summary.title(rule, measured), 160),
        word=summary.outcome_word(rule),
        tone="muted" if rule.outcome == "missing" and rule.verdict == "approve" else rule.verdict,
        message=_sentence(summary.conclusion(rule, measured, policy.level), 900),
        remedy=_sentence(rule.remedy, 400),
        why=inline(reasons[0], 400) if reasons else "",
        facts=_facts(rule, measured) if measured else (),
        change=f"{summary.change(measured)} {brief(unit_name(measured.unit), 40)}".rstrip()
        if measured and plot
        else "",
        limit=signed(rule.limit, measured.unit) if measured and limited and rule.limit is not None else "",
        plot=interval_plot(plot) if plot else Markup(""),
        small=small_plot(plot) if plot else Markup(""),
        method=inline(measured.method, 300) if measured else "",
    )


def _sentence(text: str, limit: int) -> str:
    """With a capital where the first word is one: names such as a probe's keep their case."""
    first = re.match("[a-z]+(?=[ :,])", text)
    return inline(text[:1].upper() + text[1:] if first else text, limit)


def _plot(rule: RuleOutcome, measured: Measurement | None, name: str) -> Plot | None:
    if measured is None or rule.effect is None or rule.interval is None:
        return None
    return Plot(
        name=name,
        title=measured.title,
        unit=measured.unit,
        effect=rule.effect,
        interval=rule.interval,
        limit=rule.limit,
        worse_is_lower=measured.worse == "lower",
    )


def _of_pool(m: Measurement) -> str:
    return f" of {m.sequential.pool:,}" if m.sequential is not None and m.sequential.pool > m.n else ""


def _facts(rule: RuleOutcome, m: Measurement) -> tuple[tuple[str, str], ...]:
    unit = inline(unit_name(m.unit), 40)
    low, high = interval(m.interval.low, m.interval.high, m.unit)
    facts = [
        ("Parent", "" if m.before is None else reading(m.before, m.unit)),
        ("Child", "" if m.after is None else reading(m.after, m.unit)),
        ("Change", f"{signed(m.effect, m.unit)} {unit}"),
        (f"{100 * m.interval.level:.4g} % interval", f"{low} to {high}"),
        ("Limit", "" if rule.limit is None else signed(rule.limit, m.unit)),
        ("Items", f"{m.n:,}{_of_pool(m)} in {m.clusters:,} groups"),
        ("Power", "" if rule.power is None else power(rule.power)),
        ("Further items", "" if rule.further_items is None else f"about {rule.further_items:,}"),
        ("Evidence of no harm", "" if m.sequential is None else e_value(m.sequential.log_e_safe)),
        ("Evidence of harm", "" if m.sequential is None else e_value(m.sequential.log_e_harm)),
        ("Noise floor", "" if m.noise_floor is None else amount(m.noise_floor, m.unit)),
    ]
    return tuple((label, value) for label, value in facts if value)


def examples(record: AuditRecord) -> tuple[tuple[ExampleView, ...], int, int]:
    """The first items with texts on both sides, how many of all changed, and how many are left out."""
    items = summary.examples(record)
    measured = summary.measurements(record)
    shown = tuple(_example(item, measured.get(item.metric)) for item in items[:MOST_EXAMPLES])
    return shown, sum(summary.moved(item) > 0 for item in items), len(items) - len(shown)


def _example(item: Item, measured: Measurement | None) -> ExampleView:
    values, tone = "", "muted"
    if item.before is not None and item.after is not None:
        values = f"scored {item.before:g} before, {item.after:g} after"
        if measured is not None and summary.moved(item) > 0:
            tone = "block" if (item.after < item.before) == (measured.worse == "lower") else "approve"
    return ExampleView(
        prompt=block(item.prompt, 600),
        group=inline(f"{measured.title if measured else item.metric} · {item.cluster} · {item.id}", 200),
        moved=values,
        tone=tone,
        before=block(item.before_text or "", 1200) or "(empty)",
        after=block(item.after_text or "", 1200) or "(empty)",
    )


def probes(record: AuditRecord) -> tuple[ProbeView, ...]:
    """Each probe in the order it ran."""
    return tuple(_probe(result) for result in record.results)


def _probe(result: ProbeResult) -> ProbeView:
    blind = result.control is not None and not result.control.fired
    control = ""
    if result.control is not None:
        found = "the planted defect was not found" if blind else "the planted defect was found"
        control = f"Positive control: {found} ({inline(result.control.detail, 200)})."
    tones = {"measured": "approve", "skipped": "muted", "failed": "block"}
    return ProbeView(
        name=inline(result.probe, 120),
        version=inline(result.version, 40),
        status=result.status,
        tone="block" if blind else tones[result.status],
        reason=inline(result.reason, 400),
        control=control,
        limits=tuple(inline(limit, 400) for limit in result.limits[:MOST_NAMES]),
        parameters=inline(canonical(result.parameters).decode(), 400) if result.parameters else "",
    )


def identity_rows(first: ModelVersion, second: ModelVersion) -> tuple[Row, ...]:
    """The digests of two versions side by side; ``second`` of a row is empty where they are equal."""
    rows = []
    for label, field in (
        ("Checkpoint", "root"),
        ("Weights", "tensor_root"),
        ("Tokenizer", "tokenizer"),
        ("Chat template", "chat_template"),
        ("Configuration", "config"),
    ):
        before, after = (inline(getattr(side, field) or "none", 80) for side in (first, second))
        rows.append(Row(label=label, first=before, second="" if before == after else after))
    return tuple(rows)


def tensors(changeset: Changeset) -> tuple[tuple[Row, ...], int]:
    """The most changed tensors by relative norm, those without a norm first, and how many are left out."""
    changed = sorted(
        changeset.delta.changed, key=lambda t: (t.relative_norm is not None, -(t.relative_norm or 0.0), t.name)
    )
    largest = max((t.relative_norm or 0.0 for t in changed), default=0.0)
    rows = tuple(
        Row(
            label=inline(t.name, 120),
            first=t.change,
            second="" if t.relative_norm is None else f"{t.relative_norm:#.3g}",
            share=100 * (t.relative_norm or 0.0) / largest if largest else 0.0,
        )
        for t in changed[:MOST_TENSORS]
    )
    return rows, len(changed) - len(rows)


def kind(changeset: Changeset) -> str:
    """The kind of update and what it means."""
    return kind_words.kind_title(changeset.delta.kind)


def kind_lines(changeset: Changeset) -> tuple[tuple[str, str], ...]:
    """What is particular to this kind of update."""
    return tuple((name, inline(text, 600)) for name, text in kind_words.kind_lines(changeset.delta.facts))


def adapter(changeset: Changeset) -> str:
    """Facts of an adapter in one line."""
    return inline(", ".join(f"{key} {value}" for key, value in sorted(changeset.delta.adapter.items())), 400)


def files(changeset: Changeset) -> str:
    """Names of files that differ, in one line."""
    names = changeset.delta.files
    shown = ", ".join(inline(name, 120) for name in names[:MOST_NAMES])
    return f"{shown} and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else shown


def pairs(mapping: dict[str, Any]) -> str:
    """A small mapping in one line, in the order of its keys, so that a record read back renders the same."""
    return inline(", ".join(f"{key} {value}" for key, value in sorted(mapping.items())), 800)


def policy_text(policy: Policy) -> str:
    """The policy as YAML, without what it leaves at its default."""
    import yaml

    plain_policy = policy.model_dump(mode="json", exclude_defaults=True)
    return block(yaml.safe_dump(plain_policy, sort_keys=False, allow_unicode=True, width=100), 20_000)


def digests(record: AuditRecord) -> tuple[Row, ...]:
    """What identifies this audit, and what it rests on."""
    attempt = record.attempt
    logged = [Row(label=f"Attempt {attempt.number} of this child", first=inline(attempt.id, 80))] if attempt else []
    return (
        Row(label="Record", first=digest(record)),
        Row(label="Changeset", first=inline(record.changeset_digest, 80)),
        Row(label="Policy", first=inline(record.decision.policy_digest, 80)),
        Row(label="Signer (key id)", first=inline(record.changeset.author, 120)),
        *logged,
    )


def label(version: ModelVersion) -> str:
    """The name of a model version, which is a label and never trusted."""
    return brief(version.name, 60) or "unnamed"
