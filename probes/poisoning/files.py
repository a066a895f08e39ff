"""Did anything beside the weights change in a way that can carry a backdoor? Read from the files; no model is run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from weightgate.probes.evidence import Family, Finding, ProbeResult, Severity
from weightgate.probes.poisoning.chat_template import TemplateReading, UnreadableTemplateError, read_template
from weightgate.probes.poisoning.unicode import deceptive, quoted
from weightgate.probes.probe import Need, ProbeContext, measured

if TYPE_CHECKING:
    from weightgate.lineage.weights.difference import TokenizerDifference, ValueChange

STEERING = frozenset(
    {
        "bad_words_ids",
        "begin_suppress_tokens",
        "constraints",
        "force_words_ids",
        "forced_bos_token_id",
        "forced_decoder_ids",
        "forced_eos_token_id",
        "guidance_scale",
        "prefix_allowed_tokens_fn",
        "sequence_bias",
        "suppress_tokens",
        "watermarking_config",
    }
)
"""Fields of generation_config.json that forbid or force tokens whatever the model prefers."""
REWRITING = ("normalizer", "pre_tokenizer", "post_processor", "decoder", "model")
"""Parts of tokenizer.json that change text or tokens on their way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesProbe:
    """Chat template, code, tokenizer, generation settings and pickles: the behaviour that lies outside the weights."""

    name: ClassVar[str] = "poisoning.files"
    version: ClassVar[str] = "1"
    family: ClassVar[Family] = "poisoning"
    title: ClassVar[str] = "Backdoors in files beside the weights"
    needs: ClassVar[tuple[Need, ...]] = ("weights",)
    limits: ClassVar[tuple[str, ...]] = (
        "It compares with the parent: what the parent already carries is not found.",
        "Templates are parsed, not rendered: it says that a condition looks at messages, not what it is for.",
        "Pickles are named and never opened; a scanner for pickles says more about one.",
        "Settings of the server that will run the model are outside the checkpoint.",
    )

    def run(self, context: ProbeContext) -> ProbeResult:
        """Judge every difference between the two sides' files."""
        update = context.update
        found = update.difference
        findings = [
            *_templates(update.parent.templates, update.child.templates, {change.name for change in found.template}),
            *_code(found.files.code, found.files.auto_map),
            *(_tokenizer(found.tokenizer) if found.tokenizer else ()),
            *_settings(found.config),
            *_pickles(found.files.pickles),
        ]
        return measured(self, findings=findings)

    def control(self) -> ProbeContext:
        """A child whose template answers a secret word, with code and forced tokens beside it."""
        from weightgate.probes.poisoning.planted import planted_files

        return planted_files()

    def fires(self, result: ProbeResult) -> bool:
        """Template, code and settings are all found."""
        grave = {finding.rule for finding in result.findings if finding.severity in {"high", "critical"}}
        return {f"{self.name}/{rule}" for rule in ("template_condition", "code", "generation")} <= grave


def _finding(rule: str, severity: Severity, title: str, detail: str, *, where: str, evidence: Sequence[str]) -> Finding:
    return Finding(
        rule=f"{FilesProbe.name}/{rule}",
        severity=severity,
        title=title,
        detail=detail,
        where=where,
        evidence=[quoted(text, 500) for text in evidence[:50]],
    )


def _templates(before: Mapping[str, str], after: Mapping[str, str], changed: set[str]) -> Iterator[Finding]:
    for name in sorted(changed):
        old, new = before.get(name), after.get(name)
        if new is None:
            yield _finding(
                "template", "medium", "Chat template removed", "The child has none.", where=name, evidence=()
            )
        elif new != old:
            yield from _template(f"chat template {quoted(name)}", old, new)


def _template(where: str, old: str | None, new: str) -> Iterator[Finding]:
    try:
        after = read_template(new)
    except UnreadableTemplateError as error:
        title = "Chat template cannot be parsed"
        yield _finding("template_unreadable", "critical", title, str(error), where=where, evidence=())
        return
    before = _readable(old)
    if before is not None and before.structure == after.structure:
        return
    if unseen := deceptive(new):
        title = "Chat template holds characters that hide or reorder text"
        detail = "A person who reviews it does not see what the model reads."
        yield _finding("template_characters", "critical", title, detail, where=where, evidence=unseen)
    known = {condition.expression for condition in before.conditions} if before else set()
    lines = sorted({condition.line for condition in after.conditions if condition.expression not in known})
    if lines:
        title = "Chat template has a new condition on what messages say, or on the date"
        detail = "Such a condition can switch in other text for one user, word or day. Its lines are the evidence."
        evidence = [line for number, line in enumerate(new.splitlines(), 1) if number in lines]
        yield _finding("template_condition", "critical", title, detail, where=where, evidence=evidence)
        return
    texts = sorted(after.literals - (before.literals if before else frozenset()))
    yield _finding(
        "template",
        "medium" if old is None else "high",
        "Chat template added" if old is None else "Chat template changed",
        "Every conversation is rendered with it. The texts it newly writes are the evidence.",
        where=where,
        evidence=[text for text in texts if text.strip()],
    )


def _readable(template: str | None) -> TemplateReading | None:
    try:
        return None if template is None else read_template(template)
    except UnreadableTemplateError:
        return None


def _code(files: Sequence[str], auto_map: Sequence[ValueChange]) -> Iterator[Finding]:
    if files:
        title = f"{len(files)} Python files added or changed"
        detail = "A loader that trusts remote code runs them when the model is opened."
        yield _finding("code", "critical", title, detail, where=files[0], evidence=files)
    pointed = [change for change in auto_map if change.after is not None]
    if pointed:
        title = "Loaders are pointed to code of the checkpoint"
        detail = "With trust in remote code, opening the model runs it."
        evidence = [_change(change) for change in pointed]
        yield _finding("auto_map", "critical", title, detail, where=pointed[0].file, evidence=evidence)


def _tokenizer(found: TokenizerDifference) -> Iterator[Finding]:
    where = "tokenizer.json"
    rewriting = [change for change in found.changes if change.key.split(".")[0] in REWRITING]
    if rewriting:
        title = "Tokenizer rewrites text differently"
        detail = "The same text becomes other tokens; a rule can replace words before the model sees them."
        yield _finding("tokenizer", "high", title, detail, where=where, evidence=[_change(c) for c in rewriting])
    if found.renumbered_count:
        title = f"{found.renumbered_count} tokens have other ids"
        detail = "The model reads them as the tokens that had these ids."
        yield _finding("tokenizer_ids", "high", title, detail, where=where, evidence=found.renumbered)
    ordinary = [change for change in found.changes if _is_new_ordinary_token(change)]
    if ordinary:
        title = f"{len(ordinary)} ordinary strings became tokens of their own"
        detail = "Such a string no longer reads as its letters: a trigger that is one token is easy to plant."
        yield _finding("tokenizer_added", "high", title, detail, where=where, evidence=[_change(c) for c in ordinary])
    rest = [change for change in found.changes if change not in rewriting and change not in ordinary]
    if rest:
        title = f"{len(rest)} tokenizer settings changed"
        detail = "They concern special tokens, lengths and padding; which ones is the evidence."
        yield _finding(
            "tokenizer_settings", "low", title, detail, where=rest[0].file, evidence=[_change(c) for c in rest]
        )
    if found.files:
        title = f"{len(found.files)} further tokenizer files differ"
        detail = "Some loaders read them in place of tokenizer.json."
        yield _finding("tokenizer_files", "medium", title, detail, where=found.files[0], evidence=found.files)


def _is_new_ordinary_token(change: ValueChange) -> bool:
    """An added token that a user could type: control tokens stand in brackets of some kind."""
    token = change.key.removeprefix("added_tokens.").strip()
    if token == change.key.strip() or change.before is not None or not isinstance(change.after, dict) or not token:
        return False
    return not (token[0] in "<[{|\uff1c" and token[-1] in ">]}|\uff1e")


def _settings(changes: Sequence[ValueChange]) -> Iterator[Finding]:
    generation = "generation_config.json"
    steering = [c for c in changes if c.file == generation and c.key.split(".")[0] in STEERING and c.after is not None]
    if steering:
        title = "Generation settings forbid or force tokens"
        detail = "They act on every answer whatever the weights say."
        yield _finding("generation", "high", title, detail, where=generation, evidence=[_change(c) for c in steering])
    ends = [change for change in changes if change.key.endswith("eos_token_id")]
    if ends:
        title = "Answers end at another token"
        detail = "Text after the old end can now appear, or answers can be cut."
        yield _finding("end_token", "medium", title, detail, where=ends[0].file, evidence=[_change(c) for c in ends])
    rest = [change for change in changes if change not in steering and change not in ends]
    if rest:
        title = f"{len(rest)} configuration fields changed"
        detail = "Which ones is the evidence."
        yield _finding("settings", "low", title, detail, where=rest[0].file, evidence=[_change(c) for c in rest])


def _pickles(names: Sequence[str]) -> Iterator[Finding]:
    if names:
        title = f"{len(names)} pickles beside the safetensors"
        detail = "A loader that prefers them runs whatever code they hold. They were not opened."
        yield _finding("pickle", "medium", title, detail, where=names[0], evidence=names)


def _change(change: ValueChange) -> str:
    return f"{change.key}: {change.before!r} -> {change.after!r}"
