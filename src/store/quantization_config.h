// quantization_config: the part of a checkpoint's config.json that says which weights are codes, and of what kind.
//
//   "quantization_config": {"format": "bittern", "version": 1, "note": "...",
//                           "weights": {"mlp_linear": {"codec": "int", "bits": 4, "range": "symmetric", ...}, ...}}
//
// Deliberately without `quant_method`: transformers refuses a model that has a quantization_config without one, while
// it would skip an unknown method with a warning and load codes as if they were numbers.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "bittern/config.h"

namespace bittern {

/// Codes of one and their scales are codes of the other: storage, bits, range, and what scales are made of.
bool same_codes(const WeightCodec& a, const WeightCodec& b);

/// Null where no weight is quantized. Of a codec only what says how codes become numbers is written.
nlohmann::ordered_json quantization_config(const WeightsSection& codecs);

/// The reverse, of a whole config.json: everything f32 where it has none. `path` is for messages: another format than
/// bittern's is refused.
WeightsSection parse_quantization_config(const nlohmann::json& config, std::string_view path);

}  // namespace bittern
