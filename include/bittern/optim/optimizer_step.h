// optimizer_step: the update of one parameter in one fused pass, a panel of whole rows at a time:
//   decode weight (or master) and moments -> update rule -> encode weight [-> inject its error] -> encode moments
// With a master, the master is updated and the weight is the encoding of the master as it is then stored.
// Three independent choices: the rule (update_rule.h), the weight's codec (quant/weight_codec.h), the moments' codecs
// (quant/state_codec.h). Codecs that need the whole tensor first (rank-1 and factored moments, a scale per tensor made
// anew) add one pass of statistics. A rule that sees the matrix (muon.h) updates and encodes the first moment in a pass
// of its own and overwrites the gradient with the direction; the fused pass then takes the direction for the gradient.
#pragma once

#include <cstdint>
#include <string_view>

#include "bittern/optim/shard.h"
#include "bittern/optim/update_rule.h"
#include "bittern/quant/philox.h"
#include "bittern/quant/state_codec.h"
#include "bittern/quant/weight_codec.h"
#include "bittern/tensor.h"

namespace bittern {

/// One moment as it is stored. What its codec does not use is empty; so is everything of a moment that the rule has
/// not.
struct StoredMoment {
  StateCodec codec;
  Tensor codes;        ///< the parameter's shape, codec.info->dtype
  Tensor scales;       ///< (rows, blocks) f32; logarithmic: (rows, 2 * blocks), scale and alpha of each block
  Tensor row, column;  ///< (rows), (cols) f32: rank-1 maxima or factored means

  /// False for a moment that is not kept: the rule has none, or beta1 is 0.
  explicit operator bool() const { return codes || row; }
};

/// Sums over one parameter's update, for the metrics; each is a float at this index of OptimizerStep::statistics.
enum class StepStatistic : std::uint8_t {
  changed,               ///< codes that are not what they were
  expected_changed,      ///< codes that stochastic rounding of integers was to change: the sum of their probabilities
  saturated,             ///< codes at an end of the grid
  error_squared,         ///< e^2, e = w - decode(encode(w))
  error_before_squared,  ///< e^2 as it was before the step; of weights with a master, as is
  error_dot,             ///< e before the step times e after it
  value_squared,         ///< w^2
  m_absmax,              ///< max |m|, after the update
  m_squared,             ///< m^2
  m_error_squared,       ///< (m - stored m)^2
  v_max,                 ///< max v
  v_zeroed,              ///< elements whose v is above zero and is stored as zero
  count
};

struct OptimizerStep {
  static constexpr std::string_view name = "optimizer_step";
  Tensor weight;  ///< what forward and backward read, with its scales
  Tensor master;  ///< f32, bf16 or fp8_e4m3 with scales, or empty: the weight itself is what is updated
  StoredMoment m, v;
  Tensor gradient;  ///< f32; overwritten by a rule that sees the matrix, by the direction, and with statistics of a
                    ///< weight with a master, by e before the step
  /// The step's StepRecord (step_record.h): whether the update is made, what the gradient is multiplied by, and t. None:
  /// the update is made, of the gradient as it is, with the first of the constants.
  Tensor record{};
  Tensor statistics;  ///< (StepStatistic::count) f32, overwritten, of these rows; or empty
  UpdateRule rule = UpdateRule::adamw;
  UpdateConstants constants;
  Orthogonalization orthogonalization{};  ///< of a rule that sees the matrix
  WeightCodec codec{};
  std::uint32_t seed = 0;  ///< rounding's Philox keys are (seed, Purpose::weight_rounding | ...)
  std::uint32_t step = 0;
  std::uint32_t tensor_id = 0;  ///< position in the model's parameter table
  Shard shard{};                ///< the tensors above are these rows, but for moments' columns, which every shard has
};

/// Whether the weight's scale is the tensor's, and made anew.
inline bool makes_tensor_scale(const OptimizerStep& args) {
  return is_quantized(args.weight.dtype) && args.codec.scale_per == ScalePer::tensor &&
         args.codec.scale_update == ScaleUpdate::every_step;
}
/// Whether something is summed over the whole tensor first.
inline bool needs_sums(const OptimizerStep& args) {
  return makes_tensor_scale(args) || (args.v && has_columns(args.v.codec.info->kind)) || info(args.rule).clips_update;
}

}  // namespace bittern
