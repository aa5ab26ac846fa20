// optimizer_pieces: what the passes of an optimizer step share: how a parameter is cut into pieces, where a thread's
// scratch is, and the step's tensors as the pieces see them.
//   A piece is a run of columns of one row: the whole row where something (a scale made anew, a rank-1 moment) needs
//   it, else about 2048 columns, so that its scratch stays in L1. A whole tensor whose storage is all plain values, of
//   which nothing is summed, is one row. Pieces and the sums over them follow from the whole tensor's shape alone.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "bittern/optim/optimizer_step.h"
#include "ops/cpu/machine/parallel.h"
#include "ops/cpu/machine/row_parts.h"
#include "ops/cpu/optimizer/rule_rows.h"
#include "ops/cpu/optimizer/state_rows.h"
#include "ops/cpu/optimizer/weight_rows.h"

namespace bittern::cpu {

inline constexpr std::int64_t piece_elements = 2048;  ///< 8 KiB for each of weight, m, v and error

/// Columns of a piece where a row may be cut at multiples of `unit`: about piece_elements, so more than half of that, or
/// the whole row.
inline std::int64_t piece_columns(std::int64_t cols, std::int64_t unit) {
  return std::min(cols, unit * std::max<std::int64_t>(1, piece_elements / unit));
}

/// One thread's memory for a piece.
struct PieceScratch {
  float *w, *m, *v, *error;
  std::uint8_t* codes;
};

/// What the metrics want of the pieces of one part: sums, and largest magnitudes, which are floats.
struct StepSums {
  std::array<double, static_cast<std::size_t>(StepStatistic::count)> values{};
  double& operator[](StepStatistic which) { return values[static_cast<std::size_t>(which)]; }
};

/// An optimizer step while it runs.
struct Step {
  OptimizerStep args;  ///< a copy: with tensors as one row where that is possible
  const RuleRows* rule;
  RuleConstants constants;  ///< of this update, as the tensor needs them
  float clip = 1;           ///< what the gradient is multiplied by
  Moment m = {}, v = {};
  bool has_m = false, has_v = false;
  std::int64_t rows = 0, cols = 0, piece = 0;  ///< columns of a piece
  float tensor_scale = 0;                      ///< of a weight without master whose scale per tensor is made anew

  // Scratch.
  float* workers = nullptr;         ///< PieceScratch of each thread
  float* piece_results = nullptr;   ///< one number of each piece of the whole tensor
  float* new_column = nullptr;      ///< (cols)
  float* column_parts = nullptr;    ///< (row_parts(all_rows), cols)
  StepSums* sums = nullptr;         ///< (parts)
  float* matrix_scratch = nullptr;  ///< orthogonalize_scratch() floats
  void* gemm_workspace = nullptr;

  std::int64_t pieces_per_row() const { return (cols + piece - 1) / piece; }
  std::int64_t pieces() const { return rows * pieces_per_row(); }
  /// Of the whole tensor, of which `rows` rows from first_row() on may be a shard.
  std::int64_t all_rows() const { return args.shard.rows > 0 ? args.shard.rows : rows; }
  std::int64_t first_row() const { return args.shard.first_row; }
  /// all (count): of the whole tensor, where this shard has written `own` numbers from `first` on.
  void gather(float* all, std::int64_t first, std::int64_t own, std::int64_t count) const {
    if (args.shard.exchange != nullptr) args.shard.exchange->all_gather(all, first, own, count);
  }
  /// The number of a piece in piece_results, which gather_pieces() completes.
  float& result_of(std::int64_t number) const { return piece_results[first_row() * pieces_per_row() + number]; }
  void gather_pieces() const {
    gather(piece_results, first_row() * pieces_per_row(), pieces(), all_rows() * pieces_per_row());
  }
  /// About 16 K elements each.
  std::int64_t parts() const {
    return pieces() == 0 ? 0 : std::clamp<std::int64_t>(rows * cols / 16384, 1, std::min<std::int64_t>(pieces(), 256));
  }

  const Tensor& updated() const { return args.master ? args.master : args.weight; }
  const float* gradient(const RowPiece& at) const { return args.gradient.as<float>() + at.row * cols + at.first; }
  /// Once the gradient is read, its memory keeps the direction (a rule that sees the matrix), and once that is read, the
  /// error before the step (statistics, masters).
  float* over_gradient(const RowPiece& at) const { return args.gradient.as<float>() + at.row * cols + at.first; }
  std::uint64_t first_element(const RowPiece& at) const {
    return static_cast<std::uint64_t>((first_row() + at.row) * cols + at.first);
  }
  RandomStream random(Purpose purpose) const { return {philox_key(args.seed, purpose), args.step, args.tensor_id}; }
  /// The weight is encoded after all masters are known, because its scale is the tensor's.
  bool weight_after_masters() const { return args.master && makes_tensor_scale(args); }
  PieceScratch scratch_of(int worker) const {
    const std::int64_t padded = padded_piece();
    float* const base = workers + worker * 5 * padded;
    return {base, base + padded, base + 2 * padded, base + 3 * padded,
            reinterpret_cast<std::uint8_t*>(base + 4 * padded)};
  }
  std::int64_t padded_piece() const { return (piece + 15) / 16 * 16; }
};

/// body(number of the piece, the piece, scratch, part) for all pieces, shared between threads.
template <class F>
void for_pieces(const Step& step, F body) {
  const std::int64_t parts = step.parts(), per_row = step.pieces_per_row();
  parallel_for(parts, [&](std::int64_t part, int worker) {
    const PieceScratch scratch = step.scratch_of(worker);
    for (std::int64_t i = part_begin(step.pieces(), parts, part); i < part_begin(step.pieces(), parts, part + 1); ++i) {
      const std::int64_t first = i % per_row * step.piece;
      body(i, RowPiece{i / per_row, first, std::min(step.piece, step.cols - first)}, scratch, part);
    }
  });
}

/// Passes before the update, where a codec or the rule needs to know the whole tensor: factored means (brought up to
/// date), the columns' maxima of rank-1, the clipping of adafactor, a scale per tensor of a weight without master.
void step_statistics(Step& step);

/// A rule that sees the matrix: updates and encodes the first moment, and overwrites the gradient with the direction.
/// From now on the step has no first moment, for it is done.
void find_direction(Step& step);

/// The scale per tensor from the statistics that the pieces left in piece_results, those of the other shards included.
float scale_of_pieces(const Step& step);

/// optimizer_sums.cpp. Of a weight that was stored: w, what rounding took of it, the codes that it had before.
void add_weight_sums(const Step& step, const RowPiece& piece, const float* w, const float* error,
                     const std::uint8_t* codes_before, StepSums& sums);
/// Of moments that were stored: what they were before, and scratch for what they are now.
void add_moment_sums(const Step& step, const RowPiece& piece, const float* m, const float* v, float* scratch,
                     StepSums& sums);
/// The sums of all parts, to OptimizerStep::statistics.
void write_sums(const Step& step);

/// Decodes the piece's moment into out; zeros where it is not kept.
void load_moment(const Moment& moment, bool kept, const RowPiece& piece, float* out);
/// Where the piece's values are: the storage itself where it is f32, else scratch, into which they are decoded.
float* values_of_moment(const Moment& moment, bool kept, const RowPiece& piece, float* scratch);
/// Encodes values (piece.count), which may become scratch; nothing where the moment is not kept.
void store_moment(const Step& step, const Moment& moment, bool kept, const RowPiece& piece, const float* values);

}  // namespace bittern::cpu
