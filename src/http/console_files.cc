#include "http/console_files.h"

#include <fmt/core.h>

#include "base/crc32c.h"

// Put there by millrace_embed() in CMakeLists.txt.
extern "C" {
extern const char console_html_begin[], console_html_end[];
extern const char console_js_begin[], console_js_end[];
extern const char console_js_gz_begin[], console_js_gz_end[];
extern const char console_css_begin[], console_css_end[];
extern const char console_css_gz_begin[], console_css_gz_end[];
}

namespace millrace::http {
namespace {

struct File {
  const char* path;
  const char* content_type;
  std::string_view plain;
  std::string_view gzip;  // empty: not worth it
};

std::string_view between(const char* begin, const char* end) { return {begin, static_cast<size_t>(end - begin)}; }

void serve(Server& server, const File& file) {
  const std::string etag =
      fmt::format("\"{:08x}\"", crc32c({reinterpret_cast<const std::byte*>(file.plain.data()), file.plain.size()}));
  server.route("GET", file.path, [file, etag](const Request& request, ResponderPtr responder) {
    Response response;
    response.content_type = file.content_type;
    response.headers = {
        {"ETag", etag},
        {"Cache-Control", "no-cache"},
        {"Vary", "Accept-Encoding"},
        {"Content-Security-Policy", "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'"},
    };
    if (request.header("if-none-match") == etag) {
      response.status = 304;
    } else if (!file.gzip.empty() && request.header("accept-encoding").find("gzip") != std::string_view::npos) {
      response.headers["Content-Encoding"] = "gzip";
      response.body = file.gzip;
    } else {
      response.body = file.plain;
    }
    responder->send(std::move(response));
  });
}

}  // namespace

void add_console_files(Server& server) {
  serve(server, {"/", "text/html; charset=utf-8", between(console_html_begin, console_html_end), {}});
  serve(server, {"/console.js", "text/javascript; charset=utf-8", between(console_js_begin, console_js_end),
                 between(console_js_gz_begin, console_js_gz_end)});
  serve(server, {"/console.css", "text/css; charset=utf-8", between(console_css_begin, console_css_end),
                 between(console_css_gz_begin, console_css_gz_end)});
}

}  // namespace millrace::http
