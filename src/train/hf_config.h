// hf_config: a ModelSpec as the config.json that `transformers` reads, and back.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "bittern/model_spec.h"

namespace bittern {

/// `torch_dtype`: "float32" or "bfloat16". Ids below 0 are left out.
std::string hf_config_json(const ModelSpec& spec, const std::string& torch_dtype, std::int64_t bos, std::int64_t eos);

/// From a config checked by parse_hf_config.
ModelSpec spec_from_hf(const nlohmann::json& config);

}  // namespace bittern
