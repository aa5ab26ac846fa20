// optimizer_step: one fused pass over one parameter, a piece of a row at a time (optimizer_pieces.h):
//   decode weight (or master) and moments to fp32, in place where they are f32 -> update rule -> encode master and
//   weight -> [ECO: the weight's error into the first moment] -> encode moments
// Bytes per element, each read and written once: gradient 4 (read), weight, master and states 2 * their size; what
// needs statistics first (optimizer_statistics.cpp) is read once more; sums for the metrics are in optimizer_sums.cpp.
// Element-wise but for sums in an order fixed by the whole tensor's shape, so the bits depend neither on threads nor on
// shards.
//
// A master is what is updated; the weight is the encoding of the master as it is stored. Non-finite values: see
// weight_rows.h and state_rows.h; nothing here hides them, and the trainer skips a step whose gradients have any.
#include <algorithm>
#include <numeric>

#include "ops/cpu/backend.h"
#include "ops/cpu/machine/simd.h"
#include "ops/cpu/optimizer/optimizer_pieces.h"
#include "ops/cpu/optimizer/orthogonalize.h"
#include "ops/cpu/step_record_views.h"

namespace bittern::cpu {

void load_moment(const Moment& moment, bool kept, const RowPiece& piece, float* out) {
  if (kept)
    state_rows(moment.stored->codec.info->kind).decode(moment, piece, out);
  else
    std::fill_n(out, piece.count, 0.0f);
}

float* values_of_moment(const Moment& moment, bool kept, const RowPiece& piece, float* scratch) {
  if (kept && moment.stored->codec.info->kind == StateKind::values && moment.stored->codes.dtype == DType::f32)
    return values_at<float>(moment.stored->codes, piece);
  load_moment(moment, kept, piece, scratch);
  return scratch;
}

void store_moment(const Step& step, const Moment& moment, bool kept, const RowPiece& piece, const float* values) {
  if (kept) state_rows(moment.stored->codec.info->kind).encode(moment, piece, values, step.first_element(piece));
}

namespace {

/// Where a piece's values are: the storage itself where it is f32, else scratch that decode fills.
float* values_of_weight(const Tensor& weight, const RowPiece& piece, float* scratch) {
  if (weight.dtype == DType::f32) return values_at<float>(weight, piece);
  decode_weight_row(weight, piece, scratch);
  return scratch;
}
/// w becomes the stored master, and where that is rounded the rounded values.
void store_master(const Step& step, const RowPiece& piece, float* w) {
  const Tensor& master = step.args.master;
  if (!master || master.dtype == DType::f32) return;  // f32 was updated in place
  const WeightCodec codec = master_codec(step.args.codec);
  if (is_quantized(master.dtype))
    master.scales[piece.row] = scale_from_statistic(codec, scale_statistic(codec, w, piece.count), piece.count);
  encode_weight_row(master, codec, piece, w, step.random(Purpose::master_rounding), step.first_element(piece));
  decode_weight_row(master, piece, w);
}

/// The error of a weight whose grid is never made anew, without what clipping took (eco_unclipped).
void leave_clipped_out(const Step& step, const RowPiece& piece, const float* w, float* error) {
  const WeightCodec& codec = step.args.codec;
  const float scale = step.args.weight.scales[piece.row];
  const float low = lowest_level(codec) * scale, high = highest_level(codec) * scale;
  const std::int64_t n = piece.count;
  simd([=] {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) error[i] = eco_unclipped(error[i], w[i], low, high);
  });
}

/// error = w - the stored weight, by the expression that every later reader decodes with: what differs from it would be
/// lost for good.
void find_error(const Step& step, const RowPiece& piece, const float* w, float* error) {
  decode_weight_row(step.args.weight, piece, error);
  const std::int64_t n = piece.count;
  simd([=] {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) error[i] = w[i] - error[i];
  });
}

/// The weight is w, rounded. With error feedback, scratch.error is what rounding took.
void store_weight(const Step& step, const RowPiece& piece, const float* w, const PieceScratch& scratch,
                  StepSums* sums) {
  const Tensor& weight = step.args.weight;
  const WeightCodec& codec = step.args.codec;
  const bool codes = is_quantized(weight.dtype);
  if (sums != nullptr && codes) unpack_row(weight, piece, scratch.codes);
  if (codes && codec.scale_update == ScaleUpdate::every_step)
    weight.scales[piece.row] = codec.scale_per == ScalePer::tensor
                                   ? step.tensor_scale
                                   : scale_from_statistic(codec, scale_statistic(codec, w, piece.count), piece.count);
  encode_weight_row(weight, codec, piece, w, step.random(Purpose::weight_rounding), step.first_element(piece));
  if (codec.error_feedback == ErrorFeedback::none && sums == nullptr) return;
  find_error(step, piece, w, scratch.error);
  if (sums != nullptr) add_weight_sums(step, piece, w, scratch.error, scratch.codes, *sums);
  if (codes && codec.error_feedback == ErrorFeedback::eco && codec.scale_update == ScaleUpdate::fixed)
    leave_clipped_out(step, piece, w, scratch.error);
}

void update_piece(const Step& step, std::int64_t number, const RowPiece& piece, const PieceScratch& scratch,
                  StepSums* sums) {
  float* const w = values_of_weight(step.updated(), piece, scratch.w);
  float* const m = values_of_moment(step.m, step.has_m, piece, scratch.m);
  float* const v = values_of_moment(step.v, step.has_v, piece, scratch.v);
  const bool errors_before = sums != nullptr && step.args.master;
  if (errors_before) find_error(step, piece, w, scratch.error);
  step.rule->update(w, m, v, step.gradient(piece), step.clip, piece.count, step.constants);
  if (errors_before) std::copy_n(scratch.error, piece.count, step.over_gradient(piece));
  store_master(step, piece, w);
  if (step.weight_after_masters())
    step.result_of(number) = scale_statistic(step.args.codec, w, piece.count);
  else
    store_weight(step, piece, w, scratch, sums);
  if (step.args.codec.error_feedback == ErrorFeedback::eco)
    step.rule->eco(m, v, scratch.error, piece.count, step.constants);
  store_moment(step, step.m, step.has_m, piece, m);
  store_moment(step, step.v, step.has_v, piece, v);
  if (sums != nullptr) add_moment_sums(step, piece, m, v, scratch.error, *sums);
}

void run(Step& step) {
  StepSums* const sums = step.args.statistics ? step.sums : nullptr;
  if (sums != nullptr) std::fill_n(sums, step.parts(), StepSums{});
  if (info(step.args.rule).sees_matrix) find_direction(step);
  step_statistics(step);
  for_pieces(step, [&](std::int64_t number, const RowPiece& piece, const PieceScratch& scratch, std::int64_t part) {
    update_piece(step, number, piece, scratch, sums == nullptr ? nullptr : sums + part);
  });
  if (step.weight_after_masters()) {
    step.tensor_scale = scale_of_pieces(step);
    for_pieces(step, [&](std::int64_t, const RowPiece& piece, const PieceScratch& scratch, std::int64_t part) {
      const float* const w = values_of_weight(step.args.master, piece, scratch.w);
      store_weight(step, piece, w, scratch, sums == nullptr ? nullptr : sums + part);
    });
  }
  if (step.v.new_column != nullptr) std::copy_n(step.new_column, step.cols, step.v.stored->column.as<float>());
  if (sums != nullptr) write_sums(step);
}

// ---- Entry: the cut into pieces, scratch.

bool plain(const Tensor& tensor) {
  return !tensor || tensor.dtype == DType::f32 || tensor.dtype == DType::bf16;
}

/// Everything is values, and nothing is summed: the parameter is one row.
bool one_row(const OptimizerStep& args) {
  const auto values = [](const StoredMoment& moment) { return moment.codec.info->kind == StateKind::values; };
  return plain(args.weight) && plain(args.master) && values(args.m) && values(args.v) &&
         !info(args.rule).clips_update && !info(args.rule).sees_matrix;
}

bool needs_whole_rows(const OptimizerStep& args) {
  const bool new_scale = is_quantized(args.weight.dtype) && args.codec.scale_update == ScaleUpdate::every_step;
  const bool new_master_scale = args.master && is_quantized(args.master.dtype);
  return new_scale || new_master_scale || has_columns(args.m.codec.info->kind) || has_columns(args.v.codec.info->kind);
}

std::int64_t columns_of_piece(const OptimizerStep& args, std::int64_t cols) {
  if (needs_whole_rows(args)) return cols;
  std::int64_t unit = 16;
  for (const StoredMoment* moment : {&args.m, &args.v})
    if (has_blocks(moment->codec.info->kind)) unit = std::lcm(unit, moment->codec.block);
  return piece_columns(cols, unit);
}

std::int64_t padded(std::int64_t floats) {
  return (floats + 15) / 16 * 16;
}

/// Lays the step's scratch out from `base` (null: only counts), returns its bytes.
std::int64_t lay_out_scratch(Step& step, std::byte* base) {
  std::int64_t used = 0;
  const auto take = [&](std::int64_t floats) {
    auto* const at = base == nullptr ? nullptr : reinterpret_cast<float*>(base) + used;
    used += padded(floats);
    return at;
  };
  const bool columns = step.has_v && has_columns(step.v.stored->codec.info->kind);
  step.workers = take(thread_count() * 5 * step.padded_piece());
  step.piece_results = take(step.all_rows() * step.pieces_per_row());
  step.sums =
      reinterpret_cast<StepSums*>(take(step.parts() * static_cast<std::int64_t>(sizeof(StepSums) / sizeof(float))));
  step.new_column = take(columns ? step.cols : 0);
  step.column_parts = take(columns ? row_parts(step.all_rows()) * step.cols : 0);
  step.matrix_scratch = take(
      info(step.args.rule).sees_matrix ? orthogonalize_scratch(step.args.orthogonalization, step.rows, step.cols) : 0);
  return used * static_cast<std::int64_t>(sizeof(float));
}

/// What follows from shapes and types: sizes, and how the parameter is cut. Reads no memory.
void prepare(Step& step) {
  OptimizerStep& own = step.args;
  if (own.shard.rows == 0 && one_row(own)) {
    for (Tensor* tensor : {&own.weight, &own.master, &own.m.codes, &own.v.codes, &own.gradient})
      if (*tensor) *tensor = Tensor(tensor->data, tensor->dtype, Shape{tensor->elements()});
  }
  step.has_m = static_cast<bool>(own.m);
  step.has_v = static_cast<bool>(own.v);
  step.m.stored = &own.m;
  step.v.stored = &own.v;
  step.rows = own.weight.rows();
  step.cols = own.weight.cols();
  step.piece = step.cols == 0 ? 0 : columns_of_piece(own, step.cols);
}

/// A shard without rows has nothing to update, but where shards exchange numbers it takes part.
bool has_work(const Step& step) {
  return step.cols > 0 && (step.rows > 0 || step.args.shard.exchange != nullptr);
}

}  // namespace

std::int64_t scratch_for(const OptimizerStep& args) {
  Step step{.args = args, .rule = &rule_rows(args.rule), .constants = {}};
  prepare(step);
  return has_work(step) ? lay_out_scratch(step, nullptr) : 0;
}

void CpuBackend::do_optimizer_steps(std::span<const OptimizerStep> all) {
  for (const OptimizerStep& args : all)
    if (!args.record || record_at(args.record).skipped == Skipped::no) update_parameter(args);
}

void CpuBackend::update_parameter(const OptimizerStep& args) {
  const std::int64_t update = args.record ? record_at(args.record).updates : args.constants.first;
  Step step{.args = args,
            .rule = &rule_rows(args.rule),
            .constants = constants_of(args.constants, update),
            .clip = args.record ? record_at(args.record).clip : 1.0f};
  prepare(step);
  const OptimizerStep& own = step.args;
  if (!has_work(step)) {
    if (own.statistics) std::fill_n(own.statistics.as<float>(), own.statistics.elements(), 0.0f);
    return;
  }
  step.m.book = codebook_of(own.m.codec, true);
  step.m.random = step.random(Purpose::first_moment_rounding);
  step.v.book = codebook_of(own.v.codec, false);
  step.v.random = step.random(Purpose::second_moment_rounding);
  step.v.inverse_root = {step.constants.inv_sqrt_correction2, step.constants.eps};
  lay_out_scratch(step, static_cast<std::byte*>(scratch(args)));
  step.gemm_workspace = gemm_workspace_.data();
  if (step.has_v && own.v.codec.info->kind == StateKind::rank1) step.v.new_column = step.new_column;
  run(step);
}

}  // namespace bittern::cpu
