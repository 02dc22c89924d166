#include "http/message.h"

#include "base/json_writer.h"

namespace millrace::http {

Response Response::error(int status, std::string_view code, std::string_view message, std::string_view hint) {
  Response response;
  response.status = status;
  JsonWriter json(response.body);
  json.begin_object().key("error").text(code).key("message").text(message);
  if (!hint.empty()) json.key("try").text(hint);
  json.end_object();
  response.body.push_back('\n');
  return response;
}

}  // namespace millrace::http
