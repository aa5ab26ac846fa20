// hf_config: a ModelSpec as the config.json that `transformers` reads. (Back: parse_model, config.h.)
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bittern/checkpoint.h"
#include "bittern/config.h"
#include "bittern/hf_import.h"
#include "bittern/model_spec.h"
#include "bittern/tokenizer.h"
#include "store/quantization_config.h"

namespace bittern {

std::string hf_config_json(const ModelSpec& spec, const WeightsSection& codecs, const SpecialIds& ids);

/// Of a model that was trained on prepared data: the token that ends every document, and so comes before every one, is
/// both the beginning and the end of a text.
SpecialIds special_ids(const std::optional<Tokenizer>& tokenizer);

/// What `transformers` needs to use tokenizer.model as bittern does: no token added in front; whether a space is put
/// before a text.
std::vector<CheckpointContents::SmallFile> tokenizer_files(const Tokenizer& tokenizer);

/// A sentence where `transformers` reads other ids with tokenizer.model than bittern does, whatever it is told: its
/// LlamaTokenizer is a byte-pair model with byte fallback that keeps the text. Empty where it reads the same.
std::string warning_of_transformers(const Tokenizer& tokenizer);

}  // namespace bittern
