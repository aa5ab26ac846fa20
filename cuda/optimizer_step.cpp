// optimizer_step: arguments for the kernel of parameters that are stored as values (optimizer_values.cu). What is stored in
// codes, rules that need sums over the tensor, rules that see the matrix, and statistics have no kernel yet: they are
// refused with a sentence.
#include <string>

#include "bittern/error.h"
#include "cuda/backend.h"
#include "cuda/optimizer_values.h"

namespace bittern::cuda {
namespace {

/// What of the step has no kernel yet; empty: nothing.
std::string what_is_missing(const OptimizerStep& args) {
  if (args.rule != UpdateRule::adamw && args.rule != UpdateRule::sgdm)
    return fmt::format("the rule {}", info(args.rule).name);
  if (is_quantized(args.weight.dtype)) return fmt::format("weights of {}", name(args.weight.dtype));
  if (args.master && is_quantized(args.master.dtype)) return fmt::format("a master of {}", name(args.master.dtype));
  for (const StoredMoment* moment : {&args.m, &args.v})
    if (*moment && moment->codec.info->kind != StateKind::values)
      return fmt::format("a moment in codec {}", moment->codec.info->name);
  if (args.statistics) return "statistics (train.statistics_every)";
  return "";
}

Values values_of(const Tensor& x, Rounding rounding) {
  return {.data = x ? x.data : nullptr, .dtype = x.dtype, .stochastic = rounding == Rounding::stochastic};
}

}  // namespace

void CudaBackend::do_optimizer_steps(std::span<const OptimizerStep> all) {
  join_copies_aside();
  for (const OptimizerStep& args : all) {
    if (const std::string what = what_is_missing(args); !what.empty())
      throw failure("{}: the CUDA back end has no kernel for {} yet; set run.device to \"cpu\"", args.name, what);
    optimizer_values({.weight = values_of(args.weight, args.codec.rounding),
                      .master = values_of(args.master, args.codec.master_rounding),
                      .m = values_of(args.m.codes, args.m.codec.rounding),
                      .v = values_of(args.v.codes, args.v.codec.rounding),
                      .gradient = args.gradient.as<float>(),
                      .record = args.record ? static_cast<const StepRecord*>(args.record.data) : nullptr,
                      .constants = args.constants,
                      .rule = args.rule == UpdateRule::adamw ? ElementRule::adamw : ElementRule::sgdm,
                      .eco = args.codec.error_feedback == ErrorFeedback::eco,
                      .seed = args.seed,
                      .step = args.step,
                      .tensor_id = args.tensor_id,
                      .count = args.gradient.elements(),
                      .first_element = args.shard.first_row * args.weight.cols()},
                     stream());
    launched(args);
  }
}

}  // namespace bittern::cuda
