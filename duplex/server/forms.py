"""Reads the form of a request (multipart/form-data)."""

from dataclasses import dataclass, field

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from duplex.errors import ProtocolError
from duplex.protocol.codes import Code

_MAX_FIELDS = 64
_MAX_TEXT_BYTES = 64 * 1024  # of all fields that are no file


@dataclass(slots=True)
class Form:
    """The fields by name, each with its values in order, and the files likewise."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    def one(self, name: str, default: str = "") -> str:
        """The last value of a field, without spaces around it."""
        return self.fields.get(name, [default])[-1].strip()

    def content(self, name: str) -> bytes | None:
        """A field, or the file of that name; None if there is neither."""
        return self.one(name).encode() if name in self.fields else self.files.get(name)

    def all(self, name: str) -> list[str]:
        """All values of a field, also if it is written as a list (``name[]``)."""
        return [*self.fields.get(name, []), *self.fields.get(f"{name}[]", [])]


def read_form(content_type: str, body: bytes) -> Form:
    """Return the form in ``body``.

    Raises:
        ProtocolError: it is none.
    """
    kind, options = parse_options_header(content_type)
    boundary = options.get("boundary", "")
    if kind != "multipart/form-data" or not boundary:
        raise ProtocolError(
            "The body must be multipart/form-data, with a boundary.", code=Code.INVALID_VALUE
        )
    form = Form()
    segment: MultipartSegment | None = None
    data = bytearray()
    text_bytes = 0
    try:
        with PushMultipartParser(boundary, max_segment_count=_MAX_FIELDS) as parser:
            for event in parser.parse(body):
                if isinstance(event, MultipartSegment):
                    segment, data = event, bytearray()
                elif event is None:
                    assert segment is not None, "a segment ends after its beginning"
                    _keep(form, segment, data)
                else:
                    data += event
                    text_bytes += len(event) if segment and segment.filename is None else 0
                    if text_bytes > _MAX_TEXT_BYTES:
                        raise ProtocolError(
                            "The fields of the form are too long.", code=Code.INVALID_VALUE
                        )
    except (MultipartError, ValueError) as error:
        raise ProtocolError(f"The form cannot be read: {error}", code=Code.INVALID_VALUE) from error
    return form


def _keep(form: Form, segment: MultipartSegment, data: bytearray) -> None:
    if segment.filename is not None:
        form.files[segment.name] = bytes(data)
    else:
        form.fields.setdefault(segment.name, []).append(data.decode("utf-8", "replace"))
