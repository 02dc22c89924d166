#include "learn/internal/model_codec.h"

// magic "MRMD" | version u16 | CRC-32C u32 of all that follows | spec | preprocessing | learner
namespace millrace::learn::internal {
namespace {

constexpr uint32_t kMagic = 0x4d524d44;
constexpr uint16_t kVersion = 1;
constexpr size_t kCrcPosition = sizeof(kMagic) + sizeof(kVersion);
constexpr size_t kHeaderBytes = kCrcPosition + sizeof(uint32_t);

enum class Tag : uint8_t { kBoolean, kInteger, kReal, kText };

void write_param(ByteWriter& out, const ParamValue& value) {
  const auto tag = [&](Tag t) { out.fixed(static_cast<uint8_t>(t)); };
  if (const auto* boolean = std::get_if<bool>(&value)) {
    tag(Tag::kBoolean);
    out.fixed(static_cast<uint8_t>(*boolean));
  } else if (const auto* integer = std::get_if<int64_t>(&value)) {
    tag(Tag::kInteger);
    out.varint(*integer);
  } else if (const auto* real = std::get_if<double>(&value)) {
    tag(Tag::kReal);
    out.float64(*real);
  } else {
    tag(Tag::kText);
    write_text(out, std::get<std::string>(value));
  }
}

Result<ParamValue> read_param(ByteReader& in) {
  MILLRACE_ASSIGN_OR_RETURN(const auto tag, in.fixed<uint8_t>());
  switch (static_cast<Tag>(tag)) {
    case Tag::kBoolean: {
      MILLRACE_ASSIGN_OR_RETURN(const auto boolean, in.fixed<uint8_t>());
      return ParamValue(boolean != 0);
    }
    case Tag::kInteger: {
      MILLRACE_ASSIGN_OR_RETURN(const auto integer, in.varint());
      return ParamValue(integer);
    }
    case Tag::kReal: {
      MILLRACE_ASSIGN_OR_RETURN(const auto real, in.float64());
      return ParamValue(real);
    }
    case Tag::kText: {
      MILLRACE_ASSIGN_OR_RETURN(auto text, read_text(in));
      return ParamValue(std::move(text));
    }
  }
  return fail(Errc::kCorruption, "a parameter has an unknown type");
}

}  // namespace

void write_model_header(ByteWriter& out) {
  out.fixed(kMagic);
  out.fixed(kVersion);
  out.fixed(uint32_t{0});
}

void seal_model(Bytes& model) { ByteWriter(model).patch(kCrcPosition, crc32c(ByteView(model).subspan(kHeaderBytes))); }

Result<ByteReader> open_model(ByteView model) {
  ByteReader in(model);
  MILLRACE_ASSIGN_OR_RETURN(const auto magic, in.fixed<uint32_t>());
  if (magic != kMagic) return fail(Errc::kCorruption, "these bytes are not a model");
  MILLRACE_ASSIGN_OR_RETURN(const auto version, in.fixed<uint16_t>());
  if (version != kVersion)
    return fail(Errc::kUnsupported, "the model is of a newer format", "use the version that wrote it, or a newer one");
  MILLRACE_ASSIGN_OR_RETURN(const auto crc, in.fixed<uint32_t>());
  if (crc != crc32c(model.subspan(kHeaderBytes))) return fail(Errc::kCorruption, "the model's checksum is wrong");
  return in;
}

void write_spec(ByteWriter& out, const ModelSpec& spec) {
  write_text(out, spec.algorithm);
  out.uvarint(spec.params.size());
  for (const auto& [name, value] : spec.params) {
    write_text(out, name);
    write_param(out, value);
  }
  out.uvarint(spec.features.size());
  for (const FeatureSpec& feature : spec.features) {
    write_text(out, feature.name);
    out.fixed(static_cast<uint8_t>(feature.scale));
    out.fixed(static_cast<uint8_t>(feature.indicator));
  }
}

Result<ModelSpec> read_spec(ByteReader& in) {
  ModelSpec spec;
  MILLRACE_ASSIGN_OR_RETURN(spec.algorithm, read_text(in));
  MILLRACE_ASSIGN_OR_RETURN(const size_t params, read_count(in, 3));
  for (size_t i = 0; i < params; ++i) {
    MILLRACE_ASSIGN_OR_RETURN(auto name, read_text(in));
    MILLRACE_ASSIGN_OR_RETURN(auto value, read_param(in));
    spec.params.insert_or_assign(std::move(name), std::move(value));
  }
  MILLRACE_ASSIGN_OR_RETURN(const size_t features, read_count(in, 3));
  spec.features.reserve(features);
  for (size_t i = 0; i < features; ++i) {
    FeatureSpec feature;
    MILLRACE_ASSIGN_OR_RETURN(feature.name, read_text(in));
    MILLRACE_ASSIGN_OR_RETURN(const auto scale, in.fixed<uint8_t>());
    MILLRACE_ASSIGN_OR_RETURN(const auto indicator, in.fixed<uint8_t>());
    if (scale > static_cast<uint8_t>(Scale::kStandard) || indicator > 1)
      return fail(Errc::kCorruption, "a feature has an unknown preprocessing");
    feature.scale = static_cast<Scale>(scale);
    feature.indicator = indicator == 1;
    spec.features.push_back(std::move(feature));
  }
  return spec;
}

}  // namespace millrace::learn::internal
