#include "http/internal/router.h"

namespace millrace::http::internal {

void Router::add(std::string method, std::string path, Handler handler) {
  const bool is_prefix = path.ends_with('*');
  if (is_prefix) path.pop_back();
  routes_.push_back({std::move(method), std::move(path), is_prefix, std::move(handler)});
}

tl::expected<const Handler*, int> Router::find(std::string_view method, std::string_view path) const {
  const Route* best = nullptr;
  bool other_method = false;
  for (const Route& route : routes_) {
    if (route.is_prefix ? !path.starts_with(route.path) : path != route.path) continue;
    if (route.method != method) {
      other_method = true;
      continue;
    }
    // A whole path beats any prefix, a longer prefix a shorter one.
    if (best == nullptr || !route.is_prefix || (best->is_prefix && route.path.size() > best->path.size()))
      best = &route;
  }
  if (best != nullptr) return &best->handler;
  return tl::unexpected(other_method ? 405 : 404);
}

}  // namespace millrace::http::internal
