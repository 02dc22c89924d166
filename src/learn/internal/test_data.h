#pragma once

#include <gtest/gtest.h>
#include <zlib.h>

#include <cstdlib>
#include <filesystem>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/text.h"
#include "learn/feature_matrix.h"

// For tests: the data sets of MILLRACE_DATASETS.
namespace millrace::learn::internal {

// Where the data sets are: MILLRACE_DATASETS, or ../shared/data beside the sources.
inline std::filesystem::path dataset_path(std::string_view file) {
  const char* folder = std::getenv("MILLRACE_DATASETS");
  return std::filesystem::path(folder != nullptr ? folder : MILLRACE_SOURCE_DIR "/../shared/data") / file;
}

// The lines of a text file, gzip or not.
inline std::vector<std::string> read_lines(const std::filesystem::path& path) {
  std::vector<std::string> lines;
  gzFile file = gzopen(path.c_str(), "rb");
  MILLRACE_CHECK(file != nullptr, path.string());
  char buffer[4096];
  while (gzgets(file, buffer, sizeof buffer) != nullptr) lines.emplace_back(trim(buffer));
  gzclose(file);
  return lines;
}

inline MatrixView one_row(const FeatureMatrix& matrix, size_t row) {
  return {matrix.row(row).data(), 1, matrix.features()};
}

struct LabelledRows {
  std::vector<std::string> names;
  FeatureMatrix features{0};
  std::vector<double> labels;
};

// A cell's number; NaN for what is none.
inline double number(std::string_view cell) {
  return parse_double(cell).value_or(std::numeric_limits<double>::quiet_NaN());
}

// A csv file as numbers: the column `label` apart from the others. `positive` is the label's text for 1 where labels
// are words.
inline LabelledRows read_dataset(const std::filesystem::path& path, std::string_view label,
                                 std::string_view positive = {}) {
  const std::vector<std::string> lines = read_lines(path);
  LabelledRows rows;
  size_t label_index = 0;
  const auto header = split(lines.at(0), ',');
  for (size_t j = 0; j < header.size(); ++j)
    if (header[j] == label)
      label_index = j;
    else
      rows.names.emplace_back(header[j]);
  rows.features = FeatureMatrix(rows.names.size());
  for (size_t i = 1; i < lines.size(); ++i) {
    std::vector<double> row;
    const auto cells = split(lines[i], ',');
    for (size_t j = 0; j < cells.size(); ++j) {
      if (j != label_index)
        row.push_back(number(cells[j]));
      else if (positive.empty())
        rows.labels.push_back(number(cells[j]));
      else
        rows.labels.push_back(cells[j] == positive ? 1 : 0);
    }
    rows.features.append(row);
  }
  return rows;
}

// The folder of data sets is optional, but where it is, what tests need of it must be there.
#define MILLRACE_REQUIRE_DATASET(file)                                                                                \
  if (!std::filesystem::exists(::millrace::learn::internal::dataset_path("")))                                        \
    GTEST_SKIP() << "no data sets at " << ::millrace::learn::internal::dataset_path("") << ": set MILLRACE_DATASETS"; \
  ASSERT_TRUE(std::filesystem::exists(::millrace::learn::internal::dataset_path(file))) << file

}  // namespace millrace::learn::internal
