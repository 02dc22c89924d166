"""The C++ that comes from all schemas together: wire/api, wire/error_code, wire/messages."""

import pathlib
import re

import schema
from schema import Message, SchemaError


def camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.lower().split("_"))


def rows(path: pathlib.Path, pattern: str) -> list[tuple[str, ...]]:
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(pattern, line)
        if not match:
            raise SchemaError(f"{path}: line {number}: not a row of this table")
        found.append(match.groups())
    return found


API_HEADER = """// Generated from src/wire/schema/api_keys.txt.
#pragma once

#include <cstdint>
#include <limits>

namespace millrace::wire {{

// All of Kafka's APIs; wire/messages.h says whose messages are described. A value from a frame may be none of these.
enum class ApiKey : int16_t {{
{enumerators}
}};

// "Fetch"; "?" for a key that Kafka does not have.
const char* api_name(ApiKey key);

// kFlexibleFrom of messages without a flexible version.
inline constexpr int16_t kNeverFlexible = std::numeric_limits<int16_t>::max();

}}  // namespace millrace::wire
"""

ERROR_HEADER = """// Generated from src/wire/schema/error_codes.txt.
#pragma once

#include <cstdint>

namespace millrace::wire {{

// Kafka's error codes. A value from a frame may be none of these.
enum class ErrorCode : int16_t {{
{enumerators}
}};

// Kafka's name, "OFFSET_OUT_OF_RANGE"; "?" for a code that Kafka does not have.
const char* error_name(ErrorCode code);
// A sentence for people, without a full stop.
const char* error_message(ErrorCode code);
// Whether a client may expect the same request to succeed later.
bool is_retriable(ErrorCode code);

}}  // namespace millrace::wire
"""


def api_files(keys: list[tuple[str, ...]]) -> tuple[str, str]:
    enumerators = "\n".join(f"  k{name} = {key}," for key, name in keys)
    cases = "\n".join(f'    case ApiKey::k{name}:\n      return "{name}";' for key, name in keys)
    body = (
        '// Generated from src/wire/schema/api_keys.txt.\n#include "wire/api.h"\n\nnamespace millrace::wire {\n\n'
        f"const char* api_name(ApiKey key) {{\n  switch (key) {{\n{cases}\n  }}\n"
        '  return "?";\n}\n\n}  // namespace millrace::wire\n'
    )
    return API_HEADER.format(enumerators=enumerators), body


def error_files(codes: list[tuple[str, ...]]) -> tuple[str, str]:
    enumerators = "\n".join(f"  k{camel(name)} = {code},  // {message}" for code, name, _, message in codes)

    def function(signature: str, answer, otherwise: str) -> str:
        cases = "\n".join(f"    case ErrorCode::k{camel(row[1])}:\n      return {answer(row)};" for row in codes)
        return f"{signature} {{\n  switch (code) {{\n{cases}\n  }}\n  return {otherwise};\n}}\n"

    retriable = "\n".join(f"    case ErrorCode::k{camel(row[1])}:" for row in codes if row[2])
    final = "\n".join(f"    case ErrorCode::k{camel(row[1])}:" for row in codes if not row[2])
    body = [
        '// Generated from src/wire/schema/error_codes.txt.\n#include "wire/error_code.h"\n\nnamespace millrace::wire {\n',
        function("const char* error_name(ErrorCode code)", lambda row: f'"{row[1]}"', '"?"'),
        function("const char* error_message(ErrorCode code)", lambda row: f'"{row[3]}"', '"an error code that Kafka does not have"'),
        f"bool is_retriable(ErrorCode code) {{\n  switch (code) {{\n{retriable}\n      return true;\n{final}\n      return false;\n  }}\n  return false;\n}}\n",
        "}  // namespace millrace::wire\n",
    ]
    return ERROR_HEADER.format(enumerators=enumerators), "\n".join(body)


MESSAGES_HEADER = """// Generated from the schema files of src/wire/schema.
#pragma once

#include <span>
#include <string_view>

#include "base/byte_writer.h"
#include "base/result.h"
#include "wire/api.h"

namespace millrace::wire {

// An API whose messages are described.
struct ApiRange {
  ApiKey key;
  const char* name;
  // What ApiVersions advertises, of an API that is served.
  int16_t min;
  int16_t max;
  // What the decoders know; a version advertised but not in here is to be refused with UNSUPPORTED_VERSION.
  int16_t decodable_min;
  int16_t decodable_max;
  int16_t flexible_from;
};

// In the order of their keys.
std::span<const ApiRange> supported_apis();
// Null for an API that is not described.
const ApiRange* find_api(int16_t key);

// A message by name, for tools and tests that treat all alike.
struct MessageInfo {
  std::string_view name;
  int16_t min;
  int16_t max;
  // Decodes all of `in`, refusing what is left over, and encodes again.
  Result<Bytes> (*recode)(ByteView in, int16_t version);
};

std::span<const MessageInfo> all_messages();

}  // namespace millrace::wire
"""


def messages_source(files: dict[str, list[Message]]) -> str:
    messages = [message for group in files.values() for message in group]
    apis = sorted((message for message in messages if message.kind == "request"), key=lambda message: message.key)
    ranges = []
    for api in apis:
        flexible = api.flexible.low if api.flexible else "kNeverFlexible"
        ranges.append(
            f'    {{ApiKey::k{api.api}, "{api.api}", {api.advertised.low}, {api.advertised.high}, {api.versions.low}, {api.versions.high}, {flexible}}},'
        )
    infos = [f"    {{{m.name}::kName, {m.name}::kMinVersion, {m.name}::kMaxVersion, &recode<{m.name}>}}," for m in messages]
    includes = [f'#include "wire/{stem}.h"' for stem in sorted(files)]
    return "\n".join(
        [
            "// Generated from the schema files of src/wire/schema.",
            '#include "wire/messages.h"',
            "",
            *includes,
            "",
            "namespace millrace::wire {",
            "namespace {",
            "",
            "constexpr ApiRange kApis[] = {",
            *ranges,
            "};",
            "",
            "template <typename T>",
            "Result<Bytes> recode(ByteView in, int16_t version) {",
            "  ByteReader reader(in);",
            "  MILLRACE_ASSIGN_OR_RETURN(const T message, T::decode(reader, version));",
            '  if (reader.remaining() > 0) return fail(Errc::kCorruption, "bytes follow the message");',
            "  Bytes bytes;",
            "  ByteWriter writer(bytes);",
            "  MILLRACE_RETURN_IF_ERROR(message.encode(writer, version));",
            "  return bytes;",
            "}",
            "",
            "constexpr MessageInfo kMessages[] = {",
            *infos,
            "};",
            "",
            "}  // namespace",
            "",
            "std::span<const ApiRange> supported_apis() { return kApis; }",
            "",
            "const ApiRange* find_api(int16_t key) {",
            "  for (const ApiRange& api : kApis) {",
            "    if (static_cast<int16_t>(api.key) == key) return &api;",
            "  }",
            "  return nullptr;",
            "}",
            "",
            "std::span<const MessageInfo> all_messages() { return kMessages; }",
            "",
            "}  // namespace millrace::wire",
            "",
        ]
    )


def files(schemas: pathlib.Path) -> dict[str, tuple[str, str]]:
    """Header and source of each table by its name, from a folder of schemas."""
    messages = {path.stem: schema.parse_file(path) for path in sorted(schemas.glob("*.msg"))}
    return {
        "api": api_files(rows(schemas / "api_keys.txt", r"(\d+)\s+(\w+)")),
        "error_code": error_files(rows(schemas / "error_codes.txt", r"(-?\d+)\s+(\w+)\s+(\*)?\s*(.+)")),
        "messages": (MESSAGES_HEADER, messages_source(messages)),
    }
