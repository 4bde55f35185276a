"""What ends `ap new`: a sample or a project from which no source can be written.

Mistakes of the platform itself are no `ScaffoldError`; they show their traceback.
"""


class ScaffoldError(Exception):
    """A source cannot be written; the message says why and what to do."""


class SampleError(ScaffoldError):
    """The sample cannot be read as a table.

    Args:
        file: The sample's name.
        expected: What a sample must be.
        found: What this one is.
        advice: What to do next.
    """

    def __init__(self, file: str, *, expected: str, found: str, advice: str) -> None:
        super().__init__(f"Reading sample {file}: expected {expected}; found {found}. {advice}")
