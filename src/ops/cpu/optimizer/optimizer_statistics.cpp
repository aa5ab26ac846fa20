// The passes that an optimizer step makes before its update, each over the whole tensor and in an order fixed by the
// shape. They write scratch only, except for means, which are their own encoding. A shard makes its rows' part
// of each sum, gathers the others', and adds up all.
#include <algorithm>
#include <cmath>

#include "bittern/quant/scales.h"
#include "ops/cpu/machine/lane_sums.h"
#include "ops/cpu/machine/simd.h"
#include "ops/cpu/optimizer/optimizer_pieces.h"

namespace bittern::cpu {
namespace {

/// body(first row, last row, (cols) numbers of this part) over the parts that are this shard's rows; then column_parts
/// has those of all shards.
template <class F>
void for_column_parts(const Step& step, F body) {
  const std::int64_t all = step.all_rows(), parts = row_parts(all), begin = step.first_row();
  const std::int64_t first = part_at(all, begin), own = part_at(all, begin + step.rows) - first;
  parallel_for(own, [&](std::int64_t number, int worker) {
    const std::int64_t part = first + number;
    body(part_begin(all, parts, part) - begin, part_begin(all, parts, part + 1) - begin,
         step.column_parts + part * step.cols, worker);
  });
  step.gather(step.column_parts, first * step.cols, own * step.cols, parts * step.cols);
}

/// factored: row = b2 row + (1-b2) mean over the row of (g^2 + eps); column alike. From now on decoding gives the
/// updated v, so the rule must leave it alone.
void update_factored(Step& step) {
  RuleConstants& c = step.constants;
  const float beta2 = c.beta2, increment = c.one_minus_beta2, clip = step.clip;
  const float eps = step.args.rule == UpdateRule::adafactor ? c.eps : 0.0f;
  const std::int64_t rows = step.all_rows(), cols = step.cols;
  float* const row = step.v.stored->row.as<float>();
  float* const column = step.v.stored->column.as<float>();
  for_column_parts(step, [&](std::int64_t first, std::int64_t last, float* sums, int) {
    simd([&] {
      std::fill_n(sums, cols, 0.0f);
      for (std::int64_t r = first; r < last; ++r) {
        const float* const g = step.gradient({r, 0, cols});
        const auto square = [=](std::int64_t i) { return (g[i] * clip) * (g[i] * clip) + eps; };
        const float mean = lane_sum(cols, square) / static_cast<float>(cols);
        row[r] = beta2 * row[r] + increment * mean;
#pragma omp simd
        for (std::int64_t i = 0; i < cols; ++i) sums[i] += square(i);
      }
    });
  });
  const std::int64_t parts = row_parts(rows);
  for (std::int64_t i = 0; i < cols; ++i) {
    float sum = 0.0f;
    for (std::int64_t part = 0; part < parts; ++part) sum += step.column_parts[part * cols + i];
    column[i] = beta2 * column[i] + increment * (sum / static_cast<float>(rows));
  }
  std::copy_n(row, step.rows, step.piece_results + step.first_row());
  step.gather(step.piece_results, step.first_row(), step.rows, rows);
  double total = 0;
  for (std::int64_t r = 0; r < rows; ++r) total += step.piece_results[r];
  step.v.factor = total == 0.0 ? 0.0f : static_cast<float>(static_cast<double>(rows) / total);
  c.beta2 = 1.0f;
  c.one_minus_beta2 = 0.0f;
}

/// row_mean: row = b2 row + (1-b2) mean over the row of (g^2 + eps). From now on decoding gives the updated v, so the
/// rule must leave it alone.
void update_row_means(Step& step) {
  RuleConstants& c = step.constants;
  const float beta2 = c.beta2, increment = c.one_minus_beta2, clip = step.clip;
  const float eps = step.args.rule == UpdateRule::adafactor ? c.eps : 0.0f;
  const std::int64_t cols = step.cols;
  float* const row = step.v.stored->row.as<float>();
  for_row_ranges(step.rows, even_parts(step.rows, cols), [&](std::int64_t first, std::int64_t last) {
    simd([&] {
      for (std::int64_t r = first; r < last; ++r) {
        const float* const g = step.gradient({r, 0, cols});
        const float sum = lane_sum(cols, [=](std::int64_t i) { return (g[i] * clip) * (g[i] * clip) + eps; });
        row[r] = beta2 * row[r] + increment * (sum / static_cast<float>(cols));
      }
    });
  });
  c.beta2 = 1.0f;
  c.one_minus_beta2 = 0.0f;
}

/// rank1: the largest updated v of every column.
void find_column_maxima(Step& step) {
  const std::int64_t cols = step.cols;
  for_column_parts(step, [&](std::int64_t first, std::int64_t last, float* maxima, int worker) {
    const PieceScratch scratch = step.scratch_of(worker);
    std::fill_n(maxima, cols, 0.0f);
    for (std::int64_t r = first; r < last; ++r) {
      const RowPiece piece{r, 0, cols};
      load_moment(step.v, true, piece, scratch.v);
      step.rule->second_moment(scratch.v, step.gradient(piece), step.clip, cols, step.constants);
      const float* const v = scratch.v;
      simd([=] {
#pragma omp simd
        for (std::int64_t i = 0; i < cols; ++i)
          maxima[i] = bits_float(std::max(magnitude_bits(maxima[i]), magnitude_bits(v[i])));
      });
    }
  });
  const std::int64_t parts = row_parts(step.all_rows());
  for (std::int64_t i = 0; i < cols; ++i) {
    std::uint32_t largest = 0;
    for (std::int64_t part = 0; part < parts; ++part)
      largest = std::max(largest, magnitude_bits(step.column_parts[part * cols + i]));
    step.new_column[i] = block_scale(bits_float(largest));
  }
}

/// adafactor: what clips the update, from its root mean square over the tensor.
void find_update_scale(Step& step) {
  for_pieces(step, [&](std::int64_t number, const RowPiece& piece, const PieceScratch& scratch, std::int64_t) {
    const float* const g = step.gradient(piece);
    load_moment(step.v, step.has_v, piece, scratch.v);
    step.rule->second_moment(scratch.v, g, step.clip, piece.count, step.constants);
    step.result_of(number) = step.rule->update_square(scratch.v, g, step.clip, piece.count);
  });
  step.gather_pieces();
  double sum = 0;
  for (std::int64_t i = 0; i < step.all_rows() * step.pieces_per_row(); ++i) sum += step.piece_results[i];
  step.constants.update_scale =
      adafactor_update_scale(std::sqrt(sum / static_cast<double>(step.all_rows() * step.cols)));
}

/// A weight without master: the scale of its tensor, from all the updated values.
void find_tensor_scale(Step& step) {
  const WeightCodec& codec = step.args.codec;
  for_pieces(step, [&](std::int64_t number, const RowPiece& piece, const PieceScratch& scratch, std::int64_t) {
    decode_weight_row(step.args.weight, piece, scratch.w);
    load_moment(step.m, step.has_m, piece, scratch.m);
    load_moment(step.v, step.has_v, piece, scratch.v);
    step.rule->update(scratch.w, scratch.m, scratch.v, step.gradient(piece), step.clip, piece.count, step.constants);
    step.result_of(number) = scale_statistic(codec, scratch.w, piece.count);
  });
  step.tensor_scale = scale_of_pieces(step);
}

}  // namespace

float scale_of_pieces(const Step& step) {
  step.gather_pieces();
  double statistic = 0;
  for (std::int64_t i = 0; i < step.all_rows() * step.pieces_per_row(); ++i)
    statistic = join_statistics(step.args.codec, statistic, step.piece_results[i]);
  return scale_from_statistic(step.args.codec, statistic, step.all_rows() * step.cols);
}

void step_statistics(Step& step) {
  if (step.has_v && step.v.stored->codec.info->kind == StateKind::factored) update_factored(step);
  if (step.has_v && step.v.stored->codec.info->kind == StateKind::row_mean) update_row_means(step);
  if (step.has_v && step.v.stored->codec.info->kind == StateKind::rank1) find_column_maxima(step);
  if (step.rule->update_square != nullptr) find_update_scale(step);
  if (!step.args.master && makes_tensor_scale(step.args)) find_tensor_scale(step);
}

}  // namespace bittern::cpu
