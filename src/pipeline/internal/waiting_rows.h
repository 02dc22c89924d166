#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "columns/batch.h"
#include "learn/trainer.h"
#include "pipeline/internal/row_codec.h"
#include "state/page.h"

namespace millrace::pipeline {

// A row that waits for its label, with what was predicted when it came.
struct WaitingRow {
  std::shared_ptr<const columns::Batch> batch;
  uint32_t row = 0;
  int64_t due_us = 0;
  std::string key;                             // of the label's keys; empty where there are none
  std::vector<learn::Prediction> predictions;  // one per trainer behind the label
  bool written = false;                        // its page is in the changelog

  const columns::RowId& id() const { return batch->row_id(row); }
};

// The rows that wait, by offset and by when they fall due, as state: a page per row, written only where a row waits
// longer than a commit. Memory: a waiting row keeps its batch. One thread.
class WaitingRows final : public state::Paged {
 public:
  WaitingRows(columns::SchemaPtr schema, size_t trainers) : schema_(std::move(schema)), trainers_(trainers) {}

  // Preconditions: no row of that offset waits; the row fits().
  void add(WaitingRow row);
  // Whether all that is kept of a row goes into its one page.
  bool fits(const columns::Batch& batch, size_t row, std::string_view key) const;

  size_t size() const { return rows_.size(); }
  bool empty() const { return rows_.empty(); }
  WaitingRow& at(Offset offset) { return rows_.at(offset.value()); }
  // Null where none of that offset waits.
  WaitingRow* find(Offset offset);
  WaitingRow take(Offset offset);
  // The row that falls due first, by (due, offset); and the one that came first. Precondition: not empty.
  std::pair<int64_t, Offset> first_due() const { return {order_.begin()->first, Offset(order_.begin()->second)}; }
  Offset oldest() const { return Offset(*offsets_.begin()); }

  void collect(state::PageSink& sink) override;
  Status restore(ByteView key, uint64_t page, ByteView value) override;
  // All pages are there; calls `visit` for each row, by offset.
  template <typename Visit>
  void finish_restore(Visit visit) {
    if (!decoder_) return;
    const auto batch = std::make_shared<const columns::Batch>(std::move(*decoder_).finish());
    decoder_.reset();
    for (size_t i = 0; i < restored_.size(); ++i) {
      restored_[i].batch = batch;
      restored_[i].row = static_cast<uint32_t>(i);
      restored_[i].written = true;
      const Offset offset = restored_[i].id().offset;
      insert(std::move(restored_[i]));
      visit(at(offset));
    }
    restored_.clear();
  }

 private:
  void insert(WaitingRow row);

  columns::SchemaPtr schema_;
  size_t trainers_;
  std::unordered_map<int64_t, WaitingRow> rows_;  // by offset
  std::set<int64_t> offsets_;
  std::set<std::pair<int64_t, int64_t>> order_;  // (due, offset)
  std::vector<int64_t> fresh_;                   // offsets whose page is to be written, if they still wait
  std::vector<int64_t> gone_;                    // offsets whose page is to be erased
  std::unique_ptr<RowDecoder> decoder_;          // while restoring
  std::vector<WaitingRow> restored_;
};

}  // namespace millrace::pipeline
