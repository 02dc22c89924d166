#include "state/page.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/byte_reader.h"

namespace millrace::state {

namespace {

// Page 0 begins with the size of the whole blob.
constexpr size_t kHeaderBytes = sizeof(uint64_t);
constexpr uint64_t kBlobBytesMax = 1ull << 32;

size_t page_count(size_t blob_bytes) { return (kHeaderBytes + blob_bytes + kPageBytesMax - 1) / kPageBytesMax; }

}  // namespace

void BlobPages::put(ByteView blob, PageSink& sink) {
  const size_t count = page_count(blob.size());
  size_t done = 0;
  for (size_t i = 0; i < count; ++i) {
    Bytes page;
    ByteWriter writer(page);
    if (i == 0) writer.fixed(static_cast<uint64_t>(blob.size()));
    const size_t part = std::min(kPageBytesMax - page.size(), blob.size() - done);
    writer.bytes(blob.subspan(done, part));
    done += part;
    if (i < pages_.size() && pages_[i] == page) continue;
    sink.put(as_byte_view(key_), i, page);
    if (i == pages_.size())
      pages_.push_back(std::move(page));
    else
      pages_[i] = std::move(page);
  }
  for (size_t i = count; i < pages_.size(); ++i) sink.erase(as_byte_view(key_), i);
  pages_.resize(count);
}

Status BlobPages::restore(uint64_t page, ByteView value) {
  if (page > kBlobBytesMax / kPageBytesMax || value.empty() || value.size() > kPageBytesMax)
    return fail(Errc::kCorruption, fmt::format("page {} of {} bytes cannot be part of a blob", page, value.size()));
  if (page >= pages_.size()) pages_.resize(page + 1);
  pages_[page].assign(value.begin(), value.end());
  return {};
}

Result<Bytes> BlobPages::take() {
  Bytes blob;
  if (pages_.empty()) return blob;
  ByteReader header(pages_.front());
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t size, header.fixed<uint64_t>());
  if (size > kBlobBytesMax || page_count(size) != pages_.size())
    return fail(Errc::kCorruption, fmt::format("a blob of {} bytes is not what {} pages hold", size, pages_.size()));
  for (const Bytes& page : pages_) {
    const ByteView part = ByteView(page).subspan(blob.empty() && &page == &pages_.front() ? kHeaderBytes : 0);
    blob.insert(blob.end(), part.begin(), part.end());
  }
  if (blob.size() != size) return fail(Errc::kCorruption, "a page of a blob is missing or cut off");
  return blob;
}

}  // namespace millrace::state
