// State kinds `codebook` and `rank1`: level[code] * scale.
//   codebook  scale = absmax of the block; a second moment may be rounded by inverse_root.h
//   rank1     scale of (i, j) = min(row maximum i, column maximum j) of the matrix (Li et al. 2023, section 4.2). The
//             columns' maxima need the whole tensor: the step's pass of statistics made them (moment.new_column).
#include "bittern/quant/inverse_root.h"
#include "bittern/quant/scales.h"
#include "ops/cpu/machine/lane_sums.h"
#include "ops/cpu/machine/simd.h"
#include "ops/cpu/optimizer/codebook_codes.h"
#include "ops/cpu/optimizer/state_kinds.h"

namespace bittern::cpu {
namespace {

/// codes of the piece: find(piece, offset, random words or none, codes) makes those of each chunk.
template <class Find>
void encode_chunks(const Moment& moment, const RowPiece& whole, std::uint64_t first_element, Find find) {
  for_chunks(whole, [&](const RowPiece& piece, std::int64_t at) {
    alignas(64) std::uint8_t codes[chunk];
    RandomWords words;
    const std::uint32_t* word = nullptr;
    if (moment.stochastic())
      word = words.fill(moment.random, first_element + static_cast<std::uint64_t>(at), piece.count);
    find(piece, at, word, codes);
    pack_row(moment.stored->codes, piece, codes);
  });
}

/// codes (n) of a block: one of the two levels beside each value, by inverse_root_code.
template <int Bits>
void find_inverse_root_codes(const Moment& moment, const float* values, float scale, const std::uint32_t* random,
                             std::int64_t n, std::uint8_t* codes) {
  simd([&] {
    alignas(64) float level[1 << Bits];
    for (int k = 0; k < 1 << Bits; ++k) level[k] = moment.book->level[k];
    const std::int32_t levels = moment.book->levels;
    const float inverse = inverse_scale(scale), factor = scale;
    const InverseRoot h = moment.inverse_root;
    const float* const v = values;
    const std::uint32_t* const word = random;
    std::uint8_t* const q = codes;
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i)
      q[i] = static_cast<std::uint8_t>(inverse_root_code<Bits>(v[i], inverse, factor, level, levels, h, word[i]));
  });
}

void find_block_codes(const Moment& moment, const float* values, float scale, const std::uint32_t* random,
                      std::int64_t n, std::uint8_t* codes) {
  if (random != nullptr && moment.stored->codec.info->keeps_inverse_root)
    find_inverse_root_codes<4>(moment, values, scale, random, n, codes);
  else
    find_codes(*moment.book, values, inverse_scale(scale), random, n, codes);
}

}  // namespace

void decode_codebook(const Moment& moment, const RowPiece& whole, float* out) {
  const float* const scales = values_at<float>(moment.stored->scales, {whole.row, 0, 0});
  for_chunks(whole, [&](const RowPiece& piece, std::int64_t at) {
    alignas(64) std::uint8_t codes[chunk];
    unpack_row(moment.stored->codes, piece, codes);
    for_blocks(piece, moment.block(), [&](std::int64_t offset, std::int64_t n, std::int64_t block) {
      look_up(moment.book->level, moment.book->bits, codes + offset, scales[block], n, out + at + offset);
    });
  });
}

void encode_codebook(const Moment& moment, const RowPiece& whole, const float* values, std::uint64_t first_element) {
  float* const scales = values_at<float>(moment.stored->scales, {whole.row, 0, 0});
  simd([&] {
    for_blocks(whole, moment.block(), [&](std::int64_t at, std::int64_t n, std::int64_t block) {
      const float* const x = values + at;
      scales[block] = block_scale(bits_float(lane_max(n, [=](std::int64_t i) { return magnitude_bits(x[i]); })));
    });
  });
  encode_chunks(moment, whole, first_element,
                [&](const RowPiece& piece, std::int64_t at, const std::uint32_t* word, std::uint8_t* codes) {
                  for_blocks(piece, moment.block(), [&](std::int64_t offset, std::int64_t n, std::int64_t block) {
                    find_block_codes(moment, values + at + offset, scales[block],
                                     word == nullptr ? nullptr : word + offset, n, codes + offset);
                  });
                });
}

void decode_rank1(const Moment& moment, const RowPiece& whole, float* out) {
  const float row = moment.stored->row.as<float>()[whole.row];
  const float* const column = moment.stored->column.as<float>() + whole.first;
  for_chunks(whole, [&](const RowPiece& piece, std::int64_t at) {
    alignas(64) std::uint8_t codes[chunk];
    unpack_row(moment.stored->codes, piece, codes);
    const float* const columns = column + at;
    float* const to = out + at;
    const std::int64_t n = piece.count;
    look_up(moment.book->level, moment.book->bits, codes, 1.0f, n, to);
    simd([=] {
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) to[i] = to[i] * rank1_scale(row, columns[i]);
    });
  });
}

void encode_rank1(const Moment& moment, const RowPiece& whole, const float* values, std::uint64_t first_element) {
  float row_maximum = 0.0f;
  simd([&] {
    row_maximum =
        block_scale(bits_float(lane_max(whole.count, [=](std::int64_t i) { return magnitude_bits(values[i]); })));
  });
  encode_chunks(moment, whole, first_element,
                [&](const RowPiece& piece, std::int64_t at, const std::uint32_t* word, std::uint8_t* codes) {
                  alignas(64) float scaled[chunk];
                  const float row = row_maximum;
                  const float* const columns = moment.new_column + at;
                  const float* const from = values + at;
                  float* const x = scaled;
                  const std::int64_t n = piece.count;
                  simd([=] {
#pragma omp simd
                    for (std::int64_t i = 0; i < n; ++i) x[i] = from[i] * inverse_scale(rank1_scale(row, columns[i]));
                  });
                  find_codes(*moment.book, x, 1.0f, word, n, codes);
                });
  moment.stored->row.as<float>()[whole.row] = row_maximum;
}

}  // namespace bittern::cpu
