"""What `ap run` did, stage by stage; imports nothing, since `ap status` is to start at once."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One run that was started, for the summary.

    Attributes:
        title: What it did, in words.
        seconds: Wall time.
        succeeded: Whether the run succeeded.
        error: The first failure's message, empty otherwise.
        is_check: Whether it did what it was to do, and a blocking check on that failed.
    """

    title: str
    seconds: float
    succeeded: bool
    error: str
    is_check: bool = False
