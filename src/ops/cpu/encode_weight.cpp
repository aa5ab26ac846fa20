// encode_weight: fp32 values become a stored weight, with new scales (also where a codec keeps its scales from then
// on), rounded to nearest.
#include "ops/cpu/backend.h"
#include "ops/cpu/machine/row_parts.h"
#include "ops/cpu/optimizer/weight_rows.h"

namespace bittern::cpu {
namespace {

/// weight.scales (rows), by row or all alike.
void make_scales(const Tensor& weight, const float* values, const WeightCodec& codec) {
  const std::int64_t rows = weight.rows(), cols = weight.cols();
  // Each row's statistic stands where its scale will be.
  for_row_ranges(rows, even_parts(rows, cols), [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t r = first; r < last; ++r) weight.scales[r] = scale_statistic(codec, values + r * cols, cols);
  });
  if (codec.scale_per == ScalePer::row) {
    for (std::int64_t r = 0; r < rows; ++r) weight.scales[r] = scale_from_statistic(codec, weight.scales[r], cols);
    return;
  }
  double statistic = 0;
  for (std::int64_t r = 0; r < rows; ++r) statistic = join_statistics(codec, statistic, weight.scales[r]);
  std::fill_n(weight.scales, rows, scale_from_statistic(codec, statistic, rows * cols));
}

}  // namespace

void CpuBackend::do_encode_weight(const EncodeWeight& args) {
  const Tensor& weight = args.weight;
  const float* const values = args.values.data();
  if (args.codec.quantized()) make_scales(weight, values, args.codec);
  WeightCodec nearest = args.codec;
  nearest.rounding = Rounding::nearest;
  const std::int64_t rows = weight.rows(), cols = weight.cols();
  for_row_ranges(rows, even_parts(rows, cols), [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t r = first; r < last; ++r)
      encode_weight_row(weight, nearest, {r, 0, cols}, values + r * cols, {}, 0);
  });
}

}  // namespace bittern::cpu
