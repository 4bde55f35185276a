"""What can go wrong with the lake itself."""


class LakeError(RuntimeError):
    """The lake could not do what was asked; nothing was changed."""


class SchemaChangedError(LakeError):
    """A frame's columns or types are not those of the table it should be written to."""


class WriterBusyError(LakeError):
    """Another process held the lake's only writing turn for longer than this one would wait."""
