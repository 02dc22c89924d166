#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "format/decoder.h"

namespace millrace::format {

// What a file of events looks like.
enum class FileKind {
  kCsv,    // a header line, then rows (RFC 4180: quoted fields may span lines)
  kJsonl,  // a JSON object per line; empty lines are skipped
  kText,   // lines
};

// By the name's ending, with or without .gz: .csv .tsv .jsonl .ndjson .json .log .txt; nullopt: unknown.
std::optional<FileKind> file_kind_of(std::string_view path);

struct FileReaderOptions {
  std::string path;
  FileKind kind = FileKind::kJsonl;
  char delimiter = ',';
  uint64_t record_bytes_max = 16u << 20;  // a longer line or row is an error with file and line
};

// Reads a file's records one after the other: plain or gzip (told by its first bytes), with or without a byte order
// mark, lines ended by LF or CRLF. Memory is bounded by the largest record. One thread.
class FileReader {
 public:
  // kNotFound, kPermissionDenied, kIo; for csv kInvalidArgument when the header is missing or names a column twice.
  static Result<std::unique_ptr<FileReader>> open(FileReaderOptions options);
  virtual ~FileReader() = default;

  // The next record's text, without its line end: a line, or for csv the row as it stands in the file. False at the
  // end. The view is valid until the next call. Errors name file:line; the reader cannot go on after one.
  virtual Result<bool> next(std::string_view& record) = 0;

  // The header's names; empty for files without one.
  virtual const std::vector<std::string>& header() const = 0;
  // What separates the fields of a csv file: as the options say, but a tab for .tsv.
  virtual char delimiter() const = 0;
  // The line at which the last record began, from 1.
  virtual uint64_t line() const = 0;
  // Bytes of the file consumed so far and in all (compressed bytes where it is compressed): for progress bars.
  virtual uint64_t bytes_read() const = 0;
  virtual uint64_t bytes_total() const = 0;
};

// Feeds a file to a source: its records as values in the source's format.
//   jsonl -> json: the line as it is           csv -> csv:  the fields in the order of the declared columns, by comma
//   text  -> raw, text: the line               csv -> json: an object; what a column declares as number or boolean is
//                                              written bare when it reads as one (else as text, so that the decoder
//                                              rejects it with its reason), an empty field as null; undeclared columns
//                                              become text
// One thread.
class SourceFile {
 public:
  struct Options {
    FileReaderOptions file;
    Format format = Format::kJson;
    columns::Schema columns;         // as the source declares them
    std::optional<TimeColumn> time;  // its column is written bare where its format takes numbers
  };

  // Fails as FileReader does; kInvalidArgument also when the two formats do not go together, or when a csv header lacks
  // a declared column (with the nearest name).
  static Result<std::unique_ptr<SourceFile>> open(Options options);

  ~SourceFile();

  // Replaces `value` by the next record's value; false at the end. A row that cannot be taken apart is handed on as it
  // is: the decoder rejects it with the reason.
  Result<bool> next(std::string& value);

  const FileReader& reader() const { return *reader_; }

 private:
  struct Splitter;
  struct Member {
    std::string prefix;  // "name":
    columns::Type type;
    bool bare = false;  // written without quotes where it is a number
  };

  SourceFile();
  Status match_header();
  void append_json(std::string& value) const;

  Options options_;
  std::unique_ptr<FileReader> reader_;
  std::vector<Member> members_;  // csv -> json: one a column of the header
  std::vector<size_t> order_;    // csv -> csv: declared column -> column of the header
  std::unique_ptr<Splitter> splitter_;
};

}  // namespace millrace::format
