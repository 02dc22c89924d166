#include "format/file_reader.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "base/json_writer.h"
#include "base/text.h"
#include "base/utf8.h"
#include "format/internal/csv_row.h"
#include "format/internal/input_stream.h"

namespace millrace::format {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

// Lines, or csv rows, out of a stream of pieces.
class StreamReader final : public FileReader {
 public:
  StreamReader(FileReaderOptions options, std::unique_ptr<InputStream> stream)
      : options_(std::move(options)), stream_(std::move(stream)) {}

  Status init() {
    MILLRACE_RETURN_IF_ERROR(fill());
    if (std::string_view(buffer_).starts_with(kByteOrderMark)) begin_ = kByteOrderMark.size();
    if (options_.kind != FileKind::kCsv) return {};
    std::string_view row;
    MILLRACE_ASSIGN_OR_RETURN(const bool found, next(row));
    if (!found) return fail(Errc::kInvalidArgument, fmt::format("{}: there is no header line", options_.path));
    std::vector<CsvField> fields;
    std::string scratch;
    if (const char* problem = split_csv_row(row, options_.delimiter, fields, scratch)) return error_here(problem);
    for (const CsvField& field : fields) {
      const std::string name(trim(field.text));
      if (!is_utf8(name)) return error_here("the header is not UTF-8");
      for (const std::string& other : header_)
        if (other == name) return error_here(fmt::format("the header names column '{}' twice", name));
      header_.push_back(name);
    }
    return {};
  }

  Result<bool> next(std::string_view& record) override {
    while (true) {
      MILLRACE_ASSIGN_OR_RETURN(const bool found, take(record));
      // A jsonl line or csv row without anything in it is nothing; a line of text is a line.
      if (!found || options_.kind == FileKind::kText || !trim(record).empty()) return found;
    }
  }

  const std::vector<std::string>& header() const override { return header_; }
  char delimiter() const override { return options_.delimiter; }
  uint64_t line() const override { return record_line_; }
  uint64_t bytes_read() const override { return stream_->bytes_read(); }
  uint64_t bytes_total() const override { return stream_->bytes_total(); }

 private:
  tl::unexpected<Error> error_here(std::string_view problem) const {
    return fail(Errc::kInvalidArgument, fmt::format("{}:{}: {}", options_.path, record_line_, problem));
  }

  // Appends the next piece; what has been handed out before is dropped.
  Status fill() {
    buffer_.erase(0, begin_);
    begin_ = 0;
    MILLRACE_ASSIGN_OR_RETURN(const std::string_view piece, stream_->next());
    buffer_ += piece;
    ended_ = piece.empty();
    return {};
  }

  Result<bool> take(std::string_view& record) {
    record_line_ = next_line_;
    size_t scanned = 0;  // from begin_
    bool quoted = false;
    uint64_t lines = 0;
    while (true) {
      const size_t end = find_end(scanned, quoted, lines);
      if (end != std::string::npos || (ended_ && begin_ < buffer_.size())) {
        if (end == std::string::npos && quoted) return error_here("a quoted field does not end");
        const size_t stop = end == std::string::npos ? buffer_.size() : end;
        record = std::string_view(buffer_).substr(begin_, stop - begin_);
        if (!record.empty() && record.back() == '\r') record.remove_suffix(1);
        begin_ = std::min(stop + 1, buffer_.size());
        next_line_ += lines + 1;
        if (record.size() > options_.record_bytes_max) return too_long();
        return true;
      }
      if (ended_) return false;
      if (buffer_.size() - begin_ > options_.record_bytes_max) return too_long();
      MILLRACE_RETURN_IF_ERROR(fill());
    }
  }

  tl::unexpected<Error> too_long() const {
    return fail(Errc::kTooLarge, fmt::format("{}:{}: a record of more than {} bytes", options_.path, record_line_,
                                             options_.record_bytes_max));
  }

  // The line end behind the record that begins at begin_, looking on from begin_ + scanned; npos: not in the buffer.
  size_t find_end(size_t& scanned, bool& quoted, uint64_t& lines) const {
    const char* data = buffer_.data();
    size_t at = begin_ + scanned;
    if (options_.kind != FileKind::kCsv) {
      scanned = buffer_.size() - begin_;
      return buffer_.find('\n', at);
    }
    // Inside of quotes a doubled quote closes and opens again, which comes to the same.
    for (; at < buffer_.size(); ++at) {
      if (data[at] == '"') {
        quoted = !quoted;
      } else if (data[at] == '\n') {
        if (!quoted) return at;
        ++lines;
      }
    }
    scanned = buffer_.size() - begin_;
    return std::string::npos;
  }

  FileReaderOptions options_;
  std::unique_ptr<InputStream> stream_;
  std::vector<std::string> header_;
  std::string buffer_;
  size_t begin_ = 0;  // of what was not handed out yet
  bool ended_ = false;
  uint64_t next_line_ = 1;
  uint64_t record_line_ = 1;
};

// Whether JSON takes the text as a number as it stands (RFC 8259, section 6).
bool is_json_number(std::string_view text) {
  size_t i = 0;
  const auto digits = [&] {
    const size_t begin = i;
    while (i < text.size() && text[i] >= '0' && text[i] <= '9') ++i;
    return i - begin;
  };
  if (i < text.size() && text[i] == '-') ++i;
  const bool zero = i < text.size() && text[i] == '0';
  const size_t whole = digits();
  if (whole == 0 || (zero && whole > 1)) return false;
  if (i < text.size() && text[i] == '.') {
    ++i;
    if (digits() == 0) return false;
  }
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    ++i;
    if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
    if (digits() == 0) return false;
  }
  return i == text.size();
}

void append_csv_field(const CsvField& field, char delimiter, std::string& out) {
  const bool quote = field.quoted || field.text.find(delimiter) != std::string_view::npos;
  if (!quote) {
    out += field.text;
    return;
  }
  out += '"';
  for (const char c : field.text) {
    if (c == '"') out += '"';
    out += c;
  }
  out += '"';
}

std::string_view without_gz(std::string_view path) {
  return path.ends_with(".gz") ? path.substr(0, path.size() - 3) : path;
}

}  // namespace

std::optional<FileKind> file_kind_of(std::string_view path) {
  struct Ending {
    std::string_view text;
    FileKind kind;
  };
  constexpr std::array kEndings{Ending{".csv", FileKind::kCsv},     Ending{".tsv", FileKind::kCsv},
                                Ending{".jsonl", FileKind::kJsonl}, Ending{".ndjson", FileKind::kJsonl},
                                Ending{".json", FileKind::kJsonl},  Ending{".log", FileKind::kText},
                                Ending{".txt", FileKind::kText}};
  for (const Ending& ending : kEndings)
    if (without_gz(path).ends_with(ending.text)) return ending.kind;
  return std::nullopt;
}

Result<std::unique_ptr<FileReader>> FileReader::open(FileReaderOptions options) {
  if (without_gz(options.path).ends_with(".tsv") && options.delimiter == ',') options.delimiter = '\t';
  MILLRACE_ASSIGN_OR_RETURN(auto stream, InputStream::open(options.path));
  auto reader = std::make_unique<StreamReader>(std::move(options), std::move(stream));
  MILLRACE_RETURN_IF_ERROR(reader->init());
  return reader;
}

struct SourceFile::Splitter {
  std::vector<CsvField> fields;
  std::string scratch;
};

SourceFile::SourceFile() : splitter_(std::make_unique<Splitter>()) {}
SourceFile::~SourceFile() = default;

Result<std::unique_ptr<SourceFile>> SourceFile::open(Options options) {
  std::unique_ptr<SourceFile> file(new SourceFile());
  const FileKind kind = options.file.kind;
  const Format format = options.format;
  const bool lines = format == Format::kRaw || format == Format::kText;
  const bool fits = lines || (kind == FileKind::kJsonl && format == Format::kJson) || kind == FileKind::kCsv;
  if (!fits)
    return fail(Errc::kInvalidArgument,
                fmt::format("{}: its records cannot become {}", options.file.path, format_name(format)),
                "give a csv or jsonl file, or change the source's format");
  // Of a csv file read line by line the header is a line, too.
  if (lines) options.file.kind = FileKind::kText;
  file->options_ = std::move(options);
  MILLRACE_ASSIGN_OR_RETURN(file->reader_, FileReader::open(file->options_.file));
  if (file->options_.file.kind == FileKind::kCsv) MILLRACE_RETURN_IF_ERROR(file->match_header());
  return file;
}

Status SourceFile::match_header() {
  const std::vector<std::string>& header = reader_->header();
  for (const columns::Field& field : options_.columns.fields()) {
    const auto found = std::find(header.begin(), header.end(), field.name);
    if (found == header.end()) {
      const auto nearest = nearest_name(field.name, header);
      return fail(Errc::kInvalidArgument, fmt::format("{}:1: there is no column {}", options_.file.path, field.name),
                  nearest ? fmt::format("is {} meant?", *nearest) : std::string());
    }
    order_.push_back(static_cast<size_t>(found - header.begin()));
  }
  for (const std::string& name : header) {
    Member member;
    append_json_string(member.prefix, name);
    member.prefix += ':';
    if (const auto index = options_.columns.index_of(name)) {
      member.type = options_.columns.field(*index).type;
      const bool number_time = options_.time && options_.time->column == name && options_.time->format.takes_numbers();
      member.bare = member.type.is_numeric() || number_time;
    }
    members_.push_back(std::move(member));
  }
  return {};
}

Result<bool> SourceFile::next(std::string& value) {
  std::string_view record;
  MILLRACE_ASSIGN_OR_RETURN(const bool found, reader_->next(record));
  if (!found) return false;
  value.clear();
  if (options_.file.kind != FileKind::kCsv) {
    value = record;
    return true;
  }
  std::vector<CsvField>& fields = splitter_->fields;
  const char* problem = split_csv_row(record, reader_->delimiter(), fields, splitter_->scratch);
  if (problem != nullptr || fields.size() != members_.size()) {
    // The decoder says what is wrong with it, and the record goes where bad records go.
    value = record;
    return true;
  }
  if (options_.format == Format::kCsv) {
    for (size_t i = 0; i < order_.size(); ++i) {
      if (i > 0) value += ',';
      append_csv_field(fields[order_[i]], ',', value);
    }
  } else {
    append_json(value);
  }
  return true;
}

void SourceFile::append_json(std::string& value) const {
  const std::vector<CsvField>& fields = splitter_->fields;
  value += '{';
  for (size_t i = 0; i < fields.size(); ++i) {
    if (i > 0) value += ',';
    const Member& member = members_[i];
    value += member.prefix;
    const std::string_view text = trim(fields[i].text);
    if (fields[i].text.empty() && !fields[i].quoted)
      value += "null";
    else if (member.bare && is_json_number(text))
      value += text;
    else if (member.type.kind == columns::Kind::kBoolean && (text == "true" || text == "True" || text == "1"))
      value += "true";
    else if (member.type.kind == columns::Kind::kBoolean && (text == "false" || text == "False" || text == "0"))
      value += "false";
    else
      append_json_string(value, fields[i].text);
  }
  value += '}';
}

}  // namespace millrace::format
