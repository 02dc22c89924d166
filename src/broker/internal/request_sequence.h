#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "base/byte_reader.h"
#include "base/byte_writer.h"
#include "wire/messages.h"

namespace millrace::broker {

// Several requests as a fuzzer's input. Each is
//
//   u8   the API's key; any other number: one of wire::supported_apis(), modulo their number; 0xff: the body is a whole
//        frame, header and all
//   u8   lowest seven bits: which version of those that it decodes, modulo their number; 0x80: make the checksums of
//        batches in it good
//   u16  bytes of its body that follow; what is left, where that is less
struct FuzzedRequest {
  uint8_t api = 0;
  uint8_t version = 0;
  Bytes body;

  static constexpr uint8_t kWholeFrame = 0xff;
  static constexpr uint8_t kMakeChecksumsGood = 0x80;

  bool is_whole_frame() const { return api == kWholeFrame; }
  const wire::ApiRange& range() const {
    if (const wire::ApiRange* known = wire::find_api(api)) return *known;
    const auto apis = wire::supported_apis();
    return apis[api % apis.size()];
  }
  int16_t api_version() const {
    const wire::ApiRange& of = range();
    return static_cast<int16_t>(of.decodable_min +
                                (version & ~kMakeChecksumsGood) % (of.decodable_max - of.decodable_min + 1));
  }
};

inline std::vector<FuzzedRequest> read_sequence(ByteView in) {
  std::vector<FuzzedRequest> requests;
  while (in.size() >= 4) {
    FuzzedRequest& request = requests.emplace_back();
    request.api = std::to_integer<uint8_t>(in[0]);
    request.version = std::to_integer<uint8_t>(in[1]);
    const size_t size = std::min<size_t>(ByteReader(in.subspan(2)).fixed<uint16_t>().value(), in.size() - 4);
    request.body.assign(in.begin() + 4, in.begin() + 4 + static_cast<ptrdiff_t>(size));
    in = in.subspan(4 + size);
  }
  return requests;
}

inline Bytes write_sequence(std::span<const FuzzedRequest> requests) {
  Bytes bytes;
  ByteWriter out(bytes);
  for (const FuzzedRequest& request : requests) {
    const size_t size = std::min<size_t>(request.body.size(), UINT16_MAX);
    out.fixed(request.api);
    out.fixed(request.version);
    out.fixed(static_cast<uint16_t>(size));
    out.bytes(ByteView(request.body).first(size));
  }
  return bytes;
}

}  // namespace millrace::broker
