"""Is the update what its author says? Claims about the weights are held against the bytes; no model is run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from weightgate.lineage.weights.claims_check import check_claims
from weightgate.lineage.weights.update import model_version
from weightgate.probes.evidence import Family, Finding, ProbeResult
from weightgate.probes.probe import Need, ProbeContext, measured, not_measured


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimsProbe:
    """What was said to change, to stay, and to be mixed, against what did."""

    name: ClassVar[str] = "integrity.claims"
    version: ClassVar[str] = "1"
    family: ClassVar[Family] = "integrity"
    title: ClassVar[str] = "Claims about the weights"
    needs: ClassVar[tuple[Need, ...]] = ("weights",)
    limits: ClassVar[tuple[str, ...]] = (
        "Only what was claimed is checked; a claim that holds does not make an update harmless.",
        "A rank is a lower bound: parts of a difference below the rounding of its dtype are not seen.",
    )

    def run(self, context: ProbeContext) -> ProbeResult:
        """Check every claim that was given."""
        if context.claims is None:
            return not_measured(self, "skipped", "no claims about the weights; give them with --claims")
        update = context.update
        mismatches = check_claims(
            context.claims,
            update.delta,
            (model_version("parent", update.parent_fingerprint), model_version("child", update.child_fingerprint)),
            tensors=update.parent.tensors.keys(),
            data=[context.data.sha256] if context.data else [],
        )
        findings = [
            Finding(
                rule=f"{self.name}/{found.claim}",
                severity="high",
                title=found.title,
                detail=found.detail,
                where=found.where,
                evidence=list(found.evidence),
            )
            for found in mismatches
        ]
        return measured(self, findings=findings)

    def control(self) -> ProbeContext:
        """An update that changed what was claimed frozen, and is larger than claimed."""
        from weightgate.probes.integrity.planted import planted_claims

        return planted_claims()

    def fires(self, result: ProbeResult) -> bool:
        """All three claims are found not to hold."""
        rules = {finding.rule for finding in result.findings}
        return {f"{self.name}/{claim}" for claim in ("frozen", "only_modules", "max_relative_norm")} <= rules
