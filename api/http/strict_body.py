"""Bodies of Litestar routes, taken literally.

Litestar converts bodies leniently: `"10"` passes for 10 and 1 for true. With
`Litestar(dto=StrictBody)` a handler's `data` goes through `strict_json.decode` instead, so types
mean what they say and a refusal names its field. A form has only strings: there, and only there,
they are converted; which routes take forms is the door's to say.
"""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import msgspec
from litestar import Request
from litestar.dto import AbstractDTO
from litestar.dto.data_structures import DTOFieldDefinition
from litestar.enums import RequestEncodingType
from litestar.openapi.spec import Reference, Schema
from litestar.typing import FieldDefinition

from api.http.problems import shape_problem
from api.http.strict_json import decode

if TYPE_CHECKING:
    # Private names that the hook's signature mentions; at run time nothing depends on them.
    from litestar._openapi.schema_generation import SchemaCreator
    from litestar.dto._backend import DTOBackend


class StrictBody(AbstractDTO[Any]):
    """The hook where Litestar lets one decode `data`; nothing else of a DTO is used."""

    def decode_bytes(self, value: bytes) -> Any:
        """The body as what the handler says `data` is; raises `HttpProblem`."""
        request = self.asgi_connection
        assert isinstance(request, Request)
        field = request.route_handler.parsed_data_field
        assert field is not None
        if request.content_type[0] != RequestEncodingType.URL_ENCODED:
            return decode(value, field.annotation)
        form = dict(parse_qsl(value.decode(), keep_blank_values=True))
        try:
            return msgspec.convert(form, field.annotation, strict=False)
        except msgspec.ValidationError as exc:
            raise shape_problem(str(exc)) from None

    @classmethod
    def create_for_field_definition(
        cls,
        field_definition: FieldDefinition,
        handler_id: str,
        backend_cls: "type[DTOBackend] | None" = None,
    ) -> None:
        """Nothing to prepare: the handler's own type is the model."""

    @classmethod
    def create_openapi_schema(
        cls, field_definition: FieldDefinition, handler_id: str, schema_creator: "SchemaCreator"
    ) -> Reference | Schema:
        """As without a DTO."""
        return schema_creator.for_field_definition(field_definition)

    @classmethod
    def is_supported_model_type_field(cls, field_definition: FieldDefinition) -> bool:
        """False: answers are encoded as they are. (Litestar asks this for answers only.)"""
        return False

    @classmethod
    def generate_field_definitions(
        cls, model_type: type[Any]
    ) -> Generator[DTOFieldDefinition, None, None]:
        """No fields are transferred one by one."""
        yield from ()

    @classmethod
    def detect_nested_field(cls, field_definition: FieldDefinition) -> bool:
        """Nothing is nested, as far as the DTO knows."""
        return False
