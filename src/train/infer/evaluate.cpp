// `bittern eval`: loss, perplexity and bits per byte of a text under a model.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numbers>
#include <utility>

#include "base/signals.h"
#include "bittern/prepare.h"
#include "bittern/progress.h"
#include "bittern/trainer.h"
#include "train/infer/inference.h"
#include "train/infer/text_sampler.h"
#include "train/infer/validation.h"
#include "train/session/training_data.h"

namespace bittern {
namespace {

/// A text file, to be tokenized here; everything else is opened as tokens.
bool is_text(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error) && !path.ends_with(".bin");
}

constexpr std::int64_t largest_text = std::int64_t{1} << 30;

}  // namespace

void evaluate(const EvaluateOptions& options) {
  const StopSignals signals;
  OpenedModel opened = open_model(options.checkpoint, options.compute, options.weights, options.threads);
  const std::string& data = options.data;
  const std::int64_t T = options.sequence_length > 0 ? options.sequence_length : opened.config.data.sequence_length;
  const ModelSpec& model = opened.config.model;
  if (T > model.max_position_embeddings)
    throw input_error("--sequence-length {}: the model has {} positions (max_position_embeddings)", T,
                      model.max_position_embeddings);

  ValidationResult result;
  double bytes_per_target = 0;
  if (is_text(data)) {
    if (!opened.tokenizer)
      throw input_error("{}: no tokenizer.model to read {} with; name a folder made by `bittern prepare`",
                        opened.folder, data);
    TextTokens text = read_text_tokens(data, *opened.tokenizer, largest_text);
    for (const std::string& warning : text.warnings) spdlog::warn("{}", warning);
    std::vector<std::int32_t> ids = std::move(text.ids);
    if (opened.special_ids.bos >= 0) ids.insert(ids.begin(), static_cast<std::int32_t>(opened.special_ids.bos));
    const std::unique_ptr<Session> session = load_model(opened, options.batch, T, 0);
    result = validation_loss(*session->model, ids, options.max_sequences, data);
    bytes_per_target =
        static_cast<double>(text.text_bytes) / static_cast<double>(std::max<std::size_t>(ids.size() - 1, 1));
  } else {
    TokenStream stream = TokenStream::open(data, Split::valid);
    if (opened.tokenizer && of_other_tokenizer(stream, opened.tokenizer->file_bytes()))
      throw input_error(
          "--data {}: it was made with another tokenizer than {}/tokenizer.model, so its ids mean other text than those "
          "that the model has learned; name the text itself, or make the data with `bittern prepare --tokenizer "
          "{}/tokenizer.model`",
          data, opened.folder, opened.folder);
    stream.limit_vocabulary(opened.config.model.vocab_size);
    stream.verify_checksums([] { return !stop_requested(); });
    const std::unique_ptr<Session> session = load_model(opened, options.batch, T, 0);
    result = validation_loss(*session->model, stream, options.max_sequences);
    bytes_per_target = stream.bytes_per_token();
  }
  if (result.interrupted) throw Error(ExitCode::interrupted, "stopped before the end: nothing was measured");

  const double perplexity = std::exp(result.loss);
  const double bits_per_byte = bytes_per_target > 0 ? result.loss / std::numbers::ln2 / bytes_per_target : 0;
  if (options.json) {
    nlohmann::ordered_json json = {{"checkpoint", opened.folder},
                                   {"data", data},
                                   {"loss", result.loss},
                                   {"perplexity", perplexity},
                                   {"tokens", result.targets}};
    if (bits_per_byte > 0) json["bits_per_byte"] = bits_per_byte;
    fmt::print("{}\n", json.dump());
    return;
  }
  fmt::print("{}\n  on {}: {} tokens in sequences of {}\n  loss {:.4f}   perplexity {:.2f}", opened.folder, data,
             with_commas(result.targets), T, result.loss, perplexity);
  if (bits_per_byte > 0) fmt::print("   bits per byte {:.4f}", bits_per_byte);
  fmt::print("\n");
}

}  // namespace bittern
