// State kind `logarithmic`: alpha^code * delta of the block (quant/log_quantizer.h). A block's two numbers lie next to
// each other: scales (rows, 2 * blocks).
#include "bittern/quant/log_quantizer.h"
#include "ops/cpu/lane_sums.h"
#include "ops/cpu/simd.h"
#include "ops/cpu/state_kinds.h"

namespace bittern::cpu {
namespace {

LogBlock* blocks_of_row(const Moment& moment, std::int64_t row) {
  return reinterpret_cast<LogBlock*>(moment.stored->scales.row(row));
}

}  // namespace

void decode_logarithmic(const Moment& moment, const RowPiece& whole, float* out) {
  const LogBlock* const blocks = blocks_of_row(moment, whole.row);
  const int bits = bits_of(moment.stored->codes.dtype);
  simd([&] {
    for_chunks(whole, [&](const RowPiece& piece, std::int64_t at) {
      alignas(64) std::uint8_t codes[chunk];
      unpack_row(moment.stored->codes, piece, codes);
      for_blocks(piece, moment.block(), [&](std::int64_t offset, std::int64_t n, std::int64_t block) {
        alignas(64) float level[16];
        log_levels(blocks[block].alpha, bits, level);
        const float delta = blocks[block].delta;
        float* const to = out + at + offset;
        const std::uint8_t* const q = codes + offset;
#pragma omp simd
        for (std::int64_t i = 0; i < n; ++i) to[i] = log_decode(q[i], level, delta);
      });
    });
  });
}

void encode_logarithmic(const Moment& moment, const RowPiece& whole, const float* values, std::uint64_t first_element) {
  LogBlock* const blocks = blocks_of_row(moment, whole.row);
  const int bits = bits_of(moment.stored->codes.dtype);
  const float p = moment.stored->codec.quantile;
  simd([&] {
    for_blocks(whole, moment.block(), [&](std::int64_t at, std::int64_t n, std::int64_t block) {
      const float* const x = values + at;
      const float largest = bits_float(lane_max(n, [=](std::int64_t i) { return magnitude_bits(x[i]); }));
      blocks[block] = log_block(largest, quantile(x, static_cast<std::int32_t>(n), p), bits);
    });
    for_chunks(whole, [&](const RowPiece& piece, std::int64_t at) {
      alignas(64) std::uint8_t codes[chunk];
      RandomWords words;
      const std::uint32_t* word = nullptr;
      if (moment.stochastic())
        word = words.fill(moment.random, first_element + static_cast<std::uint64_t>(at), piece.count);
      for_blocks(piece, moment.block(), [&](std::int64_t offset, std::int64_t n, std::int64_t block) {
        const LogEncoder encoder = log_encoder(blocks[block], bits);
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
      pack_row(moment.stored->codes, piece, codes);
    });
  });
}

}  // namespace bittern::cpu
