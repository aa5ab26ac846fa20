// State kind `logarithmic`: alpha^code * delta of the block (quant/log_quantizer.h). A block's two numbers lie next to
// each other: scales (rows, 2 * blocks).
#include <algorithm>

#include "bittern/quant/log_quantizer.h"
#include "ops/cpu/machine/lane_sums.h"
#include "ops/cpu/machine/simd.h"
#include "ops/cpu/optimizer/block_quantiles.h"
#include "ops/cpu/optimizer/codebook_codes.h"
#include "ops/cpu/optimizer/state_kinds.h"

namespace bittern::cpu {
namespace {

LogBlock* blocks_of_row(const Moment& moment, std::int64_t row) {
  return reinterpret_cast<LogBlock*>(moment.stored->scales.row(row));
}

constexpr std::int64_t most_blocks = 16;

/// delta and alpha of the piece's blocks, at most most_blocks, and what encodes by them. All but the row's last block
/// are of one size.
void find_blocks(const Moment& moment, const RowPiece& piece, const float* values, int bits, LogEncoder* encoders) {
  const std::int64_t size = moment.block(), whole = piece.count / size, rest = piece.count % size;
  const std::int64_t count = whole + (rest > 0 ? 1 : 0);
  const float p = moment.stored->codec.quantile;
  alignas(64) float quantiles[most_blocks], largest[most_blocks];
  block_quantiles(values, whole, size, p, quantiles);
  if (rest > 0) block_quantiles(values + whole * size, 1, rest, p, quantiles + whole);
  LogBlock* const blocks = blocks_of_row(moment, piece.row) + piece.first / size;
  simd([&] {
    for (std::int64_t b = 0; b < count; ++b) {
      const float* const x = values + b * size;
      const std::int64_t n = b < whole ? size : rest;
      largest[b] = bits_float(lane_max(n, [=](std::int64_t i) { return magnitude_bits(x[i]); }));
    }
    LogBlock* const to = blocks;
    LogEncoder* const encoder = encoders;
    const int code_bits = bits;
#pragma omp simd
    for (std::int64_t b = 0; b < count; ++b) {
      to[b] = log_block(largest[b], quantiles[b], code_bits);
      encoder[b] = log_encoder(to[b], code_bits);
    }
  });
}

void encode_blocks(const Moment& moment, const RowPiece& whole, const float* values, std::uint64_t first_element) {
  const int bits = bits_of(moment.stored->codes.dtype);
  const std::int64_t first_block = whole.first / moment.block();
  LogEncoder encoders[most_blocks];
  find_blocks(moment, whole, values, bits, encoders);
  for_chunks(whole, [&](const RowPiece& piece, std::int64_t at) {
    alignas(64) std::uint8_t codes[chunk];
    RandomWords words;
    const std::uint32_t* word = nullptr;
    if (moment.stochastic())
      word = words.fill(moment.random, first_element + static_cast<std::uint64_t>(at), piece.count);
    simd([&] {
      for_blocks(piece, moment.block(), [&](std::int64_t offset, std::int64_t n, std::int64_t block) {
        const LogEncoder encoder = encoders[block - first_block];
        const float* const x = values + at + offset;
        std::uint8_t* const q = codes + offset;
        if (word != nullptr) {
          const std::uint32_t* const r = word + offset;
#pragma omp simd
          for (std::int64_t i = 0; i < n; ++i) q[i] = static_cast<std::uint8_t>(log_stochastic(x[i], encoder, r[i]));
        } else {
#pragma omp simd
          for (std::int64_t i = 0; i < n; ++i) q[i] = static_cast<std::uint8_t>(log_nearest(x[i], encoder));
        }
      });
    });
    pack_row(moment.stored->codes, piece, codes);
  });
}

}  // namespace

void decode_logarithmic(const Moment& moment, const RowPiece& whole, float* out) {
  const LogBlock* const blocks = blocks_of_row(moment, whole.row);
  const int bits = bits_of(moment.stored->codes.dtype);
  for_chunks(whole, [&](const RowPiece& piece, std::int64_t at) {
    alignas(64) std::uint8_t codes[chunk];
    unpack_row(moment.stored->codes, piece, codes);
    for_blocks(piece, moment.block(), [&](std::int64_t offset, std::int64_t n, std::int64_t block) {
      alignas(64) float level[16];
      log_levels(blocks[block].alpha, bits, level);
      look_up(level, bits, codes + offset, blocks[block].delta, n, out + at + offset);
    });
  });
}

void encode_logarithmic(const Moment& moment, const RowPiece& whole, const float* values, std::uint64_t first_element) {
  const std::int64_t some = most_blocks * moment.block();
  for (std::int64_t at = 0; at < whole.count; at += some)
    encode_blocks(moment, {whole.row, whole.first + at, std::min(some, whole.count - at)}, values + at,
                  first_element + static_cast<std::uint64_t>(at));
}

}  // namespace bittern::cpu
