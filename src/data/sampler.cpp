// The order of the windows of an epoch: a permutation that is computed window by window, with a Feistel network.
#include "bittern/sampler.h"

#include <algorithm>
#include <bit>

#include "bittern/error.h"
#include "bittern/quant/philox.h"

namespace bittern {
namespace {

// Four rounds make a pseudo-random permutation of a good round function (Luby and Rackoff 1988); small domains want
// more.
constexpr std::uint32_t rounds = 6;

std::uint64_t feistel(std::uint64_t value, int half_bits, PhiloxKey key, std::uint64_t epoch) {
  const std::uint64_t mask = (std::uint64_t{1} << half_bits) - 1;
  std::uint64_t left = value >> half_bits, right = value & mask;
  for (std::uint32_t round = 0; round < rounds; ++round) {
    const PhiloxBlock block = philox4x32(key, static_cast<std::uint32_t>(right), round,
                                         static_cast<std::uint32_t>(epoch), static_cast<std::uint32_t>(epoch >> 32));
    const std::uint64_t mixed = left ^ (block.word[0] & mask);
    left = right;
    right = mixed;
  }
  return left << half_bits | right;
}

}  // namespace

Sampler::Sampler(std::int64_t tokens, std::int64_t sequence_length, std::uint32_t seed, bool shuffle)
    : windows_(0), sequence_length_(sequence_length), seed_(seed), shuffle_(shuffle), half_bits_(0) {
  if (sequence_length < 1) throw input_error("sequence length is {}; expected at least 1", sequence_length);
  windows_ = tokens > 0 ? (tokens - 1) / sequence_length : 0;
  if (windows_ < 1)
    throw input_error(
        "the data has {} tokens; expected at least {} for one sequence of length {} (and the token after "
        "it); prepare more text or shorten the sequence length",
        tokens, sequence_length < INT64_MAX ? sequence_length + 1 : sequence_length, sequence_length);
  // 62 bits of windows are more than 64-bit token counts allow, so a half always fits the 32-bit word of the counter.
  half_bits_ = std::max(1, (static_cast<int>(std::bit_width(static_cast<std::uint64_t>(windows_ - 1))) + 1) / 2);
}

std::int64_t Sampler::window(std::int64_t global_sample) const {
  check(global_sample >= 0, "sampler: sample {} is negative", global_sample);
  const auto windows = static_cast<std::uint64_t>(windows_);
  const std::uint64_t epoch = static_cast<std::uint64_t>(global_sample) / windows;
  std::uint64_t index = static_cast<std::uint64_t>(global_sample) % windows;
  if (!shuffle_) return static_cast<std::int64_t>(index);
  do index = feistel(index, half_bits_, philox_key(seed_, Purpose::data_order), epoch);
  while (index >= windows);
  return static_cast<std::int64_t>(index);
}

void fill_batch(const TokenStream& stream, const Sampler& sampler, std::span<const std::int64_t> samples,
                std::int32_t* tokens, std::int32_t* targets) {
  const std::int64_t T = sampler.sequence_length();
  for (const std::int64_t sample : samples) {
    const std::int64_t first = sampler.first_token(sample);
    stream.read(first, std::span(tokens, static_cast<std::size_t>(T)));
    std::copy(tokens + 1, tokens + T, targets);
    stream.read(first + T, std::span(targets + T - 1, 1));
    tokens += T;
    targets += T;
  }
}

}  // namespace bittern
