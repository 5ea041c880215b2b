"""The library's errors -> ours: the key, what was expected, what was given."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema

from rvos.errors import InputError
from rvos.settings.problems import Problem, WrongValues

CONFIG = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


def wrong_values(
    error: ValidationError, described: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> WrongValues:
    """What pydantic found in the arguments of `described`, one problem per key of conf/.

    Raises TypeError for too many values without names: a mistake in a program.
    """
    schema = _schema(described)
    names = list(inspect.signature(described).parameters)
    given = dict(zip(names, args, strict=False)) | dict(kwargs)
    absent: dict[tuple[str, str], list[str]] = {}  # {(object, what): its keys}
    problems: dict[str, Problem] = {}
    for mistake in error.errors(include_url=False):
        kind, (first, *rest) = mistake["type"], mistake["loc"] or ("",)
        if kind == "unexpected_positional_argument":
            count = f"takes {first} values without their names, got {len(args)}"
            raise TypeError(f"{described.__qualname__}: {count}")
        loc = [names[first] if isinstance(first, int) else first, *map(str, rest)]
        cause = mistake.get("ctx", {}).get("error")
        if isinstance(cause, WrongValues):
            problems |= {str(problem.key): problem for problem in cause.wrong}
        elif isinstance(cause, InputError):
            problems |= {text: Problem(None, text) for text in cause.messages}
        elif kind.startswith(("missing", "unexpected")) and loc[-1] == mistake["loc"][-1]:
            what = "key missing" if kind.startswith("missing") else "no such key"
            absent.setdefault((".".join(loc[:-1]), what), []).append(loc[-1])
        else:
            keys, expected = _place(loc, schema)
            text = f"expected {expected or cause or mistake['msg']}, got {_value(given, keys)!r}"
            problems[".".join(keys)] = Problem(".".join(keys), text)
    lists = [
        Problem(key, f"{what}: {', '.join(sorted(keys))}")
        for (key, what), keys in sorted(absent.items(), reverse=True)  # unknown ones first
    ]
    return WrongValues([*lists, *problems.values()], described.__qualname__)


# As a schema names them, and (of `Annotated[Real, ...]`) as pydantic does.
_LIMITS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
_LIMITS |= {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


class _Schema(GenerateJsonSchema):
    ignored_warning_kinds = {"non-serializable-default", "skipped-choice"}

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> dict[str, Any]:
        return {"description": f"an object {schema['cls'].__name__}"} if "cls" in schema else {}


def _schema(described: Any) -> dict[str, Any]:
    """The JSON schema of a class or function, from which messages are worded."""
    config = None if isinstance(described, type) else CONFIG
    return TypeAdapter(described, config=config).json_schema(schema_generator=_Schema)


def _place(loc: Sequence[str], schema: dict[str, Any]) -> tuple[list[str], str]:
    """The key of conf/ in which an error lies, as its parts, and what is expected of its value."""
    keys: list[str] = []
    node = schema
    for part in loc:
        options = [node, *node.get("anyOf", ())]
        refs = [schema["$defs"][o["$ref"].rpartition("/")[2]] for o in options if "$ref" in o]
        inside = [o["properties"][part] for o in [node, *refs] if part in o.get("properties", {})]
        if not inside:
            break
        node = inside[0]
        keys.append(part)
    return keys, "" if node is schema else in_words(node)


def _value(given: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        given = given[key] if isinstance(given, Mapping) else getattr(given, key)
    return given


def in_words(schema: Mapping[str, Any]) -> str:
    """What a JSON schema allows."""
    items = schema.get("items") or schema.get("prefixItems", [{}])[0]
    if text := schema.get("description"):
        return text.format(in_words(items)) if "{}" in text else text
    if "$ref" in schema:
        return f"the keys of {schema['$ref'].rpartition('/')[2]}"
    if "anyOf" in schema:
        texts = [in_words(option) for option in schema["anyOf"] if option != {"type": "null"}]
        return " or ".join(texts) + ", or null" * ({"type": "null"} in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return " or ".join(map(str, schema.get("enum", [schema.get("const")])))
    match schema.get("type"):
        case "integer" | "number" as kind:
            limits = [f"{sign} {schema[n]:g}" for n, sign in _LIMITS.items() if n in schema]
            number = "a whole number" if kind == "integer" else "a number"
            return " ".join([number, " and ".join(limits)]).rstrip()
        case "boolean":
            return "true or false"
        case "string":
            return "a text"
        case "array":
            least = schema.get("minItems")
            exactly = "" if least == schema.get("maxItems") else "at least "
            count = f" of {exactly}{least}" if least else ""
            return f"a list{count}, each {in_words(items)}" if items else f"a list{count}"
        case "object":
            return f"{{name: {in_words(schema.get('additionalProperties') or {}) or 'value'}}}"
    return ""
