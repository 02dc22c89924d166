#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "http/server.h"

namespace millrace::http::internal {

// Finds the handler of a method and path. Filled before the server starts, then only read.
class Router {
 public:
  void add(std::string method, std::string path, Handler handler);

  // The handler, or the status to answer with: 404, or 405 where only other methods of the path exist.
  tl::expected<const Handler*, int> find(std::string_view method, std::string_view path) const;

 private:
  struct Route {
    std::string method;
    std::string path;  // without the '*'
    bool is_prefix;
    Handler handler;
  };
  std::vector<Route> routes_;
};

}  // namespace millrace::http::internal
