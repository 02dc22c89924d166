#include <fmt/core.h>

#include <boost/regex.hpp>

#include "format/internal/schema_node.h"

namespace millrace::format {

// Not std::regex: its matcher recurses once per character, and a long record would end the process.
struct TextPattern::Impl {
  boost::regex regex;
};

TextPattern::TextPattern(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TextPattern::~TextPattern() = default;

Result<std::unique_ptr<TextPattern>> TextPattern::compile(const std::string& expression) {
  try {
    auto impl = std::make_unique<Impl>();
    impl->regex.assign(expression, boost::regex::ECMAScript);
    return std::unique_ptr<TextPattern>(new TextPattern(std::move(impl)));
  } catch (const std::exception& error) {
    return fail(Errc::kInvalidArgument, fmt::format("'{}' is no regular expression: {}", expression, error.what()));
  }
}

Result<bool> TextPattern::found_in(std::string_view text) const {
  try {
    return boost::regex_search(text.begin(), text.end(), impl_->regex, boost::regex_constants::match_any);
  } catch (const std::exception&) {
    return fail(Errc::kInvalidArgument, "the expression would take too long on this text");
  }
}

}  // namespace millrace::format
