"""The errors a user sees: what happened, and what to do about it."""

from __future__ import annotations


class WeightgateError(Exception):
    """Root of every error this package raises on purpose.

    ``str(error)`` says what was wrong and names the file or field; ``remedy`` says what to do next.
    A verdict is never an exception and an exception is never a verdict.
    """

    exit_code = 2

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class InputError(WeightgateError):
    """Bad input or usage: a missing, truncated, mismatched or unsafe file, an unknown key, an unwritable folder."""


class MissingExtraError(InputError):
    """A command needs an optional dependency that is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs packages that are not installed", remedy=f"pip install 'weightgate[{extra}]'")
        self.extra = extra


class IntegrityError(WeightgateError):
    """Evidence that does not check out: a signature, a digest or a link in the chain."""

    exit_code = 4
