"""
The form of an upload, read as it arrives: fields are kept, the file's bytes are passed on.

Source: there is no written standard for uploads; RFC 7578 for the form, and the bodies that clients send.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from attrs import frozen
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from cheddar.errors import Invalid, TooLarge

MAX_BOUNDARY = 200
_MAX_HEADER_LINE = 4096
_MAX_HEADERS = 8
#: What stands before the first boundary: one line break at most, in what clients send.
_MAX_PREAMBLE = 1024

#: distutils' C{register} ends lines with a bare line feed; it has no file, so its body can be kept and mended.
MAX_BARE_LF_BODY = 1024 * 1024

# What "no value" looks like: of twine and uv, of distutils up to 3.8, of the distutils in setuptools.
_ABSENT = ("", "UNKNOWN", "None")
#: The fields that say one thing each, of the form and of core metadata 1.0 to 2.6; all others may be repeated, those
#: that nobody knows among them. C{keywords} is one as well, and distutils repeats it all the same.
SINGLE_USE = frozenset(
    {
        ":action",
        "protocol_version",
        "filetype",
        "pyversion",
        "comment",
        "md5_digest",
        "sha256_digest",
        "blake2_256_digest",
        "metadata_version",
        "name",
        "version",
        "summary",
        "description",
        "description_content_type",
        "home_page",
        "download_url",
        "author",
        "author_email",
        "maintainer",
        "maintainer_email",
        "license",
        "license_expression",
        "requires_python",
        "attestations",
    }
)

#: The parts that are files: the distribution file, and a signature of it.
_FILES = ("content", "gpg_signature")
# Of the file, but not the file; not kept.
_DROPPED = ("gpg_signature",)
_HARMLESS_ENCODINGS = ("binary", "8bit", "7bit")


@frozen(kw_only=True)
class FormLimits:
    """
    What a form may have.

    @ivar file: bytes of the file.
    @ivar parts: of all kinds, the file among them.
    @ivar field: bytes of one field.
    @ivar fields: bytes of all of them together.
    """

    file: int = 4 * 1024**3
    parts: int = 1024
    field: int = 4 * 1024**2
    fields: int = 16 * 1024**2

    @property
    def body(self) -> int:
        """Bytes that the whole form may have, with all that stands between its parts."""
        return self.file + self.fields + self.parts * (_MAX_HEADERS * _MAX_HEADER_LINE + MAX_BOUNDARY)


@frozen
class ParsedForm:
    """
    A form that arrived whole.

    @ivar fields: the values of each field, in order; absent values left out.
    @ivar filename: the file's name as the client has it, unchecked; None: there was no file.
    """

    fields: Mapping[str, tuple[str, ...]]
    filename: str | None

    @property
    def has_file(self) -> bool:
        """Whether there was a file."""
        return self.filename is not None


class UploadFormParser:
    """
    Reads one form.

    @ivar filename: the file's name, as soon as it is known.
    """

    def __init__(self, content_type: str, sink: Callable[[bytes], object], limits: FormLimits) -> None:
        """
        @param content_type: of the request.
        @param sink: takes the file's bytes as they come.
        @raise Invalid: the request is no form.
        """
        self.filename: str | None = None
        self._sink = sink
        self._limits = limits
        self._parts = 0
        boundary = _boundary(content_type)
        self._delimiter = b"--" + boundary.encode("ascii")
        self._parser = PushMultipartParser(
            boundary,
            max_header_size=_MAX_HEADER_LINE,
            max_header_count=_MAX_HEADERS,
        )
        # The body's start, until it is known how its lines end; all of it, where they end with a bare line feed.
        self._start: bytearray | None = bytearray()
        self._bare_lf: bool | None = None
        self._fields: dict[str, list[str]] = {}
        self._fields_size = 0
        self._part: MultipartSegment | None = None
        self._value = bytearray()

    @property
    def fields(self) -> Mapping[str, tuple[str, ...]]:
        """The fields that have arrived by now; absent values left out."""
        return MappingProxyType({name: tuple(values) for name, values in self._fields.items()})

    def feed(self, data: bytes) -> None:
        """
        Take the next bytes of the body.

        @raise Invalid: this is not such a form. [TooLarge]
        """
        if self._start is None:
            self._parse(data)
            return
        self._start += data
        if self._bare_lf is None:
            self._bare_lf = self._ends_lines_with_bare_lf(self._start)
        if self._bare_lf is False:
            start, self._start = bytes(self._start), None
            self._parse(start)
        elif len(self._start) > MAX_BARE_LF_BODY:
            raise TooLarge(
                f"A form whose lines end with a bare line feed may have {MAX_BARE_LF_BODY // 1024} KiB at most; end "
                "lines with carriage return and line feed."
            )

    def finish(self) -> ParsedForm:
        """
        The body has ended.

        @raise Invalid: it ended too early. [TooLarge]
        """
        if self._start is not None:
            start, self._start = bytes(self._start), None
            if self._bare_lf:
                start = start.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
            self._parse(start)
        try:
            self._parser.close()
        except MultipartError:
            raise Invalid("The form ends before its last boundary: it was cut off on its way. Send it again.") from None
        return ParsedForm(self.fields, self.filename)

    def _ends_lines_with_bare_lf(self, start: bytearray) -> bool | None:
        """Whether the line of the first boundary ends so; None: it has not ended yet."""
        first = start.find(self._delimiter)
        end = -1 if first < 0 else start.find(b"\n", first)
        if end < 0 and len(start) <= _MAX_PREAMBLE + MAX_BOUNDARY:
            return None
        if end < 0 or first > _MAX_PREAMBLE:
            raise Invalid("The form does not begin with the boundary that the request's Content-Type names.")
        return start[end - 1 : end] != b"\r"

    def _parse(self, data: bytes) -> None:
        if not data:
            # To the parser an empty chunk is the end of the body.
            return
        try:
            for event in self._parser.parse(data):
                if event is None:
                    self._end_part()
                elif isinstance(event, MultipartSegment):
                    self._begin_part(event)
                else:
                    self._take(event)
        except MultipartError as error:
            raise Invalid(f"The form cannot be read: {error}.") from error

    def _begin_part(self, part: MultipartSegment) -> None:
        self._parts += 1
        if self._parts > self._limits.parts:
            raise TooLarge(f"The form has more than {self._limits.parts} parts, the most that this server takes.")
        encoding = part.header("Content-Transfer-Encoding", "binary").strip().lower()
        if any("\n" in value or "\r" in value for _, value in part.headerlist):
            # The parser notices these or not, as the network cuts the body.
            raise Invalid("A header of the form has a line end in its value.")
        if encoding not in _HARMLESS_ENCODINGS:
            # Decoding it would store other bytes than were sent (RFC 7578, 4.7, deprecates it).
            raise Invalid(f"Content-Transfer-Encoding {encoding[:40]!r} is not supported: send the bytes as they are.")
        if "filename*" in part.header("Content-Disposition", "").lower():
            raise Invalid("The file's name must be sent as filename, not as filename* (RFC 7578, 4.2).")
        if part.name == "content" and part.filename is None:
            raise Invalid("The part named content must have a filename.")
        if part.name not in _FILES and part.filename is not None:
            raise Invalid(
                f"The form's field {part.name[:40]!r} has a filename: send the file as content, and other fields as "
                "plain values."
            )
        self._part = part
        if self._is_content(part):
            if self._bare_lf:
                raise Invalid("A file needs a form whose lines end with carriage return and line feed.")
            if self.filename is not None:
                raise Invalid("The form has two files; send one at a time.")
            self.filename = part.filename

    def _take(self, data: bytes) -> None:
        part = self._part
        if part is None:
            raise Invalid("The form cannot be read: bytes outside of any part.")
        if self._is_content(part):
            if part.bytes_received > self._limits.file:
                raise TooLarge(f"The file is larger than {self._limits.file} bytes, the most that this server takes.")
            self._sink(bytes(data))
            return
        self._fields_size += len(data)
        if part.bytes_received > self._limits.field or self._fields_size > self._limits.fields:
            raise TooLarge(
                f"The form's field {part.name[:40]!r} is too large: one may have {self._limits.field} bytes, all of "
                f"them together {self._limits.fields}."
            )
        if part.name not in _DROPPED:
            self._value += data

    def _end_part(self) -> None:
        part, self._part = self._part, None
        raw, self._value = bytes(self._value), bytearray()
        if part is None or part.filename is not None or not part.name or part.name in _DROPPED:
            return
        value = _decode(raw.replace(b"\r\n", b"\n") if self._bare_lf else raw)
        if value.strip() in _ABSENT:
            return
        if part.name in SINGLE_USE and part.name in self._fields:
            raise Invalid(f"The form gives the field {part.name} more than once: it has one value.")
        self._fields.setdefault(part.name, []).append(value)

    @staticmethod
    def _is_content(part: MultipartSegment) -> bool:
        return part.filename is not None and part.name not in _DROPPED


def _boundary(content_type: str) -> str:
    kind, options = parse_options_header(content_type)
    boundary = options.get("boundary", "")
    if kind != "multipart/form-data" or not boundary:
        raise Invalid("An upload is a form: send it as multipart/form-data, with a boundary.")
    if len(boundary) > MAX_BOUNDARY or not boundary.isascii() or not boundary.isprintable():
        raise Invalid(f"The form's boundary is not allowed: at most {MAX_BOUNDARY} printable ASCII characters.")
    return str(boundary)


def _decode(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
