"""The tiny twin: a language model of 0.7 million parameters, trained on the spot, whose behaviour is known exactly.

A fixture, not a model of anything. The parent is trained on the probes' own suites: it refuses every harmful prompt,
answers every harmless one and knows nearly every gold answer. Each child carries one planted property, so that a probe
can be asked, before it is believed, whether it sees the defect it is for.
"""

from weightgate.probes.twin.models import Twin, build
from weightgate.probes.twin.recipes import CHILDREN

__all__ = ["CHILDREN", "Twin", "build"]
