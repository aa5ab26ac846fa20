// hf_config: a ModelSpec as the config.json that `transformers` reads. (Back: parse_model, config.h.)
#pragma once

#include <string>
#include <vector>

#include "bittern/checkpoint.h"
#include "bittern/config.h"
#include "bittern/model_spec.h"
#include "bittern/tokenizer.h"
#include "store/quantization_config.h"

namespace bittern {

/// `separator`: the token that ends every document, and so comes before every one (-1: none).
std::string hf_config_json(const ModelSpec& spec, const WeightsSection& codecs, std::int64_t separator);

/// What `transformers` needs to use tokenizer.model as bittern does: no token added in front, no space put before the
/// text.
std::vector<CheckpointContents::SmallFile> tokenizer_files(const Tokenizer& tokenizer);

}  // namespace bittern
