"""The probes that ship, and those that other packages add under the entry-point group ``weightgate.probes``."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from importlib.metadata import entry_points

from weightgate.lineage.errors import InputError
from weightgate.probes.probe import Probe

ENTRY_POINTS = "weightgate.probes"


def builtin() -> tuple[Probe, ...]:
    """The shipped probes with their default parameters, cheap ones first."""
    from weightgate.probes.alignment.refusal import RefusalProbe
    from weightgate.probes.alignment.response_kl import ResponseKLProbe
    from weightgate.probes.integrity.claims import ClaimsProbe
    from weightgate.probes.integrity.contamination import ContaminationProbe
    from weightgate.probes.poisoning.data_scan import DataScanProbe
    from weightgate.probes.poisoning.files import FilesProbe
    from weightgate.probes.poisoning.target_inversion import TargetInversionProbe
    from weightgate.probes.poisoning.trigger_confirmation import TriggerProbe
    from weightgate.probes.privacy.exposure import ExposureProbe
    from weightgate.probes.privacy.membership import MembershipProbe
    from weightgate.probes.regression.suite import SuiteProbe

    return (
        ClaimsProbe(),
        FilesProbe(),
        DataScanProbe(),
        ContaminationProbe(),
        RefusalProbe(),
        ResponseKLProbe(),
        SuiteProbe(),
        MembershipProbe(),
        ExposureProbe(),
        TargetInversionProbe(),
        TriggerProbe(),
    )


def available() -> tuple[Probe, ...]:
    """Shipped probes, then installed third-party ones in order of name.

    Raises:
        InputError: an entry point that does not load, is not a probe, or takes the name of another probe.
    """
    probes: list[Probe] = list(builtin())
    for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda e: e.name):
        try:
            probe = entry.load()()
        except Exception as error:
            raise InputError(
                f"probe '{entry.name}' from {entry.value} does not load: {error}",
                remedy="update or uninstall the package that provides it",
            ) from error
        if not isinstance(probe, Probe) or any(probe.name == other.name for other in probes):
            raise InputError(
                f"entry point '{entry.name}' ({entry.value}) is not a probe, or its name is taken",
                remedy="a probe has the attributes of weightgate.probes.probe.Probe and a name of its own",
            )
        probes.append(probe)
    return tuple(probes)


def select(patterns: Sequence[str]) -> tuple[Probe, ...]:
    """The available probes whose names match one of the shell-style patterns.

    Raises:
        InputError: a pattern that matches no probe.
    """
    probes = available()
    for pattern in patterns:
        if not any(fnmatchcase(probe.name, pattern) for probe in probes):
            raise InputError(
                f"no probe matches '{pattern}'", remedy=f"names are: {', '.join(probe.name for probe in probes)}"
            )
    return tuple(probe for probe in probes if any(fnmatchcase(probe.name, pattern) for pattern in patterns))
