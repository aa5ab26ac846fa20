// TrainingData: what a run learns from, and what it is looked at with while it learns: the token streams, the order of
// the samples, and the tokenizer and prompt of its text samples.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "bittern/config.h"
#include "bittern/sampler.h"
#include "bittern/token_file.h"
#include "bittern/tokenizer.h"

namespace bittern {

struct TrainingData {
  TokenStream stream;
  std::optional<TokenStream> valid;
  std::optional<Tokenizer> tokenizer;
  Sampler sampler;
  std::vector<std::int32_t> sample_prompt;  ///< ids; empty: no samples
};

/// Opens all of it, and completes config.model.vocab_size from it; throws where config and data contradict each other.
TrainingData open_data(RunConfig& config);

/// Opens the stream to train on, and completes config.model.vocab_size from it.
TokenStream open_training_stream(RunConfig& config);

/// Whether the stream's ids were made by another tokenizer than the one with these bytes: then they mean other text. False
/// where one of the two is not known.
bool of_other_tokenizer(const TokenStream& stream, const std::string& tokenizer_model);

/// Positions that the samples of training take in the key/value cache (0: no samples); throws where the model has
/// fewer.
std::int64_t sample_positions(const RunConfig& config, const std::optional<Tokenizer>& tokenizer);

}  // namespace bittern
