// quantization_config: the part of a checkpoint's config.json that says which weights are codes, and of what kind.
//
//   "quantization_config": {"format": "bittern", "version": 1, "note": "...",
//                           "weights": {"mlp_linear": {"codec": "int", "bits": 4, "range": "symmetric", ...}, ...}}
//
// Deliberately without `quant_method`: transformers refuses a model that has a quantization_config without one, while
// it would skip an unknown method with a warning and load codes as if they were numbers.
#pragma once

#include <array>
#include <nlohmann/json.hpp>
#include <string_view>

#include "bittern/config.h"
#include "bittern/parameter.h"

namespace bittern {

/// How the weights of each role are stored, by Role. Only what says how codes become numbers counts.
using StoredCodecs = std::array<WeightCodec, role_names.size()>;

StoredCodecs stored_codecs(const WeightsSection& weights);

/// Codes of one and their scales are codes of the other: storage, bits, range, and what scales are made of.
bool same_codes(const WeightCodec& a, const WeightCodec& b);

/// null where no weight is quantized.
nlohmann::ordered_json quantization_config(const StoredCodecs& codecs);

/// The reverse, of a whole config.json: everything f32 where it has none. `path` is for messages: another format than
/// bittern's is refused.
StoredCodecs parse_quantization_config(const nlohmann::json& config, std::string_view path);

}  // namespace bittern
