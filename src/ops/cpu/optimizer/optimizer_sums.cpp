// Sums over an optimizer step for the metrics: each part's over its pieces, then all of them in the order of the parts.
//   e = w - decode(encode(w)) is what rounding took. With a master, e of the step before is still there to be read when
//   the step begins; it is kept in the gradient's memory until the new one is known (ECO, figure 2: their ratio and
//   angle).
#include <algorithm>
#include <cmath>

#include "bittern/quant/integer.h"
#include "bittern/quant/scales.h"
#include "ops/cpu/machine/lane_sums.h"
#include "ops/cpu/machine/simd.h"
#include "ops/cpu/optimizer/optimizer_pieces.h"

namespace bittern::cpu {
namespace {

double product(const float* a, const float* b, std::int64_t n) {
  float sum = 0.0f;
  simd([&] { sum = lane_sum(n, [=](std::int64_t i) { return a[i] * b[i]; }); });
  return static_cast<double>(sum);
}

double squared_distance(const float* a, const float* b, std::int64_t n) {
  float sum = 0.0f;
  simd([&] { sum = lane_sum(n, [=](std::int64_t i) { return (a[i] - b[i]) * (a[i] - b[i]); }); });
  return static_cast<double>(sum);
}

/// How many values above zero are stored as zero.
double zeroed(const float* values, const float* stored, std::int64_t n) {
  float sum = 0.0f;
  simd([&] {
    sum = lane_sum(n, [=](std::int64_t i) { return static_cast<float>((values[i] > 0.0f) & (stored[i] == 0.0f)); });
  });
  return static_cast<double>(sum);
}

/// What the next step will decode of a moment that was just encoded.
void reload_moment(const Step& step, const Moment& moment, const RowPiece& piece, float* out) {
  StoredMoment stored = *moment.stored;
  if (moment.new_column != nullptr) stored.column.data = step.new_column;
  Moment next = moment;
  next.stored = &stored;
  load_moment(next, true, piece, out);
}

/// The larger magnitude of two; a NaN is larger than any.
double larger(double a, double b) {
  return static_cast<double>(
      bits_float(std::max(magnitude_bits(static_cast<float>(a)), magnitude_bits(static_cast<float>(b)))));
}
double absmax(const float* values, std::int64_t n) {
  std::uint32_t bits = 0;
  simd([&] { bits = lane_max(n, [=](std::int64_t i) { return magnitude_bits(values[i]); }); });
  return static_cast<double>(bits_float(bits));
}

/// The probabilities that stochastic rounding of w to the grid changes a code, summed: |t - level before|, at most 1.
double expected_changes(const Step& step, const RowPiece& piece, const float* w, const std::uint8_t* codes_before) {
  const WeightCodec& codec = step.args.codec;
  const float inverse = inverse_scale(step.args.weight.scales[piece.row]);
  const float low = static_cast<float>(codec.lowest()), high = static_cast<float>(codec.highest());
  const int bits = bits_of(step.args.weight.dtype);
  float sum = 0.0f;
  simd([&] {
    sum = lane_sum(piece.count, [=](std::int64_t i) {
      const float t = std::min(std::max(w[i] * inverse, low), high);
      return std::min(std::fabs(t - static_cast<float>(level_of(codes_before[i], bits))), 1.0f);
    });
  });
  return static_cast<double>(sum);
}

}  // namespace

void add_weight_sums(const Step& step, const RowPiece& piece, const float* w, const float* error,
                     const std::uint8_t* codes_before, StepSums& sums) {
  sums[StepStatistic::error_squared] += product(error, error, piece.count);
  sums[StepStatistic::value_squared] += product(w, w, piece.count);
  if (step.args.master) {
    const float* const before = step.over_gradient(piece);
    sums[StepStatistic::error_before_squared] += product(before, before, piece.count);
    sums[StepStatistic::error_dot] += product(before, error, piece.count);
  }
  if (!is_quantized(step.args.weight.dtype)) return;
  const CodeCounts counts = count_codes(step.args.weight, step.args.codec, piece, codes_before);
  sums[StepStatistic::changed] += static_cast<double>(counts.changed);
  sums[StepStatistic::saturated] += static_cast<double>(counts.saturated);
  if (step.args.codec.rounding == Rounding::stochastic && is_integer_code(step.args.weight.dtype))
    sums[StepStatistic::expected_changed] += expected_changes(step, piece, w, codes_before);
}

void add_moment_sums(const Step& step, const RowPiece& piece, const float* m, const float* v, float* scratch,
                     StepSums& sums) {
  sums[StepStatistic::m_absmax] = larger(sums[StepStatistic::m_absmax], absmax(m, piece.count));
  sums[StepStatistic::v_max] = larger(sums[StepStatistic::v_max], absmax(v, piece.count));
  if (step.has_m) {
    reload_moment(step, step.m, piece, scratch);
    sums[StepStatistic::m_squared] += product(m, m, piece.count);
    sums[StepStatistic::m_error_squared] += squared_distance(m, scratch, piece.count);
  }
  if (step.has_v) {
    reload_moment(step, step.v, piece, scratch);
    sums[StepStatistic::v_zeroed] += zeroed(v, scratch, piece.count);
  }
}

void write_sums(const Step& step) {
  float* const out = step.args.statistics.as<float>();
  for (std::size_t i = 0; i < static_cast<std::size_t>(StepStatistic::count); ++i) {
    const auto which = static_cast<StepStatistic>(i);
    const bool largest = which == StepStatistic::m_absmax || which == StepStatistic::v_max;
    double all = 0;
    for (std::int64_t part = 0; part < step.parts(); ++part) {
      const double of_part = step.sums[part][which];
      all = largest ? larger(all, of_part) : all + of_part;
    }
    out[i] = static_cast<float>(all);
  }
}

}  // namespace bittern::cpu
