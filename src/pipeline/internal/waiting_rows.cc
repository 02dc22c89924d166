#include "pipeline/internal/waiting_rows.h"

#include "base/byte_reader.h"
#include "base/check.h"

namespace millrace::pipeline {

bool WaitingRows::fits(const columns::Batch& batch, size_t row, std::string_view key) const {
  // Due, the key with its length, the predictions, the row's identity: at most.
  size_t bytes = 8 + 10 + key.size() + 3 * sizeof(double) * trainers_ + 10 + 10 + 8;
  for (size_t c = 0; c < batch.schema().size(); ++c) {
    const columns::Column& column = batch.column(c);
    bytes += column.type().kind == columns::Kind::kVarchar ? column.texts()[row].size() + 11 : 9;
  }
  return bytes <= state::kPageBytesMax;
}

void WaitingRows::insert(WaitingRow row) {
  const int64_t offset = row.id().offset.value();
  order_.emplace(row.due_us, offset);
  offsets_.insert(offsets_.end(), offset);
  const bool inserted = rows_.emplace(offset, std::move(row)).second;
  MILLRACE_CHECK(inserted, "a row waits twice");
}

void WaitingRows::add(WaitingRow row) {
  fresh_.push_back(row.id().offset.value());
  insert(std::move(row));
}

WaitingRow* WaitingRows::find(Offset offset) {
  const auto found = rows_.find(offset.value());
  return found == rows_.end() ? nullptr : &found->second;
}

WaitingRow WaitingRows::take(Offset offset) {
  auto node = rows_.extract(offset.value());
  WaitingRow row = std::move(node.mapped());
  order_.erase({row.due_us, offset.value()});
  offsets_.erase(offset.value());
  if (row.written) gone_.push_back(offset.value());
  return row;
}

void WaitingRows::collect(state::PageSink& sink) {
  for (const int64_t offset : gone_) sink.erase({}, static_cast<uint64_t>(offset));
  gone_.clear();
  Bytes page;
  for (const int64_t offset : fresh_) {
    WaitingRow* row = find(Offset(offset));
    if (row == nullptr) continue;
    page.clear();
    ByteWriter out(page);
    out.fixed(row->due_us);
    out.uvarint(row->key.size());
    out.text(row->key);
    for (size_t i = 0; i < trainers_; ++i) {
      const learn::Prediction prediction = i < row->predictions.size() ? row->predictions[i] : learn::Prediction{};
      out.float64(prediction.score);
      out.float64(prediction.prior);
      out.float64(prediction.last);
    }
    encode_row(*row->batch, row->row, out);
    sink.put({}, static_cast<uint64_t>(offset), page);
    row->written = true;
  }
  fresh_.clear();
}

Status WaitingRows::restore(ByteView, uint64_t, ByteView value) {
  if (!decoder_) decoder_ = std::make_unique<RowDecoder>(schema_);
  ByteReader in(value);
  WaitingRow row;
  MILLRACE_ASSIGN_OR_RETURN(row.due_us, in.fixed<int64_t>());
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t key_bytes, in.uvarint());
  MILLRACE_ASSIGN_OR_RETURN(const std::string_view key, in.text(key_bytes));
  row.key = key;
  row.predictions.resize(trainers_);
  for (learn::Prediction& prediction : row.predictions) {
    MILLRACE_ASSIGN_OR_RETURN(prediction.score, in.float64());
    MILLRACE_ASSIGN_OR_RETURN(prediction.prior, in.float64());
    MILLRACE_ASSIGN_OR_RETURN(prediction.last, in.float64());
  }
  MILLRACE_RETURN_IF_ERROR(decoder_->add(in));
  restored_.push_back(std::move(row));
  return {};
}

}  // namespace millrace::pipeline
