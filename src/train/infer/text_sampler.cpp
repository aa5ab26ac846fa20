// Chooses a token from logits, and generates text token by token.
#include "train/infer/text_sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "bittern/quant/philox.h"

namespace bittern {

std::int32_t sample_token(std::span<const float> logits, const SamplingOptions& options, std::uint64_t position,
                          std::uint32_t stream) {
  // A total order, so that equal logits (and NaN, last) never make the choice depend on the sort.
  const auto before = [&](std::int32_t a, std::int32_t b) {
    const float x = logits[static_cast<std::size_t>(a)], y = logits[static_cast<std::size_t>(b)];
    if (std::isnan(x) || std::isnan(y)) return !std::isnan(x) || (std::isnan(y) && a < b);
    return x > y || (x == y && a < b);
  };
  std::vector<std::int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  if (options.temperature <= 0) return *std::min_element(order.begin(), order.end(), before);

  std::size_t kept = order.size();
  if (options.top_k > 0) kept = std::min(kept, static_cast<std::size_t>(options.top_k));
  const bool all = kept == order.size() && options.top_p >= 1.0;  // then the order does not matter
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(all ? 1 : kept), order.end(), before);
  const double largest = logits[static_cast<std::size_t>(order.front())];
  std::vector<double> weight(kept);
  std::transform(
      order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), weight.begin(), [&](std::int32_t id) {
        const double value = std::exp((logits[static_cast<std::size_t>(id)] - largest) / options.temperature);
        return std::isfinite(value) ? value : 0.0;
      });
  double total = std::accumulate(weight.begin(), weight.end(), 0.0);
  if (options.top_p < 1.0) {
    double sum = 0.0;
    std::size_t count = 0;
    while (count < kept && (count == 0 || sum < options.top_p * total)) sum += weight[count++];
    kept = count;
    total = sum;
  }
  const PhiloxKey key = philox_key(options.seed, Purpose::sampling);
  double left = static_cast<double>(philox(key, position, 0, stream)) * 0x1p-32 * total;
  for (std::size_t i = 0; i < kept; ++i) {
    left -= weight[i];
    if (left < 0) return order[i];
  }
  return order.front();  // rounding, or no finite logit
}

std::vector<std::int32_t> prompt_tokens(const Tokenizer& tokenizer, std::int64_t begin, const std::string& prompt) {
  std::vector<std::int32_t> ids;
  if (begin >= 0) ids.push_back(static_cast<std::int32_t>(begin));
  const std::vector<std::int32_t> encoded = tokenizer.encode(prompt);
  ids.insert(ids.end(), encoded.begin(), encoded.end());
  if (ids.empty()) ids.push_back(0);
  return ids;
}

std::int64_t generate_text(Transformer& model, const Tokenizer& tokenizer, std::span<const std::int32_t> prompt,
                           std::int64_t count, const SamplingOptions& options, std::uint32_t stream,
                           const std::function<bool(const std::string&)>& emit) {
  TokenDecoder decoder(tokenizer);
  const std::int64_t capacity = model.options().cache_length;
  std::int64_t position = static_cast<std::int64_t>(prompt.size()), made = 0;
  std::vector<float> logits = model.next_logits(prompt, 0);
  // A model may have more rows than the tokenizer has pieces (a padded vocabulary): those are never chosen.
  const std::size_t choices = std::min(logits.size(), static_cast<std::size_t>(tokenizer.vocab_size()));
  while (made < count) {
    const std::int32_t id =
        sample_token(std::span(logits).first(choices), options, static_cast<std::uint64_t>(position), stream);
    ++made;
    const bool ends =
        id == tokenizer.eos() || std::find(options.ends.begin(), options.ends.end(), id) != options.ends.end();
    if (ends || !emit(decoder.push(id)) || made == count || position >= capacity) break;
    logits = model.next_logits(std::span(&id, 1), position++);
  }
  emit(decoder.finish());
  return made;
}

}  // namespace bittern
