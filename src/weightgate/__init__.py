"""weightgate: a pull request for weights.

Every weight update is a signed changeset; probes measure parent and child; a policy approves, blocks or asks for review.
"""

from __future__ import annotations

__version__ = "0.1.0"
