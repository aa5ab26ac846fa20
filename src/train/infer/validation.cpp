// Chooses the windows of a validation, and computes their mean loss.
#include "train/infer/validation.h"

#include <algorithm>
#include <vector>

#include "base/signals.h"
#include "bittern/sampler.h"

namespace bittern {
namespace {

/// `read(first, window)` fills a window from token `first` on.
template <class Read>
ValidationResult mean_loss(Transformer& model, std::int64_t token_count, std::int64_t max_sequences,
                           const std::string& name, const Read& read, const std::function<void()>& each_batch) {
  const std::int64_t B = model.options().batch, T = model.options().sequence_length;
  const std::int64_t windows = (token_count - 1) / T;
  if (windows < 1)
    throw input_error(
        "{}: {} tokens of validation text are fewer than one sequence of {} and the token after it; give more text or "
        "shorter sequences (`bittern eval --sequence-length`, or data.sequence_length of a run's config)",
        name, token_count, T);
  const std::int64_t count = max_sequences > 0 ? std::min(max_sequences, windows) : windows;
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(B * T)), targets(tokens.size()),
      window(static_cast<std::size_t>(T + 1));
  ValidationResult result;
  double loss = 0;
  for (std::int64_t first = 0; first < count; first += B) {
    if (each_batch) each_batch();
    if (stop_requested()) {
      result.interrupted = true;
      break;
    }
    std::fill(tokens.begin(), tokens.end(), 0);
    std::fill(targets.begin(), targets.end(), -1);  // rows beyond the last window count for nothing
    for (std::int64_t row = 0; row < std::min(B, count - first); ++row) {
      read((first + row) * windows / count * T, std::span(window));
      std::copy_n(window.begin(), T, tokens.begin() + row * T);
      std::copy_n(window.begin() + 1, T, targets.begin() + row * T);
    }
    const LossSums sums = model.forward(tokens, targets);
    loss += sums.loss;
    result.targets += sums.targets;
  }
  if (result.targets > 0) result.loss = loss / static_cast<double>(result.targets);
  return result;
}

}  // namespace

ValidationResult validation_loss(Transformer& model, const TokenStream& stream, std::int64_t max_sequences,
                                 const std::function<void()>& each_batch) {
  return mean_loss(
      model, stream.token_count(), max_sequences, stream.name(),
      [&](std::int64_t first, std::span<std::int32_t> window) { stream.read(first, window); }, each_batch);
}

ValidationResult validation_loss(Transformer& model, std::span<const std::int32_t> ids, std::int64_t max_sequences,
                                 const std::string& name) {
  return mean_loss(model, static_cast<std::int64_t>(ids.size()), max_sequences, name,
                   [&](std::int64_t first, std::span<std::int32_t> window) {
                     std::copy_n(ids.begin() + first, window.size(), window.begin());
                   },
                   {});
}

}  // namespace bittern
