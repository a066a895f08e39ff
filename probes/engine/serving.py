"""What runs the two sides: this process, Ray, vLLM, or an endpoint somebody else runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from weightgate.lineage.errors import InputError
from weightgate.probes.engine.endpoint import Endpoint, parse_endpoint
from weightgate.probes.engine.numerics import Numerics, find_numerics
from weightgate.probes.engine.requests import Side
from weightgate.probes.engine.runner import LocalRunner, Runner

if TYPE_CHECKING:
    from weightgate.lineage.weights.update import Update

LOCAL = "local"
Backends = Literal["transformers", "vllm"]
SIDES: tuple[Side, Side] = ("parent", "child")


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """How models are run. Where they are run (`executor`) does not change an answer; by what, does."""

    executor: str = LOCAL
    """``local``, ``ray`` (started on this machine), ``ray:auto`` (the cluster here) or ``ray://HOST:PORT``."""
    backend: Backends = "transformers"
    parent_endpoint: Endpoint | None = None
    child_endpoint: Endpoint | None = None

    @classmethod
    def parse(
        cls,
        *,
        executor: str = LOCAL,
        backend: str = "transformers",
        parent_endpoint: str | None = None,
        child_endpoint: str | None = None,
    ) -> Serving:
        """From the options of the command line.

        Raises:
            InputError: an option that makes no sense, or two that do not go together.
        """
        if executor not in {LOCAL, "ray", "ray:auto"} and not executor.startswith("ray://"):
            raise InputError(f"{executor[:80]!r} is no executor", remedy="use local, ray, ray:auto or ray://HOST:PORT")
        if backend not in {"transformers", "vllm"}:
            raise InputError(f"{backend[:80]!r} is no backend", remedy="use transformers or vllm")
        if backend == "vllm" and executor != LOCAL:
            raise InputError(
                "vLLM spreads a model itself", remedy="leave out --executor, or use --backend transformers"
            )
        endpoints = [parse_endpoint(spec) if spec else None for spec in (parent_endpoint, child_endpoint)]
        return cls(
            executor=executor,
            backend="vllm" if backend == "vllm" else "transformers",
            parent_endpoint=endpoints[0],
            child_endpoint=endpoints[1],
        )

    @property
    def endpoints(self) -> dict[Side, Endpoint]:
        """The endpoints by side."""
        given = zip(SIDES, (self.parent_endpoint, self.child_endpoint), strict=True)
        return {side: endpoint for side, endpoint in given if endpoint is not None}

    @property
    def kept(self) -> tuple[Side, ...]:
        """Sides whose answers may go to the cache: those whose weights were hashed here."""
        return tuple(side for side in SIDES if side not in self.endpoints)

    @property
    def facts(self) -> dict[str, str]:
        """What a result depends on beside the numerics of models that run here, for the record."""
        return {
            f"{side} endpoint": f"{endpoint}; not proved to serve these weights"
            for side, endpoint in self.endpoints.items()
        }

    @property
    def plan(self) -> dict[str, str]:
        """What a resumed run must have in common with the first attempt; empty for models of transformers."""
        return self.facts | ({"backend": self.backend} if self.backend != "transformers" else {})

    def numerics(self, update: Update) -> Numerics:
        """What answers depend on besides model and task."""
        found = find_numerics(update.parent.config)
        if self.backend == "vllm":
            from weightgate.probes.engine.vllm_runner import vllm_numerics

            return vllm_numerics(found)
        return found

    def runners(self, update: Update, numerics: Numerics) -> Mapping[Side, Runner]:
        """What runs each side; no model is loaded and nothing is connected to yet.

        Raises:
            MissingExtraError: Ray or vLLM is asked for and not installed.
        """
        here = self._here(update, numerics)
        endpoints = self.endpoints
        if not endpoints:
            return dict.fromkeys(SIDES, here)
        from weightgate.probes.engine.endpoint_runner import EndpointRunner

        return {side: EndpointRunner(endpoints[side], update.parent) if side in endpoints else here for side in SIDES}

    def _here(self, update: Update, numerics: Numerics) -> Runner:
        if self.backend == "vllm":
            from weightgate.probes.engine.vllm_runner import VllmRunner

            return VllmRunner(update, numerics)
        if self.executor != LOCAL:
            from weightgate.probes.engine.ray_runner import RayRunner

            return RayRunner(update, numerics, self.executor)
        return LocalRunner(update, numerics)


HERE = Serving()
"""This process."""
