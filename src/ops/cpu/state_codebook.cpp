// State kinds `codebook` and `rank1`: level[code] * scale.
//   codebook  scale = absmax of the block
//   rank1     scale of (i, j) = min(row maximum i, column maximum j) of the matrix (Li et al. 2023, section 4.2). The
//             columns' maxima need the whole tensor: the step's pass of statistics made them (moment.new_column).
// To encode, a chunk is divided by its scales, then compared with the codebook: two loops, so that the second is the
// same for both kinds.
#include "bittern/quant/dynamic8.h"
#include "bittern/quant/scales.h"
#include "ops/cpu/lane_sums.h"
#include "ops/cpu/simd.h"
#include "ops/cpu/small_codebook.h"
#include "ops/cpu/state_kinds.h"

namespace bittern::cpu {
namespace {

void codes_of_eight_bits(const Codebook& book, const float* values, const std::uint32_t* random, std::int64_t n,
                         std::uint8_t* codes) {
  const Dynamic8* const direct = book.name == "dynamic8"            ? &dynamic8_signed
                                 : book.name == "dynamic8_unsigned" ? &dynamic8_unsigned
                                                                    : nullptr;
  simd([&] {
    const float* const x = values;
    std::uint8_t* const q = codes;
    if (direct != nullptr) {
      const Dynamic8* const table = direct;
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) q[i] = static_cast<std::uint8_t>(nearest_code(x[i], *table));
    } else {
      const float* const threshold = book.threshold;
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) q[i] = static_cast<std::uint8_t>(nearest_code<8>(x[i], threshold));
    }
    if (random == nullptr) return;
    const std::uint32_t* const word = random;
    const float* const level = book.level;
    const std::int32_t levels = book.levels;
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i)
      q[i] = static_cast<std::uint8_t>(stochastic_code(x[i], q[i], level, levels, word[i]));
  });
}

/// codes (n) of x (n), already divided by their scales.
void codes_of(const Codebook& book, const float* x, const std::uint32_t* random, std::int64_t n, std::uint8_t* codes) {
  if (book.bits == 8)
    codes_of_eight_bits(book, x, random, n, codes);
  else
    find_codes(book, x, random, n, codes);
}

/// out (n) = level[codes] * scale.
void values_of(const Codebook& book, const std::uint8_t* codes, float scale, std::int64_t n, float* out) {
  if (book.bits < 8) return look_up(book.level, book.bits, codes, scale, n, out);
  const float* const level = book.level;
  simd([=] {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) out[i] = level[codes[i]] * scale;
  });
}

/// codes of the piece from what divide(piece, offset, x) puts into x: values over scales.
template <class Divide>
void encode_chunks(const Moment& moment, const RowPiece& whole, std::uint64_t first_element, Divide divide) {
  for_chunks(whole, [&](const RowPiece& piece, std::int64_t at) {
    alignas(64) float x[chunk];
    alignas(64) std::uint8_t codes[chunk];
    divide(piece, at, x);
    RandomWords words;
    const std::uint32_t* word = nullptr;
    if (moment.stochastic())
      word = words.fill(moment.random, first_element + static_cast<std::uint64_t>(at), piece.count);
    codes_of(*moment.book, x, word, piece.count, codes);
    pack_row(moment.stored->codes, piece, codes);
  });
}

}  // namespace

void decode_codebook(const Moment& moment, const RowPiece& whole, float* out) {
  const float* const scales = values_at<float>(moment.stored->scales, {whole.row, 0, 0});
  for_chunks(whole, [&](const RowPiece& piece, std::int64_t at) {
    alignas(64) std::uint8_t codes[chunk];
    unpack_row(moment.stored->codes, piece, codes);
    for_blocks(piece, moment.block(), [&](std::int64_t offset, std::int64_t n, std::int64_t block) {
      values_of(*moment.book, codes + offset, scales[block], n, out + at + offset);
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
  encode_chunks(moment, whole, first_element, [&](const RowPiece& piece, std::int64_t at, float* x) {
    simd([&] {
      for_blocks(piece, moment.block(), [&](std::int64_t offset, std::int64_t n, std::int64_t block) {
        const float inverse = inverse_scale(scales[block]);
        const float* const from = values + at + offset;
        float* const to = x + offset;
#pragma omp simd
        for (std::int64_t i = 0; i < n; ++i) to[i] = from[i] * inverse;
      });
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
    values_of(*moment.book, codes, 1.0f, n, to);
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
  encode_chunks(moment, whole, first_element, [&](const RowPiece& piece, std::int64_t at, float* x) {
    const float row = row_maximum;
    const float* const columns = moment.new_column + at;
    const float* const from = values + at;
    const std::int64_t n = piece.count;
    simd([=] {
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) x[i] = from[i] * inverse_scale(rank1_scale(row, columns[i]));
    });
  });
  moment.stored->row.as<float>()[whole.row] = row_maximum;
}

}  // namespace bittern::cpu
