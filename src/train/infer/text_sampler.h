// text_sampler: from logits to a token, and from a model and a prompt to a text.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "bittern/model.h"
#include "bittern/tokenizer.h"

namespace bittern {

struct SamplingOptions {
  double temperature = 0.8;  ///< 0: the most likely token
  std::int64_t top_k = 0;    ///< 0: all
  double top_p = 1.0;        ///< keep the most likely tokens that together have at least this probability
  std::uint32_t seed = 1;
  std::vector<std::int64_t> ends = {};  ///< ids that end a text, besides the tokenizer's EOS
};

/// The next token; `position` addresses the random number, so the choice is a pure function of the arguments.
std::int32_t sample_token(std::span<const float> logits, const SamplingOptions& options, std::uint64_t position,
                          std::uint32_t stream = 0);

/// Ids to begin with: `begin` (-1: none), what a document begins after, and the prompt. In prepared data that is EOS,
/// which separates documents; a Hugging Face folder says it as bos_token_id.
std::vector<std::int32_t> prompt_tokens(const Tokenizer& tokenizer, std::int64_t begin, const std::string& prompt);

/// Generates up to `count` tokens after `prompt` (ids), handing each piece of text to `emit`; ends at EOS, when the
/// cache is full, or when `emit` returns false. Returns the number of tokens.
std::int64_t generate_text(Transformer& model, const Tokenizer& tokenizer, std::span<const std::int32_t> prompt,
                           std::int64_t count, const SamplingOptions& options, std::uint32_t stream,
                           const std::function<bool(const std::string&)>& emit);

}  // namespace bittern
