// The sampler: global sample index -> place in the token stream. A pure function: position, resumption and sharding
// need no state, and no order depends on a standard library.
//
// Window w covers tokens [w*T, w*T + T]: T inputs and, shifted by one, T targets. Neighbouring windows share one token.
// An epoch holds every window once. Sample s is entry s % windows of epoch s / windows; with shuffling, each epoch has
// its own permutation: a Feistel network over the smallest even number of bits that holds all windows, its round
// function Philox at address (half, round, epoch), walked until it lands below the number of windows (Black and Rogaway
// 2002).
#pragma once

#include <cstdint>
#include <span>

#include "bittern/token_file.h"

namespace bittern {

class Sampler {
 public:
  /// `tokens`: the length of the stream. Throws where it is too short for one window.
  Sampler(std::int64_t tokens, std::int64_t sequence_length, std::uint32_t seed, bool shuffle);

  std::int64_t sequence_length() const { return sequence_length_; }
  std::int64_t sequences_per_epoch() const { return windows_; }
  /// The window of a sample (>= 0) of the endless run over epochs.
  std::int64_t window(std::int64_t global_sample) const;
  /// The first token of that window.
  std::int64_t first_token(std::int64_t global_sample) const { return window(global_sample) * sequence_length_; }

 private:
  std::int64_t windows_, sequence_length_;
  std::uint32_t seed_;
  bool shuffle_;
  int half_bits_;
};

/// Reads the sequences of `samples` into tokens (B,T) and targets (B,T); targets are the tokens one place on.
void fill_batch(const TokenStream& stream, const Sampler& sampler, std::span<const std::int64_t> samples,
                std::int32_t* tokens, std::int32_t* targets);

}  // namespace bittern
