#include "base/substitute.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

Result<std::string> substitute(std::string_view text) {
  return substitute_variables(text, [](std::string_view name) -> std::optional<std::string> {
    if (name == "HOST") return "broker:9092";
    if (name == "EMPTY") return "";
    return std::nullopt;
  });
}

TEST(Substitute, ReplacesVariablesAndDefaults) {
  EXPECT_EQ(substitute("a: ${HOST}, b: ${PORT:-80}, c: ${EMPTY:-x}, d: [${EMPTY}]"),
            "a: broker:9092, b: 80, c: x, d: []");
}

TEST(Substitute, DoubledDollarIsLiteral) { EXPECT_EQ(substitute("$${HOST} $5"), "${HOST} $5"); }

TEST(Substitute, NamesTheLineOfWhatItCannotReplace) {
  EXPECT_EQ(substitute("a\nb: ${PORT}").error().message, "line 2: the variable PORT is not set");
  EXPECT_EQ(substitute("${HOST\n}").error().message, "line 1: ${ is not closed");
  EXPECT_FALSE(substitute("${9x}").has_value());
}

}  // namespace
}  // namespace millrace
