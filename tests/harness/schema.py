# SPDX-License-Identifier: Apache-2.0
"""Every answer against the swagger file of Docker's Engine API: status, content type, and the body's types, required,
enumerated and unknown members. What Docker itself does otherwise than its file says stands in schema_exceptions.py."""
import functools
import json
import os
import re
import threading

from harness import schema_exceptions as exceptions
from harness.shell import TREE

FILE = os.environ.get("CAISSON_ENGINE_API") or os.path.join(os.path.dirname(TREE), "shared/spec/docker-engine-v1.51.yaml")
LATEST = 51
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
RANGES = {"int64": (-2**63, 2**63 - 1), "int32": (-2**31, 2**31 - 1), "uint64": (0, 2**64 - 1), "uint32": (0, 2**32 - 1), "uint16": (0, 65535), "uint8": (0, 255)}
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}
ERROR = {"$ref": "#/definitions/ErrorResponse"}

violations = []  # found outside the test's own thread, for the fixture that asks at its end


def available():
    try:
        import yaml  # noqa: F401
    except ImportError:
        return "python3-yaml is not installed"
    return None if os.path.exists(FILE) else "no swagger file of the Engine API beside the tree"


@functools.lru_cache(maxsize=1)
def engine_api():
    """The rules, or None where they are not to be had."""
    if available() or os.environ.get("CAISSON_TEST_REFERENCE"):
        return None
    import yaml
    with open(FILE, encoding="utf-8") as file:
        return Schema(yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def check(method, target, status, headers, body):
    """Raises AssertionError for an answer that breaks the rules."""
    rules = engine_api()
    found = rules.check(method, target, status, headers, body) if rules else []
    if not found:
        return
    text = f"{method} {target} answered {status} otherwise than the API says:\n  " + "\n  ".join(found)
    if threading.current_thread() is not threading.main_thread():
        violations.append(text)
    raise AssertionError(text)


def check_raw(request, answer):
    """The first answer to raw bytes, where those were one request and the answer is whole."""
    line = re.match(rb"([A-Z]+) (/[!-~]*) HTTP/1\.[01]\r\n", request)
    head, separator, body = answer.partition(b"\r\n\r\n")
    status = re.match(rb"HTTP/1\.[01] (\d{3})", head)
    if not line or not separator or not status:
        return
    headers = {k.strip().lower(): v.strip() for k, _, v in (h.partition(":") for h in head.decode("latin-1").split("\r\n")[1:])}
    if "chunked" in headers.get("transfer-encoding", "") or status[1] == b"100":
        return
    if status[1] != b"101" and "content-length" in headers:
        body = body[:int(headers["content-length"])]
        if len(body) < int(headers["content-length"]) and line[1] != b"HEAD":
            return
    check(line[1].decode(), line[2].decode(), int(status[1]), headers, body)


def split_version(target):
    path = target.split("?")[0]
    match = re.match(r"/v1\.(\d{1,3})(?=/)", path)
    return (int(match[1]), path[match.end():]) if match else (LATEST, path)


class Schema:
    def __init__(self, document):
        self.definitions, self.produces = document["definitions"], document["produces"]
        self.operations = []
        for path, methods in document["paths"].items():
            # Names of images hold slashes; paths with more words of their own are tried first.
            pattern = "".join(re.escape(p) if not p.startswith("{") else (".+" if re.match("/(images|distribution|plugins)", path) else "[^/]+")
                              for p in re.split(r"(\{\w+\})", path))
            weight = (path.count("{"), -len(path))
            self.operations += [(weight, method.upper(), path, re.compile(pattern), operation) for method, operation in methods.items() if "responses" in operation]
        self.operations.sort(key=lambda entry: entry[0])

    def find(self, method, path):
        for _, name, pattern, regex, operation in self.operations:
            if name == method and regex.fullmatch(path):
                return pattern, operation
        return None, None

    def check(self, method, target, status, headers, body):
        version, path = split_version(target)
        pattern, operation = self.find(method, path)
        lower = {k.lower(): v for k, v in headers.items()}
        kind = lower.get("content-type", "").split(";")[0].strip()
        if status >= 400:
            return self.check_error(method, pattern, operation, status, kind, body)
        if operation is None:
            own = (method, path) in exceptions.OWN_ROUTES or any(method == m and re.fullmatch(p, path) for m, p in exceptions.OWN_ROUTES)
            return [] if own or method == "HEAD" else ["an endpoint that the API does not name"]
        name = f"{method} {pattern}"
        if status not in operation["responses"]:
            return [] if (name, status) in exceptions.STATUSES else [f"status {status} is not one of the endpoint's: {sorted(operation['responses'])}"]
        if status in (204, 304) or method == "HEAD":
            return [f"a body where there may be none: {body[:60]!r}"] if body else []
        schema = operation["responses"][status].get("schema") or exceptions.STREAMS.get(name)
        wanted = exceptions.CONTENT_TYPES.get(name) or operation.get("produces") or self.produces
        out = []
        if (body or status == 101) and kind not in wanted:
            out.append(f"content type '{kind}' is not one of {wanted}")
        if schema is None:
            return out + ([f"a body where the API has none: {body[:60]!r}"] if body and "produces" not in operation else [])
        if kind != "application/json":
            return out
        return out + self.check_json(name, version, schema, body)

    def check_error(self, method, pattern, operation, status, kind, body):
        out = []
        if operation is not None and status not in operation["responses"] and status not in exceptions.ANY_STATUS:
            name = f"{method} {pattern}"
            if (name, status) not in exceptions.STATUSES:
                out.append(f"status {status} is not one of the endpoint's: {sorted(operation['responses'])}")
        if method == "HEAD":
            return out
        if kind != "application/json":
            return out + [f"an error of content type '{kind}'"]
        problems = self.check_json(f"{method} {pattern}", LATEST, ERROR, body)
        message = "" if problems else json.loads(body)["message"].strip()
        if not problems and (not message or "\n" in message):
            problems.append(f"the message is not one sentence: {message!r}")
        return out + problems

    def check_json(self, name, version, schema, body):
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            return [f"not UTF-8: {error}"]
        values, decoder, rest = [], json.JSONDecoder(parse_constant=lambda word: word), text.strip()
        try:
            while rest:
                value, end = decoder.raw_decode(rest)
                values.append(value)
                rest = rest[end:].lstrip()
        except ValueError as error:
            return [f"not JSON: {error}: {rest[:80]!r}"]
        is_stream = name in exceptions.STREAMS and schema != ERROR
        if is_stream:
            schema = exceptions.STREAMS[name]
        if len(values) != 1 and not is_stream:
            return [f"{len(values)} JSON values instead of one"]
        out = []
        for value in values:
            if value is None and name in exceptions.NULL_BODIES:
                continue
            out += self.validate(value, schema, "", version)
        return sorted(set(out))

    # --- one value -----------------------------------------------------------------------------------

    def resolve(self, schema):
        """(schema without $ref and allOf, name of the definition)"""
        name = ""
        while "$ref" in schema:
            name = schema["$ref"].rsplit("/", 1)[1]
            nullable = schema.get("x-nullable")
            schema = self.definitions[name]
            if nullable:
                schema = {**schema, "x-nullable": True}
        if "allOf" in schema:
            merged = {k: v for k, v in schema.items() if k != "allOf"}
            merged["properties"] = dict(schema.get("properties", {}))
            merged["required"] = list(schema.get("required", []))
            for part in schema["allOf"]:
                part, part_name = self.resolve(part)
                name = name or part_name
                merged["properties"].update(part.get("properties", {}))
                merged["required"] += part.get("required", [])
                for key in ("additionalProperties", "type", "enum", "format"):
                    if key in part:
                        merged.setdefault(key, part[key])
            schema = merged
        return schema, name

    def validate(self, value, schema, where, version):
        schema, name = self.resolve(schema)
        if name:
            where = name
        if value is None:
            return self.check_null(schema, where)
        kind = schema.get("type") or ("object" if "properties" in schema else None)
        if kind is None:
            return []
        if not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
            return [] if (where, type(value).__name__) in exceptions.TYPES else [f"{where or 'body'}: {kind} expected, not {json.dumps(value)[:60]}"]
        if "enum" in schema and value not in schema["enum"] and (where, value) not in exceptions.ENUM_VALUES:
            return [f"{where}: {value!r} is not one of {schema['enum']}"]
        if kind == "object":
            return self.check_object(value, schema, where, version)
        if kind == "array":
            return self.check_array(value, schema, where, version)
        return self.check_scalar(value, schema, where)

    def check_null(self, schema, where):
        if schema.get("x-nullable") or where in exceptions.NULLABLE or not schema.get("type", schema.get("properties")):
            return []
        return [f"{where or 'body'}: null is not allowed"]

    def check_object(self, value, schema, where, version):
        properties, out = schema.get("properties", {}), []
        for key in schema.get("required", []):
            if key not in value and not exceptions.may_be_missing(f"{where}.{key}", version):
                out.append(f"{where}.{key}: required and missing")
        other = schema.get("additionalProperties")
        for key, member in value.items():
            if key in properties:
                out += self.validate(member, properties[key], f"{where}.{key}", version)
            elif isinstance(other, dict):
                out += self.validate(member, other, f"{where}.*", version)
            elif properties and not other and not exceptions.may_be_there(f"{where}.{key}", version):
                out.append(f"{where}.{key}: not a member that the API names")
        return out

    def check_array(self, value, schema, where, version):
        out = []
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            out.append(f"{where}: {len(value)} items")
        for member in value:
            out += self.validate(member, schema.get("items", {}), where + "[]", version)
        return out

    def check_scalar(self, value, schema, where):
        shape = schema.get("format")
        out = []
        low, high = RANGES.get(shape, (value, value))
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            low, high = max(low, schema.get("minimum", low)), min(high, schema.get("maximum", high))
            if not low <= value <= high and where not in exceptions.OUT_OF_RANGE:
                out.append(f"{where}: {value} is outside {low}..{high}")
        if shape in ("date-time", "dateTime") and isinstance(value, str) and not RFC3339.fullmatch(value) and where not in exceptions.NO_TIME:
            out.append(f"{where}: {value!r} is no time of RFC 3339")
        if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
            out.append(f"{where}: {value!r} does not match {schema['pattern']!r}")
        if isinstance(value, str) and not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            out.append(f"{where}: {len(value)} characters")
        return out
