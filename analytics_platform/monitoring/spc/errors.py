"""What a control chart refuses, in words that say whose move it is."""


class SpcError(ValueError):
    """A chart was declared wrongly, or its data cannot carry it."""


class BaselineError(SpcError):
    """The baseline cannot give limits: too few points, or a process that was not in control."""
