// Opening a run's data, and what config and data must agree on.
#include "train/session/training_data.h"

#include <spdlog/spdlog.h>

#include "bittern/error.h"
#include "bittern/file.h"
#include "bittern/prepare.h"
#include "store/hf_config.h"
#include "train/infer/text_sampler.h"

namespace bittern {
namespace {

/// The validation split, if there is one with at least one sequence.
std::optional<TokenStream> open_validation_stream(const RunConfig& config) {
  const bool own = !config.data.valid_path.empty();
  if (!own && !is_prepared_folder(config.data.path)) return std::nullopt;
  TokenStream stream = TokenStream::open(own ? config.data.valid_path : config.data.path, Split::valid);
  stream.limit_vocabulary(config.model.vocab_size);
  if (stream.token_count() <= config.data.sequence_length) {
    if (own)
      throw input_error("data.valid_path {}: {} tokens are fewer than one sequence of {} and the token after it",
                        config.data.valid_path, stream.token_count(), config.data.sequence_length);
    return std::nullopt;
  }
  return stream;
}

}  // namespace

TokenStream open_training_stream(RunConfig& config) {
  if (config.data.path.empty())
    throw input_error(
        "data.path is not set; name a folder made by `bittern prepare`, a llm.c .bin file or a Megatron prefix");
  TokenStream stream = TokenStream::open(config.data.path, Split::train);
  if (config.model.vocab_size == 0) config.model.vocab_size = stream.vocab_size();
  if (config.model.vocab_size == 0)
    throw input_error(
        "model.vocab_size is not set, and the format of {} does not say it; set it to the tokenizer's vocabulary size",
        config.data.path);
  stream.limit_vocabulary(config.model.vocab_size);
  return stream;
}

bool of_other_tokenizer(const TokenStream& stream, const std::string& tokenizer_model) {
  return !stream.tokenizer_checksum().empty() && !tokenizer_model.empty() &&
         checksum_text(checksum(as_bytes(tokenizer_model))) != stream.tokenizer_checksum();
}

std::int64_t sample_positions(const RunConfig& config, const std::optional<Tokenizer>& tokenizer) {
  if (config.train.sample_every == 0) return 0;
  if (!tokenizer)
    throw input_error(
        "train.sample_every is {}, and data.path {} is not there or has no tokenizer to write text with; prepare it, "
        "or set train.sample_every to 0",
        config.train.sample_every, config.data.path);
  const std::vector<std::int32_t> prompt = prompt_tokens(*tokenizer, tokenizer->eos(), config.train.sample_prompt);
  const std::int64_t positions = static_cast<std::int64_t>(prompt.size()) + config.train.sample_tokens;
  if (positions > config.model.max_position_embeddings)
    throw input_error(
        "train.sample_prompt and train.sample_tokens take {} positions, and model.max_position_embeddings is {}; lower "
        "train.sample_tokens",
        positions, config.model.max_position_embeddings);
  return positions;
}

TrainingData open_data(RunConfig& config) {
  TokenStream stream = open_training_stream(config);
  std::optional<TokenStream> valid;
  if (config.train.evaluate_every > 0) valid = open_validation_stream(config);
  if (valid && !valid->tokenizer_checksum().empty() && !stream.tokenizer_checksum().empty() &&
      valid->tokenizer_checksum() != stream.tokenizer_checksum())
    throw input_error(
        "data.valid_path {}: it was made with another tokenizer than data.path {}, so its ids mean other text; make it "
        "with `bittern prepare --tokenizer {}`",
        config.data.valid_path, config.data.path, stream.tokenizer_path());
  const Sampler sampler(stream.token_count(), config.data.sequence_length, static_cast<std::uint32_t>(config.run.seed),
                        config.data.shuffle);
  std::optional<Tokenizer> tokenizer;
  if (!stream.tokenizer_path().empty()) {
    tokenizer = Tokenizer::load(stream.tokenizer_path());
    if (const std::string warning = warning_of_transformers(*tokenizer); !warning.empty())
      spdlog::warn("{}: {}", stream.tokenizer_path(), warning);
  }
  std::vector<std::int32_t> sample_prompt;
  if (config.train.sample_every > 0 && tokenizer)
    sample_prompt = prompt_tokens(*tokenizer, tokenizer->eos(), config.train.sample_prompt);
  return {.stream = std::move(stream),
          .valid = std::move(valid),
          .tokenizer = std::move(tokenizer),
          .sampler = sampler,
          .sample_prompt = std::move(sample_prompt)};
}

}  // namespace bittern
