// optimizer_step: what it checks and what it costs (bittern/optim/optimizer_step.h).
#include <cstddef>
#include <cstdint>

#include "bittern/backend.h"
#include "bittern/profile.h"
#include "bittern/row_parts.h"
#include "bittern/step_record.h"
#include "ops/checked.h"

namespace bittern {
namespace {

void check_shard(const OptimizerStep& args) {
  const std::int64_t all = args.shard.rows, first = args.shard.first_row, last = first + args.weight.rows();
  if (all == 0) {
    check(first == 0 && args.shard.exchange == nullptr, "optimizer_step: a shard from row {} on of a tensor of no rows",
          first);
    return;
  }
  check(first >= 0 && last <= all, "optimizer_step: rows {} to {} of a tensor of {} rows", first, last, all);
  if (!needs_sums(args)) return;
  check(args.shard.exchange != nullptr || last - first == all,
        "optimizer_step: a shard whose codecs or rule need the whole tensor needs an exchange");
  check(part_at(all, first) >= 0 && part_at(all, last) >= 0,
        "optimizer_step: a shard of rows {} to {} of {}; expected it to begin and end where shard_begin() says", first,
        last, all);
}

void check_moment(const StoredMoment& moment, const char* which, const OptimizerStep& args) {
  const StateCodecInfo& codec = *moment.codec.info;
  const std::int64_t rows = args.weight.rows(), cols = args.weight.cols(), block = moment.codec.block;
  const auto has = [&](const Tensor& tensor, std::int64_t elements) {
    return tensor && tensor.dtype == DType::f32 && tensor.elements() == elements && tensor.contiguous();
  };
  if (has_codes(codec.kind))
    check(moment.codes.dtype == codec.dtype && moment.codes.rows() == rows && moment.codes.cols() == cols &&
              moment.codes.contiguous(),
          "optimizer_step: {} is {} {}; its codec {} wants {} {}", which, name(moment.codes.dtype),
          moment.codes.shape.text(), codec.name, name(codec.dtype), args.weight.shape.text());
  if (has_columns(codec.kind))
    check(args.weight.shape.rank >= 2 && has(moment.row, rows) && has(moment.column, cols),
          "optimizer_step: {} in codec {} needs a matrix with f32 numbers of each row and column; the weight is {}",
          which, codec.name, args.weight.shape.text());
  if (has_rows(codec.kind) && !has_columns(codec.kind))
    check(args.weight.shape.rank >= 2 && has(moment.row, rows),
          "optimizer_step: {} in codec {} needs a matrix with an f32 number of each row; the weight is {}", which,
          codec.name, args.weight.shape.text());
  if (!has_blocks(codec.kind)) return;
  check(block >= 1, "optimizer_step: {} in blocks of {}; expected at least 1", which, block);
  const std::int64_t numbers = (codec.kind == StateKind::logarithmic ? 2 : 1) * ((cols + block - 1) / block);
  check(has(moment.scales, rows * numbers), "optimizer_step: {} in codec {} needs {} scales, got {}", which, codec.name,
        rows * numbers, moment.scales.elements());
}

void check_matrix(const OptimizerStep& args) {
  const Orthogonalization& how = args.orthogonalization;
  const std::string_view rule = info(args.rule).name;
  check(args.weight.shape.rank == 2 && args.m, "optimizer_step: rule {} needs a matrix with a first moment; got {}",
        rule, args.weight.shape.text());
  check(args.shard.rows == 0, "optimizer_step: rule {} needs the whole matrix, not a shard of {} of its {} rows", rule,
        args.weight.rows(), args.shard.rows);
  check(
      how.steps >= 1 && how.blocks >= 1 && args.weight.rows() % how.blocks == 0,
      "optimizer_step: rule {} with {} steps, {} blocks of {} rows; expected at least 1 step, and blocks of equal rows",
      rule, how.steps, how.blocks, args.weight.rows());
  check(how.compute == DType::f32 || how.compute == DType::bf16, "optimizer_step: compute must be f32 or bf16, got {}",
        name(how.compute));
  check(args.codec.error_feedback == ErrorFeedback::none, "optimizer_step: rule {} has no error feedback", rule);
}

void check_step(const OptimizerStep& args) {
  const std::int64_t n = args.gradient.elements();
  const auto same_size = [&](const Tensor& x) { return x.elements() == n && x.contiguous(); };
  check(args.weight && args.gradient.dtype == DType::f32 && same_size(args.weight) && same_size(args.gradient) &&
            (!args.master || same_size(args.master)),
        "optimizer_step: weight {}, master {}, gradient {} must have one shape", args.weight.shape.text(),
        args.master.shape.text(), args.gradient.shape.text());
  check(args.weight.dtype == args.codec.dtype(), "optimizer_step: the weight is {}, its codec says {}",
        name(args.weight.dtype), name(args.codec.dtype()));
  check(!is_quantized(args.weight.dtype) || args.weight.scales != nullptr, "optimizer_step: {} weights need scales",
        name(args.weight.dtype));
  check(!args.master || (args.weight.dtype != DType::f32 && args.codec.master != Master::none &&
                         args.master.dtype == master_codec(args.codec).dtype() &&
                         (!is_quantized(args.master.dtype) || args.master.scales != nullptr)),
        "optimizer_step: a master of {} does not go with {} weights whose codec has master {}", name(args.master.dtype),
        name(args.weight.dtype), master_names[static_cast<std::size_t>(args.codec.master)]);
  check(args.codec.error_feedback == ErrorFeedback::none || (!args.master && args.m && args.weight.dtype != DType::f32),
        "optimizer_step: error feedback needs rounded weights without master and a first moment (beta1 above 0)");
  if (args.record) Checked{args.name, "record", args.record}.of(DType::u8).vector(step_record_bytes);
  check_shard(args);
  if (args.m) check_moment(args.m, "m", args);
  if (args.v) check_moment(args.v, "v", args);
  check(static_cast<bool>(args.v) == info(args.rule).has_second_moment, "optimizer_step: rule {} {} a second moment",
        info(args.rule).name, info(args.rule).has_second_moment ? "needs" : "has no place for");
  if (info(args.rule).sees_matrix) check_matrix(args);
  check(!args.statistics || args.statistics.elements() == static_cast<std::int64_t>(StepStatistic::count),
        "optimizer_step: {} statistics, expected {}", args.statistics.elements(),
        static_cast<std::int64_t>(StepStatistic::count));
}

}  // namespace

/// Of the main pass: the gradient is read, weight, master and moments are read and written. A weight with a master is
/// only written. A rule that sees the matrix reads the gradient twice and writes the direction; its products' bytes are
/// not counted, for they are bound by FLOPs.
Cost cost_of(const OptimizerStep& args) {
  double both_ways = bytes_of(args.weight) * (args.master ? 0.5 : 1.0) + bytes_of(args.master);
  for (const StoredMoment* moment : {&args.m, &args.v}) both_ways += bytes_of(moment->codes) + bytes_of(moment->scales);
  if (!info(args.rule).sees_matrix) return {.bytes = bytes_of(args.gradient) + 2 * both_ways};
  return {.bytes = 3 * bytes_of(args.gradient) + 2 * both_ways,
          .flops = orthogonalize_flops(args.orthogonalization, args.weight.rows(), args.weight.cols())};
}

void Backend::optimizer_steps(std::span<const OptimizerStep> all) {
  Cost cost;
  for (const OptimizerStep& args : all) {
    check_step(args);
    const Cost own = cost_of(args);
    cost.bytes += own.bytes;
    cost.flops += own.flops;
  }
  const OpScope scope(OptimizerStep::name, cost);
  do_optimizer_steps(all);
}

}  // namespace bittern
