// Sums over an optimizer step for the metrics: each part's over its pieces, then all of them in the order of the parts.
//   e = w - decode(encode(w)) is what rounding took. With a master, e of the step before is still there to be read when
//   the step begins; it is kept in the gradient's memory until the new one is known (ECO, figure 2: their ratio and
//   angle).
#include <algorithm>
#include <cmath>

#include "bittern/quant/integer.h"
#include "bittern/quant/scales.h"
#include "ops/cpu/lane_sums.h"
#include "ops/cpu/optimizer_pieces.h"
#include "ops/cpu/simd.h"

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
  simd([&] { sum = lane_sum(n, [=](std::int64_t i) { return values[i] > 0.0f && stored[i] == 0.0f ? 1.0f : 0.0f; }); });
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

float largest_of(const float* values, std::int64_t n, float so_far) {
  std::uint32_t bits = 0;
  simd([&] { bits = lane_max(n, [=](std::int64_t i) { return magnitude_bits(values[i]); }); });
  return bits_float(std::max(bits, magnitude_bits(so_far)));
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
  sums.error_squared += product(error, error, piece.count);
  sums.value_squared += product(w, w, piece.count);
  if (step.args.master) {
    const float* const before = step.error_before(piece);
    sums.error_before_squared += product(before, before, piece.count);
    sums.error_dot += product(before, error, piece.count);
  }
  if (!is_quantized(step.args.weight.dtype)) return;
  const CodeCounts counts = count_codes(step.args.weight, step.args.codec, piece, codes_before);
  sums.changed += static_cast<double>(counts.changed);
  sums.saturated += static_cast<double>(counts.saturated);
  if (step.args.codec.rounding == Rounding::stochastic && is_integer_code(step.args.weight.dtype))
    sums.expected_changed += expected_changes(step, piece, w, codes_before);
}

void add_moment_sums(const Step& step, const RowPiece& piece, const float* m, const float* v, float* scratch,
                     StepSums& sums) {
  sums.m_absmax = largest_of(m, piece.count, sums.m_absmax);
  sums.v_max = largest_of(v, piece.count, sums.v_max);
  if (step.has_m) {
    reload_moment(step, step.m, piece, scratch);
    sums.m_squared += product(m, m, piece.count);
    sums.m_error_squared += squared_distance(m, scratch, piece.count);
  }
  if (step.has_v) {
    reload_moment(step, step.v, piece, scratch);
    sums.v_zeroed += zeroed(v, scratch, piece.count);
  }
}

void write_sums(const Step& step) {
  StepSums all;
  for (std::int64_t part = 0; part < step.parts(); ++part) {
    const StepSums& sums = step.sums[part];
    all.changed += sums.changed;
    all.expected_changed += sums.expected_changed;
    all.saturated += sums.saturated;
    all.error_squared += sums.error_squared;
    all.error_before_squared += sums.error_before_squared;
    all.error_dot += sums.error_dot;
    all.value_squared += sums.value_squared;
    all.m_squared += sums.m_squared;
    all.m_error_squared += sums.m_error_squared;
    all.v_zeroed += sums.v_zeroed;
    all.m_absmax = largest_of(&sums.m_absmax, 1, all.m_absmax);
    all.v_max = largest_of(&sums.v_max, 1, all.v_max);
  }
  float* const out = step.args.statistics.as<float>();
  const auto put = [&](StepStatistic which, double value) {
    out[static_cast<std::size_t>(which)] = static_cast<float>(value);
  };
  put(StepStatistic::changed, all.changed);
  put(StepStatistic::expected_changed, all.expected_changed);
  put(StepStatistic::saturated, all.saturated);
  put(StepStatistic::error_squared, all.error_squared);
  put(StepStatistic::error_before_squared, all.error_before_squared);
  put(StepStatistic::error_dot, all.error_dot);
  put(StepStatistic::value_squared, all.value_squared);
  put(StepStatistic::m_absmax, all.m_absmax);
  put(StepStatistic::m_squared, all.m_squared);
  put(StepStatistic::m_error_squared, all.m_error_squared);
  put(StepStatistic::v_max, all.v_max);
  put(StepStatistic::v_zeroed, all.v_zeroed);
}

}  // namespace bittern::cpu
