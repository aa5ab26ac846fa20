// The table of state codecs, and the two kinds without a codebook: plain values, and E4M3 by blocks.
#include "ops/cpu/optimizer/state_rows.h"

#include <algorithm>
#include <array>

#include "bittern/quant/fp8.h"
#include "bittern/quant/scales.h"
#include "ops/cpu/codes/e4m3_rows.h"
#include "ops/cpu/machine/lane_sums.h"
#include "ops/cpu/machine/simd.h"
#include "ops/cpu/optimizer/state_kinds.h"
#include "ops/cpu/optimizer/weight_rows.h"

namespace bittern::cpu {
namespace {

// ---- values: as weights of f32 and bf16 are stored

void decode_values(const Moment& moment, const RowPiece& piece, float* out) {
  decode_weight_row(moment.stored->codes, piece, out);
}
void encode_values(const Moment& moment, const RowPiece& piece, const float* values, std::uint64_t first_element) {
  encode_weight_row(moment.stored->codes, {.rounding = moment.stored->codec.rounding}, piece, values, moment.random,
                    first_element);
}

// ---- fp8: code * scale of the block, scale = absmax / 448

void decode_fp8(const Moment& moment, const RowPiece& piece, float* out) {
  const auto* const codes = values_at<std::uint8_t>(moment.stored->codes, piece);
  const float* const scales = values_at<float>(moment.stored->scales, {piece.row, 0, 0});
  simd([&] {
    for_blocks(piece, moment.block(), [&](std::int64_t at, std::int64_t n, std::int64_t block) {
      decode_e4m3_run(codes + at, scales[block], n, out + at);
    });
  });
}

void encode_fp8(const Moment& moment, const RowPiece& whole, const float* values, std::uint64_t first_element) {
  float* const scales = values_at<float>(moment.stored->scales, {whole.row, 0, 0});
  simd([&] {
    for_blocks(whole, moment.block(), [&](std::int64_t at, std::int64_t n, std::int64_t block) {
      const float* const x = values + at;
      scales[block] = scale_from_absmax(bits_float(lane_max(n, [=](std::int64_t i) { return magnitude_bits(x[i]); })),
                                        largest_e4m3);
    });
    for_chunks(whole, [&](const RowPiece& piece, std::int64_t at) {
      auto* const to = values_at<std::uint8_t>(moment.stored->codes, piece);
      RandomWords words;
      const std::uint32_t* word = nullptr;
      if (moment.stochastic())
        word = words.fill(moment.random, first_element + static_cast<std::uint64_t>(at), piece.count);
      for_blocks(piece, moment.block(), [&](std::int64_t offset, std::int64_t n, std::int64_t block) {
        encode_e4m3_run(values + at + offset, inverse_scale(scales[block]), word == nullptr ? word : word + offset, n,
                        to + offset);
      });
    });
  });
}

constexpr std::array<StateRows, 7> table = {{
    // in the order of StateKind
    {decode_values, encode_values},
    {decode_fp8, encode_fp8},
    {decode_codebook, encode_codebook},
    {decode_rank1, encode_rank1},
    {decode_factored, encode_factored},
    {decode_logarithmic, encode_logarithmic},
    {decode_row_mean, encode_row_mean},
}};

}  // namespace

const StateRows& state_rows(StateKind kind) {
  return table[static_cast<std::size_t>(kind)];
}

const Codebook* codebook_of(const StateCodec& codec, bool is_signed) {
  if (codec.info->kind != StateKind::codebook && codec.info->kind != StateKind::rank1) return nullptr;
  const std::string_view name = is_signed ? codec.info->signed_codebook : codec.info->unsigned_codebook;
  const Codebook* const book = find_codebook(name);
  check(book != nullptr, "optimizer state {}: there is no codebook \"{}\"", codec.info->name, name);
  return book;
}

}  // namespace bittern::cpu
