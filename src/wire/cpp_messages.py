"""The C++ of one schema file: header() and source()."""

import re

import schema
from schema import Field, Message, Struct, Versions

CPP_TYPES = {
    "bool": "bool", "int8": "int8_t", "int16": "int16_t", "uint16": "uint16_t", "int32": "int32_t", "uint32": "uint32_t",
    "int64": "int64_t", "float64": "double", "error": "ErrorCode", "string": "std::string", "uuid": "Uuid",
    "bytes": "ByteView", "records": "Records",
}  # fmt: skip
FIXED_BYTES = {"bool": 1, "int8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "int64": 8, "float64": 8, "error": 2, "uuid": 16}
LENGTH_BYTES = {"string": 2, "bytes": 4, "records": 4}
METHODS = {"bool": "boolean", "float64": "float64", "error": "error", "string": "text", "uuid": "uuid", "bytes": "bytes", "records": "records"}


def minimal_bytes(field: Field, flexible: bool, version: int) -> int:
    """What a field takes at least in a message of that version."""
    if version not in field.versions or field.tag is not None:
        return 0
    if field.array:
        return 1 if flexible else 4
    if field.struct and field.nullable:
        return 1
    if field.struct:
        return struct_minimal_bytes(field.struct, flexible, version)
    if field.type in LENGTH_BYTES:
        return 1 if flexible else LENGTH_BYTES[field.type]
    return FIXED_BYTES[field.type]


def struct_minimal_bytes(struct: Struct, flexible: bool, version: int) -> int:
    return sum(minimal_bytes(field, flexible, version) for field in struct.fields) + (1 if flexible else 0)


def element_minimal_bytes(message: Message, field: Field) -> int:
    """The least that an element of the array takes, over all versions."""
    sizes = []
    for version in range(field.versions.low, field.versions.high + 1):
        flexible = version in message.flexible
        if field.struct:
            sizes.append(struct_minimal_bytes(field.struct, flexible, version))
        elif field.type in LENGTH_BYTES:
            sizes.append(1 if flexible else LENGTH_BYTES[field.type])
        else:
            sizes.append(FIXED_BYTES[field.type])
    return max(1, min(sizes))


def condition(versions: Versions, within: Versions) -> str:
    """C++ that is true in those versions; "" where that is always so."""
    terms = []
    if versions.low > within.low:
        terms.append(f"version >= {versions.low}")
    if versions.high < within.high:
        terms.append(f"version <= {versions.high}")
    if len(terms) == 2 and versions.low == versions.high:
        return f"version == {versions.low}"
    return " && ".join(terms)


def flexible_versions(message: Message, struct: Struct) -> Versions:
    return Versions(max(message.flexible.low, struct.versions.low), struct.versions.high) if message.flexible else schema.NO_VERSIONS


def declare_flexible(message: Message, struct: Struct) -> str:
    versions = flexible_versions(message, struct)
    if not versions:
        return "  [[maybe_unused]] constexpr bool flexible = false;"
    if versions == struct.versions:
        return "  [[maybe_unused]] constexpr bool flexible = true;"
    return f"  [[maybe_unused]] const bool flexible = version >= {versions.low};"


def holds(struct: Struct, *types: str) -> bool:
    return any(holds(field.struct, *types) if field.struct else field.type in types for field in struct.fields)


def tells_errors(message: Message) -> bool:
    return message.kind == "response" and holds(message.root, "error")


def element_type(message: Message, field: Field) -> str:
    return f"{message.name}::{field.struct.name}" if field.struct else CPP_TYPES[field.type]


def cpp_type(field: Field) -> str:
    inner = field.struct.name if field.struct else CPP_TYPES[field.type]
    if field.array:
        inner = f"std::vector<{inner}>"
    return f"std::optional<{inner}>" if field.nullable else inner


def initializer(field: Field) -> str:
    """What stands after the member's name."""
    default = field.default
    if field.nullable:
        if default == "null" or field.type == "records":
            return ""
        inner = cpp_type(field).removeprefix("std::optional<").removesuffix(">")
        return f" = {inner}()"
    if field.array or field.struct or field.type in ("string", "uuid", "bytes", "records"):
        return "{}"
    if field.type == "error":
        return " = ErrorCode::kNone"
    if default in ("-2147483648", "-9223372036854775808"):
        return f" = std::numeric_limits<{CPP_TYPES[field.type]}>::min()"
    if field.type == "bool":
        return f" = {default or 'false'}"
    return f" = {default or 0}"


def differs(field: Field, value: str) -> str:
    """C++ that is true where `value` is not the field's default."""
    if field.nullable:
        return f"{value}.has_value()" if not initializer(field) else f"!({value} && {value}->empty())"
    if field.array or field.type in ("string", "bytes", "records"):
        return f"!{value}.empty()"
    if field.type == "uuid":
        return f"!{value}.is_zero()"
    if field.struct:
        return f"{value} != decltype({value}){{}}"
    if field.type == "bool" and not field.default:
        return value
    return f"{value} != {initializer(field).removeprefix(' = ')}"


# Headers.


def struct_members(struct: Struct) -> list[str]:
    lines = []
    for field in struct.fields:
        comment = f"  // {field.comment}" if field.comment else ""
        lines.append(f"{cpp_type(field)} {field.name}{initializer(field)};{comment}")
    return lines


def equality(struct: Struct) -> list[str]:
    if holds(struct, "bytes", "records"):
        return []
    return [f"friend bool operator==(const {struct.name}&, const {struct.name}&) = default;"]


def nested(message: Message) -> list[str]:
    lines = []
    for struct in message.structs():
        lines.append(f"  struct {struct.name} {{")
        lines += [f"    {line}" for line in struct_members(struct) + equality(struct)]
        lines += ["  };", ""]
    return lines


def message_header(message: Message) -> list[str]:
    lines = [f"struct {message.name} {{"]
    if message.kind in ("request", "response"):
        lines.append(f"  static constexpr ApiKey kApiKey = ApiKey::k{message.api};")
        other = "Response" if message.kind == "request" else "Request"
        lines.append(f"  using {other} = {message.api}{other};")
    if message.kind == "key":
        lines.append(f"  static constexpr int16_t kRecordType = {message.key};")
    lines += [
        f'  static constexpr const char* kName = "{message.name}";',
        f"  static constexpr int16_t kMinVersion = {message.versions.low};",
        f"  static constexpr int16_t kMaxVersion = {message.versions.high};",
        f"  static constexpr int16_t kFlexibleFrom = {message.flexible.low if message.flexible else 'kNeverFlexible'};",
        "",
    ]
    lines += nested(message)
    lines += [f"  {line}" for line in struct_members(message.root)]
    lines += [
        "",
        f"  static Result<{message.name}> decode(ByteReader& in, int16_t version);",
        "  [[nodiscard]] Status encode(ByteWriter& out, int16_t version) const;",
    ]
    if holds(message.root, "records"):
        lines += [
            "  // As encode(), but leaves out large record batches and says where they go.",
            "  [[nodiscard]] Status encode(ByteWriter& out, int16_t version, std::vector<RecordSlice>& slices) const;",
        ]
    if tells_errors(message):
        lines += ["  // Append the codes in it that are not kNone.", "  void collect_errors(std::vector<ErrorCode>& errors) const;"]
    lines += [f"  {line}" for line in equality(message.root)]
    return lines + ["};", ""]


def header(messages: list[Message], source: str) -> str:
    lines = [
        f"// Generated from src/wire/schema/{source}; src/wire/README.md says what it promises.",
        "#pragma once",
        "",
        "#include <limits>",
        "#include <optional>",
        "#include <string>",
        "#include <vector>",
        "",
        '#include "base/byte_reader.h"',
        '#include "base/byte_writer.h"',
        '#include "base/uuid.h"',
        '#include "wire/api.h"',
        '#include "wire/error_code.h"',
        '#include "wire/record_slice.h"',
        "",
        "namespace millrace::wire {",
        "",
    ]
    lines += [f"struct {message.name};" for message in messages] + [""]
    for message in messages:
        if message.comment:
            lines.append(f"// {message.comment}")
        lines += message_header(message)
    return "\n".join(lines + ["}  // namespace millrace::wire", ""])


# Decoders.


def read_field(message: Message, field: Field, flexible: str, value: str) -> list[str]:
    """Statements that read one field into the lvalue `value`."""
    if field.array:
        minimal = element_minimal_bytes(message, field)
        arguments = f"{flexible}, {minimal}, sizeof({element_type(message, field)})"
        read_element = "read(in, version, element);" if field.struct else read_scalar(field, flexible, "element")
        if not field.nullable:
            return [f"{value}.resize(in.count({arguments}));", f"for (auto& element : {value}) {read_element}"]
        return [
            f"if (const auto count = in.nullable_count({arguments})) {{",
            f"  for (auto& element : {value}.emplace(*count)) {read_element}",
            "} else {",
            f"  {value}.reset();",
            "}",
        ]
    if field.struct and field.nullable:
        # A value is passed in since clang takes a struct nested in the message for one that has no default.
        fresh = f"{value}.emplace({element_type(message, field)}())"
        return ["if (in.present()) {", f"  read(in, version, {fresh});", "} else {", f"  {value}.reset();", "}"]
    if field.struct:
        return [f"read(in, version, {value});"]
    if field.nullable:
        return [f"in.nullable_{METHODS[field.type]}({flexible}, {value});"]
    return [read_scalar(field, flexible, value)]


def read_scalar(field: Field, flexible: str, value: str) -> str:
    method = METHODS.get(field.type, "number")
    return f"in.{method}({flexible}, {value});" if field.type in LENGTH_BYTES else f"in.{method}({value});"


def null_check(message: Message, field: Field) -> str:
    """C++ that refuses null in the versions without it; "" where a null is always or never read."""
    allowed = condition(field.nullable, field.versions)
    return f"if (!({allowed}) && !out.{field.name}) in.refuse_null();" if field.nullable and allowed else ""


def guarded(test: str, statements: list[str]) -> list[str]:
    return [f"if ({test}) {{", *[f"  {line}" for line in statements], "}"] if test else statements


def reader(message: Message, struct: Struct, type_name: str) -> list[str]:
    body = []
    for field in struct.fields:
        if field.tag is not None:
            continue
        statements = read_field(message, field, "flexible", f"out.{field.name}")
        if check := null_check(message, field):
            statements.append(check)
        body += guarded(condition(field.versions, struct.versions), statements)
    tagged = [field for field in struct.fields if field.tag is not None]
    if flexible_versions(message, struct):
        tags = ["skip_tags(in);"]
        if tagged:
            tags = ["for (internal::TaggedFields fields(in); fields.next();) {"]
            for field in tagged:
                versions = condition(field.versions, flexible_versions(message, struct))
                test = f"fields.tag() == {field.tag}" + (f" && {versions}" if versions else "")
                statements = ["fields.take();", *read_field(message, field, "true", f"out.{field.name}")]
                tags += [f"  {line}" for line in guarded(test, statements)]
            tags.append("}")
        body += guarded(condition(flexible_versions(message, struct), struct.versions) and "flexible", tags)
    lines = [f"void read(internal::Reader& in, [[maybe_unused]] int16_t version, {type_name}& out) {{"]
    lines.append(declare_flexible(message, struct))
    return lines + [f"  {line}" for line in body] + ["}", ""]


# Encoders.


def write_scalar(field: Field, flexible: str, value: str) -> str:
    method = METHODS.get(field.type, "number")
    if field.type in LENGTH_BYTES:
        return f'out.{method}({flexible}, {value}, "{field.name}");'
    return f"out.{method}({value});"


def write_field(message: Message, field: Field, flexible: str, value: str) -> list[str]:
    """Statements that write the field `value`."""
    may_be_null = condition(field.nullable, field.versions) or "true"
    if field.array:
        write_element = "write(out, version, element);" if field.struct else write_scalar(field, flexible, "element")
        if not field.nullable:
            return [f"out.count({flexible}, {value}.size());", f"for (const auto& element : {value}) {write_element}"]
        return [
            f"if ({value}) {{",
            f"  out.count({flexible}, {value}->size());",
            f"  for (const auto& element : *{value}) {write_element}",
            "} else {",
            f'  out.null_count({flexible}, {may_be_null}, "{field.name}");',
            "}",
        ]
    if field.struct and field.nullable:
        return [
            f'out.present({value}.has_value(), {may_be_null}, "{field.name}");',
            f"if ({value}) write(out, version, *{value});",
        ]
    if field.struct:
        return [f"write(out, version, {value});"]
    if field.nullable:
        return [f'out.nullable_{METHODS[field.type]}({flexible}, {value}, {may_be_null}, "{field.name}");']
    return [write_scalar(field, flexible, value)]


def write_tagged(message: Message, struct: Struct, within: Versions) -> list[str]:
    """Statements that write the tagged fields in the versions `within`, those with their default left out."""
    tagged = [field for field in struct.fields if field.tag is not None]
    if not tagged:
        return ["out.tags(0);"]
    lines, present = [], []
    for field in tagged:
        versions = condition(field.versions, within)
        lines.append(f"const bool has_{field.name} = {versions + ' && ' if versions else ''}{differs(field, f'in.{field.name}')};")
        present.append(f"size_t{{has_{field.name}}}")
    lines.append(f"out.tags({' + '.join(present)});")
    for field in sorted(tagged, key=lambda field: field.tag):
        statements = [
            f"out.tag({field.tag}, [&](internal::Writer& content) {{",
            *[f"  {line}" for line in redirect(write_field(message, field, "true", f"in.{field.name}"))],
            "});",
        ]
        lines += guarded(f"has_{field.name}", statements)
    return lines


def redirect(statements: list[str]) -> list[str]:
    """The same statements writing to `content` instead of `out`."""
    return [re.sub(r"\bout([.,])", r"content\1", line) for line in statements]


def writer(message: Message, struct: Struct, type_name: str) -> list[str]:
    body = []
    for field in struct.fields:
        test = condition(field.versions, struct.versions)
        may_refuse = test and not field.ignorable
        refused = differs(field, f"in.{field.name}")
        refusal = [f'  out.refuse("{field.name}");', "}"]
        if field.tag is None:
            body += guarded(test, write_field(message, field, "flexible", f"in.{field.name}"))
            if may_refuse:
                body[-1:] = [f"}} else if ({refused}) {{", *refusal]
        elif may_refuse:
            body += [f"if (!({test}) && {refused}) {{", *refusal]
    if versions := flexible_versions(message, struct):
        body += guarded(condition(versions, struct.versions) and "flexible", write_tagged(message, struct, versions))
    lines = [f"void write(internal::Writer& out, [[maybe_unused]] int16_t version, const {type_name}& in) {{"]
    lines.append(declare_flexible(message, struct))
    return lines + [f"  {line}" for line in body] + ["}", ""]


def entry_points(message: Message) -> list[str]:
    name = message.name
    lines = [
        f"Result<{name}> {name}::decode(ByteReader& in, int16_t version) {{",
        "  if (version < kMinVersion || version > kMaxVersion) return internal::unsupported(kName, version);",
        f"  Result<{name}> message{{tl::in_place}};",
        "  internal::Reader reader(internal::rest(in));",
        "  read(reader, version, *message);",
        "  MILLRACE_RETURN_IF_ERROR(reader.status(kName, version));",
        "  MILLRACE_RETURN_IF_ERROR(in.skip(reader.position()));",
        "  return message;",
        "}",
        "",
    ]
    forms = [("", "nullptr")]
    if holds(message.root, "records"):
        forms.append((", std::vector<RecordSlice>& slices", "&slices"))
    for parameter, argument in forms:
        lines += [
            f"Status {name}::encode(ByteWriter& out, int16_t version{parameter}) const {{",
            "  if (version < kMinVersion || version > kMaxVersion) return internal::unsupported(kName, version);",
            f"  internal::Writer writer(out, {argument});",
            "  write(writer, version, *this);",
            "  return writer.status(kName, version);",
            "}",
            "",
        ]
    if tells_errors(message):
        lines += [f"void {name}::collect_errors(std::vector<ErrorCode>& errors) const {{ collect(*this, errors); }}", ""]
    return lines


def error_collector(message: Message, struct: Struct, type_name: str) -> list[str]:
    if not holds(struct, "error"):
        return []
    lines = [f"void collect(const {type_name}& in, std::vector<ErrorCode>& errors) {{"]
    for field in struct.fields:
        if field.struct and not holds(field.struct, "error") or not field.struct and field.type != "error":
            continue
        value = f"*in.{field.name}" if field.nullable else f"in.{field.name}"
        one = "element" if field.array else value
        statement = f"collect({one}, errors);" if field.struct else f"if ({one} != ErrorCode::kNone) errors.push_back({one});"
        if field.array:
            statement = f"for (const auto& element : {value}) {statement}"
        lines += guarded(f"in.{field.name}" if field.nullable else "", [statement])
    return [lines[0], *[f"  {line}" for line in lines[1:]], "}", ""]


def source(messages: list[Message], stem: str) -> str:
    lines = [
        f"// Generated from src/wire/schema/{stem}.msg.",
        f'#include "wire/{stem}.h"',
        "",
        '#include "wire/internal/codec.h"',
        "",
        "namespace millrace::wire {",
        "namespace {",
        "",
    ]
    for message in messages:
        for struct in message.structs():
            type_name = f"{message.name}::{struct.name}"
            lines += reader(message, struct, type_name) + writer(message, struct, type_name)
        lines += reader(message, message.root, message.name) + writer(message, message.root, message.name)
        if tells_errors(message):
            for struct in message.structs():
                lines += error_collector(message, struct, f"{message.name}::{struct.name}")
            lines += error_collector(message, message.root, message.name)
    lines += ["}  // namespace", ""]
    for message in messages:
        lines += entry_points(message)
    return "\n".join(lines + ["}  // namespace millrace::wire", ""])
