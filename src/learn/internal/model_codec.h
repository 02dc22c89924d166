#pragma once

#include "base/byte_reader.h"
#include "base/byte_writer.h"
#include "base/result.h"
#include "learn/internal/state_codec.h"
#include "learn/model.h"

// The frame and the spec of a model's bytes; layout in docs/formats/model-state.md.
namespace millrace::learn::internal {

// Begins a model; seal_model() later fills in the checksum of all that follows it.
void write_model_header(ByteWriter& out);
void seal_model(Bytes& model);
// A reader behind the header of a model whose checksum is right.
Result<ByteReader> open_model(ByteView model);

void write_spec(ByteWriter& out, const ModelSpec& spec);
// Well-formed, but not checked: Model::make() does.
Result<ModelSpec> read_spec(ByteReader& in);

}  // namespace millrace::learn::internal
