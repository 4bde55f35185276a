"""From a file to its bytes, and from bytes to lines of text, never holding more than a block.

What can be wrong before a value is looked at is an error here: size, compression, encoding, NUL,
endless lines. Parting lines into values does not belong here.
"""

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path

from analytics_platform.contracts.errors import UnreadableFileError
from analytics_platform.contracts.format import ENCODINGS, FileFormat

ASK_SENDER = "Ask the sender to deliver the file again."

_BLOCK_BYTES = 1 << 22
"""What is read at once. Its values, as Python strings, take some twenty times as much."""

_HEAD_BYTES = 16
"""What is looked at to tell what a file is."""

_UTF8_MARK = codecs.BOM_UTF8
_UTF16_MARKS = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}

#: How files begin that are something else than was declared; the longer of two that fit first.
_BEGINNINGS = {
    codecs.BOM_UTF32_LE: "UTF-32, by its byte order mark",
    codecs.BOM_UTF8: "UTF-8, by its byte order mark",
    codecs.BOM_UTF16_LE: "UTF-16, by its byte order mark",
    codecs.BOM_UTF16_BE: "UTF-16, by its byte order mark",
    b"\x1f\x8b": "compressed with gzip",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"%PDF": "a PDF",
    b"PAR1": "a Parquet file",
}
_LINE_END = re.compile(r"\r\n|\r|\n")


def guess(head: bytes) -> str:
    """A sentence on what a file looks like by its first bytes, or "" where nothing is to say."""
    for beginning, kind in _BEGINNINGS.items():
        if head.startswith(beginning):
            return f"It looks like {kind}. "
    if len(head) >= 4 and head[1:4:2] == b"\0\0" and head[0] and head[2]:
        return "It looks like UTF-16 without a byte order mark. "
    if len(head) >= 4 and head[0:4:2] == b"\0\0" and head[1] and head[3]:
        return "It looks like UTF-16 without a byte order mark. "
    return ""


def read_blocks(path: Path, file_format: FileFormat, file: str) -> Generator[bytes, None, None]:
    """The bytes of a file, uncompressed, in blocks; none for a file without bytes.

    Raises:
        UnreadableFileError: The file is larger than the format admits, or not whole gzip.
        OSError: It cannot be opened or read.
    """
    limit = file_format.max_bytes
    total = 0
    with path.open("rb") as raw:
        is_packed = _is_gzip(file, file_format)
        packed = path.stat().st_size
        if not is_packed and packed > limit:
            raise _too_large(file, limit, f"{packed} bytes")
        stream = gzip.GzipFile(fileobj=raw, mode="rb") if is_packed else raw
        while True:
            try:
                # One byte more than is admitted shows that there is more, and no further.
                block = stream.read(min(_BLOCK_BYTES, limit + 1 - total))
            except (gzip.BadGzipFile, EOFError, zlib.error) as error:
                raise UnreadableFileError(
                    "it is not whole gzip",
                    file=file,
                    expected="a file compressed with gzip",
                    found=f"{packed} bytes on which unpacking fails: {error}",
                    advice=f"The file may be cut off, or not compressed. {ASK_SENDER}",
                ) from error
            if not block:
                return
            total += len(block)
            if total > limit:
                found = f"more, from {packed} compressed" if is_packed else f"more than {limit}"
                raise _too_large(file, limit, found)
            yield block


def _is_gzip(file: str, file_format: FileFormat) -> bool:
    """Whether a file is to be unpacked, by the name that it was delivered under."""
    if file_format.compression == "auto":
        return file.lower().endswith(".gz")
    return file_format.compression == "gzip"


def _too_large(file: str, limit: int, found: str) -> UnreadableFileError:
    return UnreadableFileError(
        "it is larger than may be",
        file=file,
        expected=f"at most {limit} bytes uncompressed",
        found=found,
        advice="Have it delivered in parts, or raise max_bytes in the source's format.",
    )


class TextLines:
    """The lines of a text file, in lists of about one block, each line with its end.

    Args:
        blocks: The file's bytes.
        file_format: The declared encoding, and the longest line.
        file: The file, as the ledger names it.

    Attributes:
        head: The first bytes of the file, once iteration has begun.
    """

    def __init__(self, blocks: Iterator[bytes], file_format: FileFormat, file: str) -> None:
        self.head = b""
        self._blocks = blocks
        self._format = file_format
        self._file = file
        self._expected = f"{ENCODINGS[file_format.codec]} text"
        self._codec = file_format.codec
        # Lines that were given, and characters and bytes that were taken, for messages.
        self._lines = 0
        self._characters = 0
        self._bytes = 0
        self._rest: list[str] = []
        self._newlines = io.IncrementalNewlineDecoder(None, translate=False)

    def __iter__(self) -> Iterator[list[str]]:
        first = b""
        for block in self._blocks:
            first += block
            if len(first) >= _HEAD_BYTES:
                break
        self.head = first[:_HEAD_BYTES]
        self._bytes = len(first)
        text = self._without_mark(first)
        decoder = codecs.getincrementaldecoder(self._codec)()
        yield from self._part(self._decode(decoder, text, final=False), final=False)
        for block in self._blocks:
            self._bytes += len(block)
            yield from self._part(self._decode(decoder, block, final=False), final=False)
        yield from self._part(self._decode(decoder, b"", final=True), final=True)

    def _without_mark(self, block: bytes) -> bytes:
        """The first block without its byte order mark, with which the codec is settled."""
        if self._codec == "utf-8":
            return block.removeprefix(_UTF8_MARK)
        if self._codec == "utf-16":
            codec = _UTF16_MARKS.get(block[:2])
            if codec is None:
                raise self._error(
                    "the text has no byte order mark",
                    1,
                    f"the bytes {block[:4].hex(' ')}",
                    "Declare utf-8, utf-16-le or utf-16-be if it is one of them.",
                )
            self._codec = codec
            return block[2:]
        if _UTF16_MARKS.get(block[:2]) == self._codec:
            return block[2:]
        if block.startswith((_UTF8_MARK, *_UTF16_MARKS)):
            raise self._error(
                "the text is of another encoding",
                1,
                f"the bytes {block[:4].hex(' ')}",
                f"Declare the encoding it is of. {ASK_SENDER}",
            )
        return block

    def _decode(self, decoder: codecs.IncrementalDecoder, block: bytes, *, final: bool) -> str:
        try:
            text = decoder.decode(block, final)
        except UnicodeDecodeError as error:
            before = error.object[: error.start].decode(self._codec)
            # NULs say more of the file than the byte that is no character after them.
            self._require_no_nul(before)
            # The decoder may have kept bytes of the block before; the ends are aligned.
            offset = self._bytes - len(error.object) + error.start
            raise self._error(
                f"the text is not {ENCODINGS[self._codec]}",
                self._line_after(before),
                f"byte 0x{error.object[error.start]:02x} at offset {offset} ({error.reason})",
                f"Ask the sender for {ENCODINGS[self._codec]}, neither compressed nor in a "
                "national code page, or declare the encoding it is of.",
            ) from error
        self._require_no_nul(text)
        self._characters += len(text)
        return text

    def _require_no_nul(self, text: str) -> None:
        at = text.find("\x00")
        if at >= 0:
            raise self._error(
                "the text holds a NUL character",
                self._line_after(text[:at]),
                f"NUL at character {self._characters + at}",
                "It may be UTF-16, or a file whose tail was never written. " + ASK_SENDER,
            )

    def _part(self, text: str, *, final: bool) -> Iterator[list[str]]:
        """The whole lines there are now; what is not one yet is kept for the next block."""
        text = self._newlines.decode(text, final)
        if not final and "\n" not in text and "\r" not in text:
            self._rest.append(text)
            self._require_short(sum(map(len, self._rest)), self._rest, self._lines + 1)
            return
        # Not str.splitlines, which also parts at form feeds and other characters of values.
        lines = list(io.StringIO("".join([*self._rest, text]), newline=""))
        self._rest = [lines.pop()] if lines and not final and lines[-1][-1] not in "\r\n" else []
        candidates = [*lines, *self._rest]
        if 4 * max(map(len, candidates), default=0) > self._format.max_line_bytes:
            for number, line in enumerate(candidates, start=self._lines + 1):
                self._require_short(len(line), [line], number)
        self._lines += len(lines)
        if lines:
            yield lines

    def _require_short(self, characters: int, pieces: list[str], line: int) -> None:
        limit = self._format.max_line_bytes
        # No character takes more than four bytes; only long lines are measured exactly.
        if 4 * characters <= limit:
            return
        found = sum(len(piece.encode(self._codec)) for piece in pieces)
        if found > limit:
            raise UnreadableFileError(
                "a line is longer than may be",
                file=self._file,
                line=line,
                expected=f"at most {limit} bytes in a line",
                found=f"{found} bytes or more",
                advice="The line ends may be lost or a quote unpaired; else raise max_line_bytes "
                f"in the source's format. {ASK_SENDER}",
            )

    def _line_after(self, text: str) -> int:
        """The line on which the character after a text stands that follows what was given."""
        text = self._newlines.decode(text, True)
        return self._lines + len(_LINE_END.findall("".join([*self._rest, text]))) + 1

    def _error(self, problem: str, line: int, found: str, advice: str) -> UnreadableFileError:
        return UnreadableFileError(
            problem,
            file=self._file,
            line=line,
            expected=self._expected,
            found=found,
            advice=guess(self.head) + advice,
        )
