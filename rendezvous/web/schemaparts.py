"""What the schemas of several protocols are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rendezvous.limits import MAX_INTEGER, MAX_WAIT

__all__ = [
    "ANY", "AT_LEAST_ONE", "BASE64", "CLIENT_ID", "COUNT", "DURATION", "KEY", "MORE", "MS", "NEXT", "SECONDS", "TEXT",
    "TRUE", "WAIT", "Schema", "many", "nullable", "paged", "record", "ref", "text", "whole", "worked",
]  # fmt: skip

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
TRUE: Schema = {"const": True}
AT_LEAST_ONE: Schema = {"type": "integer", "minimum": 1}
COUNT: Schema = {"type": "integer", "minimum": 0}
DURATION: Schema = {"type": "number", "minimum": 0, "description": "Seconds."}
MS: Schema = {"type": "integer", "minimum": 0, "description": "Milliseconds since the epoch."}
SECONDS: Schema = {"type": "number", "minimum": 0, "description": "Seconds since the epoch."}
CLIENT_ID: Schema = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
KEY: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
BASE64 = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
ANY: Schema = {"description": "Any JSON."}
MORE: Schema = {"type": "boolean", "description": "Whether there is another page."}
NEXT: Schema = {
    "type": "string",
    "description": "The position of the next page, to be sent back as it is. It is there if hasMore is true.",
}
WAIT = f"Seconds to hold the answer until there is something new; more than {MAX_WAIT:g} means {MAX_WAIT:g}."


def record(optional: Sequence[str] = (), **fields: Schema) -> Schema:
    """:returns: an object with these fields, all required but those that are optional."""
    needed = [name for name in fields if name not in optional]
    return {"type": "object", "required": needed, "properties": fields}


def paged(**fields: Schema) -> Schema:
    """:returns: an object with these fields that holds a page of a listing."""
    return record(optional=("next",), **fields, hasMore=MORE, next=NEXT)


def ref(name: str) -> Schema:
    """:returns: another schema of this module."""
    return {"$ref": f"#/components/schemas/{name}"}


def many(item: Schema, **bounds: int) -> Schema:
    """:returns: a list; ``minItems`` and ``maxItems`` are its bounds."""
    return {"type": "array", "items": item, **bounds}


def text(least: int, most: int, description: str = "") -> Schema:
    """:returns: a string with a length in characters."""
    schema: Schema = {"type": "string", "minLength": least, "maxLength": most}
    return {**schema, "description": description} if description else schema


def nullable(schema: Schema) -> Schema:
    """:returns: the same or ``null``, which in a request is the same as absent."""
    return {**schema, "type": [schema["type"], "null"]}


def whole(least: int) -> Schema:
    """:returns: an integer that JSON can express exactly, and that is not less than this."""
    return {"type": "integer", "minimum": least, "maximum": MAX_INTEGER}


def worked(value: object) -> Schema:
    """:returns: what says in OpenAPI that a parameter, a body or an answer has this value in a worked request."""
    return {"examples": {"worked": {"value": value}}}
