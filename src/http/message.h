#pragma once

#include <map>
#include <string>
#include <string_view>

namespace millrace::http {

struct Request {
  std::string method;  // GET, POST, …
  std::string path;    // decoded, without the query: /v1/sql
  std::map<std::string, std::string, std::less<>> query;
  std::map<std::string, std::string, std::less<>> headers;  // names in lower case
  std::string body;

  // The header's value, empty if there is none. `name` in lower case.
  std::string_view header(std::string_view name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? std::string_view{} : std::string_view(found->second);
  }
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::map<std::string, std::string> headers;  // more of them

  // {"error": …, "message": …, "try": …}, as every failure of the API looks.
  static Response error(int status, std::string_view code, std::string_view message, std::string_view hint = {});
};

}  // namespace millrace::http
