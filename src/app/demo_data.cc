#include "app/demo_data.h"

#include <fmt/core.h>

#include <cerrno>
#include <cstring>
#include <fstream>

// Put there by millrace_embed() in CMakeLists.txt.
extern "C" {
extern const char demo_shop_yaml_begin[], demo_shop_yaml_end[];
extern const char demo_cards_yaml_begin[], demo_cards_yaml_end[];
extern const char demo_orders_begin[], demo_orders_end[];
}

namespace millrace::app {
namespace {

std::string_view between(const char* begin, const char* end) { return {begin, static_cast<size_t>(end - begin)}; }

}  // namespace

std::string_view demo_shop_yaml() { return between(demo_shop_yaml_begin, demo_shop_yaml_end); }
std::string_view demo_cards_yaml() { return between(demo_cards_yaml_begin, demo_cards_yaml_end); }

Result<std::unique_ptr<format::FileReader>> open_demo_orders(const env::TemporaryFolder& folder) {
  const std::string path = folder.path("online-retail.csv.gz");
  std::ofstream file(path, std::ios::binary);
  file << between(demo_orders_begin, demo_orders_end);
  file.close();
  if (!file) return fail(Errc::kIo, fmt::format("cannot write {}: {}", path, std::strerror(errno)));
  return format::FileReader::open({.path = path, .kind = format::FileKind::kCsv});
}

}  // namespace millrace::app
