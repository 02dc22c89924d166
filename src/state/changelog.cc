#include "state/changelog.h"

#include <fmt/core.h>

#include "base/byte_reader.h"
#include "base/check.h"

// Layouts: docs/formats/changelog.md.

namespace millrace::state {

namespace {

constexpr uint8_t kVersion = 1;
constexpr std::string_view kOpenKey = "__open";
constexpr std::string_view kCommitKey = "__commit";
enum class Op : uint8_t { kErase = 0, kPut = 1 };
constexpr size_t kStepBytesMax = 1024;

Status expect_end(const ByteReader& reader, std::string_view what) {
  if (reader.remaining() == 0) return {};
  return fail(Errc::kCorruption, fmt::format("changelog: {} bytes too many in {}", reader.remaining(), what));
}

Status expect_version(ByteReader& reader) {
  MILLRACE_ASSIGN_OR_RETURN(const uint8_t version, reader.fixed<uint8_t>());
  if (version == kVersion) return {};
  return fail(Errc::kUnsupported,
              fmt::format("changelog: a record of version {}, this build reads {}", version, kVersion),
              "run the version of millrace that wrote it");
}

Result<Entry> decode_open(ByteView value) {
  ByteReader reader(value);
  MILLRACE_RETURN_IF_ERROR(expect_version(reader));
  Open open;
  MILLRACE_ASSIGN_OR_RETURN(open.generation, reader.fixed<int32_t>());
  MILLRACE_RETURN_IF_ERROR(expect_end(reader, kOpenKey));
  return Entry(open);
}

Result<Entry> decode_commit(ByteView value) {
  ByteReader reader(value);
  MILLRACE_RETURN_IF_ERROR(expect_version(reader));
  Commit commit;
  MILLRACE_ASSIGN_OR_RETURN(commit.generation, reader.fixed<int32_t>());
  MILLRACE_ASSIGN_OR_RETURN(const int64_t next_offset, reader.fixed<int64_t>());
  MILLRACE_ASSIGN_OR_RETURN(commit.changes, reader.fixed<uint32_t>());
  commit.next_offset = Offset(next_offset);
  if (next_offset < 0) return fail(Errc::kCorruption, "changelog: a negative offset in __commit");
  MILLRACE_RETURN_IF_ERROR(expect_end(reader, kCommitKey));
  return Entry(commit);
}

Result<Entry> decode_change(ByteView key, ByteView value) {
  Change change;
  ByteReader keys(key);
  MILLRACE_RETURN_IF_ERROR(expect_version(keys));
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t step_bytes, keys.uvarint());
  if (step_bytes > kStepBytesMax) return fail(Errc::kCorruption, "changelog: a step's id is too long");
  MILLRACE_ASSIGN_OR_RETURN(change.id.step.step, keys.text(step_bytes));
  MILLRACE_ASSIGN_OR_RETURN(change.id.step.signature, keys.fixed<uint64_t>());
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t key_bytes, keys.uvarint());
  if (key_bytes > kKeyBytesMax) return fail(Errc::kCorruption, "changelog: a key is too long");
  MILLRACE_ASSIGN_OR_RETURN(change.id.key, keys.text(key_bytes));
  MILLRACE_ASSIGN_OR_RETURN(change.id.page, keys.uvarint());
  MILLRACE_RETURN_IF_ERROR(expect_end(keys, "a page's key"));

  ByteReader values(value);
  MILLRACE_ASSIGN_OR_RETURN(change.generation, values.fixed<int32_t>());
  MILLRACE_ASSIGN_OR_RETURN(const uint8_t op, values.fixed<uint8_t>());
  const size_t size = values.remaining();
  switch (op) {
    case static_cast<uint8_t>(Op::kErase):
      MILLRACE_RETURN_IF_ERROR(expect_end(values, "an erased page"));
      return Entry(std::move(change));
    case static_cast<uint8_t>(Op::kPut): {
      if (size == 0 || size > kPageBytesMax)
        return fail(Errc::kCorruption, fmt::format("changelog: a page of {} bytes", size));
      MILLRACE_ASSIGN_OR_RETURN(const ByteView bytes, values.bytes(size));
      change.value.emplace(bytes.begin(), bytes.end());
      return Entry(std::move(change));
    }
    default:
      return fail(Errc::kCorruption, fmt::format("changelog: unknown operation {}", op));
  }
}

uint64_t bytes_of(const PageId& id, const Bytes& value) {
  return id.step.step.size() + id.key.size() + value.size() + sizeof(PageId);
}

}  // namespace

EncodedRecord encode(const Open& open) {
  EncodedRecord record{to_bytes(kOpenKey), {}};
  ByteWriter writer(record.value);
  writer.fixed(kVersion);
  writer.fixed(open.generation);
  return record;
}

EncodedRecord encode(const Commit& commit) {
  EncodedRecord record{to_bytes(kCommitKey), {}};
  ByteWriter writer(record.value);
  writer.fixed(kVersion);
  writer.fixed(commit.generation);
  writer.fixed(commit.next_offset.value());
  writer.fixed(commit.changes);
  return record;
}

Result<Entry> decode(ByteView key, ByteView value) {
  if (as_text(key) == kOpenKey) return decode_open(value);
  if (as_text(key) == kCommitKey) return decode_commit(value);
  return decode_change(key, value);
}

class ChangelogGroup::Sink final : public PageSink {
 public:
  explicit Sink(ChangelogGroup& group) : group_(group) {}
  void put(ByteView key, uint64_t page, ByteView value) override {
    MILLRACE_CHECK(!value.empty() && value.size() <= kPageBytesMax, "page out of bounds");
    group_.add_change(key, page, value);
  }
  void erase(ByteView key, uint64_t page) override { group_.add_change(key, page, std::nullopt); }

 private:
  ChangelogGroup& group_;
};

PageSink& ChangelogGroup::sink(const StepId& step) {
  MILLRACE_CHECK(step.step.size() <= kStepBytesMax, "a step's id is too long");
  step_prefix_.clear();
  ByteWriter writer(step_prefix_);
  writer.fixed(kVersion);
  writer.uvarint(step.step.size());
  writer.text(step.step);
  writer.fixed(step.signature);
  sink_ = std::make_unique<Sink>(*this);
  return *sink_;
}

void ChangelogGroup::add_change(ByteView key, uint64_t page, std::optional<ByteView> value) {
  MILLRACE_CHECK(key.size() <= kKeyBytesMax, "key of state out of bounds");
  Extent extent{buffer_.size(), 0, 0};
  ByteWriter writer(buffer_);
  writer.bytes(step_prefix_);
  writer.uvarint(key.size());
  writer.bytes(key);
  writer.uvarint(page);
  extent.value_begin = buffer_.size();
  writer.fixed(generation_);
  writer.fixed(static_cast<uint8_t>(value ? Op::kPut : Op::kErase));
  if (value) writer.bytes(*value);
  extent.end = buffer_.size();
  records_.push_back(extent);
  ++changes_;
}

void ChangelogGroup::close(Offset next_offset) {
  const EncodedRecord record = encode(Commit{next_offset, generation_, changes_});
  Extent extent{buffer_.size(), 0, 0};
  buffer_.insert(buffer_.end(), record.key.begin(), record.key.end());
  extent.value_begin = buffer_.size();
  buffer_.insert(buffer_.end(), record.value.begin(), record.value.end());
  extent.end = buffer_.size();
  records_.push_back(extent);
}

ChangelogGroup::RecordView ChangelogGroup::record(size_t index) const {
  const Extent& extent = records_[index];
  const ByteView all(buffer_);
  return {all.subspan(extent.key_begin, extent.value_begin - extent.key_begin),
          all.subspan(extent.value_begin, extent.end - extent.value_begin)};
}

void ChangelogGroup::clear(Generation generation) {
  generation_ = generation;
  changes_ = 0;
  buffer_.clear();
  records_.clear();
}

void Restorer::drop_pending() {
  for (const auto& [generation, pending] : pending_) changes_dropped_ += pending.changes.size();
  pending_.clear();
  pending_bytes_ = 0;
}

Status Restorer::feed(ByteView key, ByteView value) {
  MILLRACE_ASSIGN_OR_RETURN(Entry entry, decode(key, value));
  if (const auto* open = std::get_if<Open>(&entry)) {
    if (opened_ && open->generation < *opened_) return {};  // a deposed owner's
    drop_pending();
    opened_ = open->generation;
    return {};
  }
  if (const auto* commit = std::get_if<Commit>(&entry)) return apply(*commit);

  Change& change = std::get<Change>(entry);
  if (opened_ && change.generation < *opened_) {
    ++changes_dropped_;
    return {};
  }
  const uint64_t bytes = bytes_of(change.id, change.value ? *change.value : Bytes{});
  Pending& pending = pending_[change.generation];
  pending.bytes += bytes;
  pending_bytes_ += bytes;
  if (state_bytes_ + pending_bytes_ > state_bytes_max_)
    return fail(Errc::kTooLarge, fmt::format("changelog: the state is larger than {} bytes", state_bytes_max_));
  pending.changes.push_back(std::move(change));
  return {};
}

Status Restorer::apply(const Commit& commit) {
  if (opened_ && commit.generation < *opened_) return {};
  Pending group = std::move(pending_[commit.generation]);
  pending_.erase(commit.generation);
  pending_bytes_ -= group.bytes;
  if (group.changes.size() != commit.changes)
    return fail(Errc::kCorruption,
                fmt::format("changelog: the commit at input offset {} closes {} changes, {} are there",
                            commit.next_offset.value(), commit.changes, group.changes.size()));
  if (restored_.next_offset && commit.next_offset < *restored_.next_offset)
    return fail(Errc::kCorruption, fmt::format("changelog: a commit at input offset {} follows one at {}",
                                               commit.next_offset.value(), restored_.next_offset->value()));
  for (Change& change : group.changes) {
    const auto found = restored_.pages.find(change.id);
    if (found != restored_.pages.end()) {
      state_bytes_ -= bytes_of(found->first, found->second);
      if (!change.value) restored_.pages.erase(found);
    }
    if (!change.value) continue;
    state_bytes_ += bytes_of(change.id, *change.value);
    restored_.pages.insert_or_assign(std::move(change.id), std::move(*change.value));
  }
  restored_.next_offset = commit.next_offset;
  ++groups_applied_;
  return {};
}

Restored Restorer::finish() && {
  drop_pending();
  return std::move(restored_);
}

}  // namespace millrace::state
