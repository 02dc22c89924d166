#include "warehouse/internal/render.h"

#include <fmt/core.h>

#include "base/json_writer.h"
#include "format/encoder.h"
#include "sql/parquet.h"

namespace millrace::warehouse {
namespace {

using columns::Batch;
using columns::Column;
using columns::Kind;

tl::unexpected<Error> too_large(uint64_t bytes_max) {
  return fail(Errc::kTooLarge, fmt::format("the answer is longer than {} MB", bytes_max >> 20),
              "select fewer rows or columns, or add LIMIT");
}

void append_json(JsonWriter& json, const Column& column, size_t row, std::string& scratch) {
  if (column.is_null(row)) {
    json.null();
    return;
  }
  switch (column.type().kind) {
    case Kind::kBoolean:
      json.boolean(column.booleans()[row] != 0);
      return;
    case Kind::kBigint:
      json.number(column.int64s()[row]);
      return;
    case Kind::kDouble:
      json.number(column.doubles()[row]);
      return;
    case Kind::kDecimal:
      scratch.clear();
      column.append_text(row, scratch);
      json.raw(scratch);
      return;
    case Kind::kTimestamp:
      scratch.clear();
      column.append_text(row, scratch);
      json.text(scratch);
      return;
    case Kind::kVarchar:
      json.text(column.texts()[row]);
      return;
  }
}

Result<Answer> render_json(sql::ResultStream& stream, uint64_t bytes_max) {
  Answer answer;
  JsonWriter json(answer.body);
  json.begin_object().key("columns").begin_array();
  for (size_t i = 0; i < stream.schema()->size(); ++i)
    json.begin_object()
        .key("name")
        .text(stream.schema()->field(i).name)
        .key("type")
        .text(stream.sql_types()[i])
        .end_object();
  json.end_array().key("rows").begin_array();
  std::string scratch;
  while (true) {
    MILLRACE_ASSIGN_OR_RETURN(const auto batch, stream.next());
    if (!batch) break;
    for (size_t row = 0; row < batch->rows(); ++row) {
      json.begin_array();
      for (size_t i = 0; i < batch->schema().size(); ++i) append_json(json, batch->column(i), row, scratch);
      json.end_array();
    }
    answer.rows += batch->rows();
    if (answer.body.size() > bytes_max) return too_large(bytes_max);
  }
  json.end_array().end_object();
  return answer;
}

Result<Answer> render_csv(sql::ResultStream& stream, uint64_t bytes_max) {
  MILLRACE_ASSIGN_OR_RETURN(const auto encoder, format::Encoder::make(format::Format::kCsv, stream.schema()));
  Answer answer;
  answer.body = encoder.csv_header() + '\n';
  while (true) {
    MILLRACE_ASSIGN_OR_RETURN(const auto batch, stream.next());
    if (!batch) return answer;
    for (size_t row = 0; row < batch->rows(); ++row) {
      encoder.append_row(*batch, row, answer.body);
      answer.body += '\n';
    }
    answer.rows += batch->rows();
    if (answer.body.size() > bytes_max) return too_large(bytes_max);
  }
}

// A result as rows to be written. It can be read once.
class StreamSource final : public sql::TableSource {
 public:
  explicit StreamSource(sql::ResultStream& stream) : stream_(stream) {}
  const columns::Schema& schema() const override { return *stream_.schema(); }
  Status rewind() override { return {}; }
  Result<Batch> next() override {
    auto batch = stream_.next();
    if (!batch) {
      error_ = batch.error();
      return tl::unexpected<Error>(batch.error());
    }
    return *batch ? std::move(**batch) : Batch();
  }
  // What ended the reading early, as it was before it went through another statement's message.
  const std::optional<Error>& error() const { return error_; }

 private:
  sql::ResultStream& stream_;
  std::optional<Error> error_;
};

Result<Answer> render_parquet(sql::ResultStream& stream, uint64_t bytes_max, env::FileSystem& files,
                              const std::string& path) {
  StreamSource source(stream);
  const auto rows = sql::write_parquet(source, path);
  if (!rows) {
    static_cast<void>(files.remove_all(path));
    return tl::unexpected<Error>(source.error().value_or(rows.error()));
  }
  const auto bytes = env::read_file(files, path, bytes_max);
  MILLRACE_RETURN_IF_ERROR(files.remove_all(path));
  if (!bytes)
    return bytes.error().code == Errc::kTooLarge ? too_large(bytes_max) : tl::unexpected<Error>(bytes.error());
  return Answer{std::string(as_text(*bytes)), *rows};
}

}  // namespace

Result<Answer> render(sql::ResultStream& stream, AnswerFormat format, uint64_t answer_bytes_max, env::FileSystem& files,
                      const std::string& parquet_path) {
  switch (format) {
    case AnswerFormat::kJson:
      return render_json(stream, answer_bytes_max);
    case AnswerFormat::kCsv:
      return render_csv(stream, answer_bytes_max);
    case AnswerFormat::kParquet:
      return render_parquet(stream, answer_bytes_max, files, parquet_path);
  }
  return fail(Errc::kInternal, "no such format");
}

}  // namespace millrace::warehouse
