// Optimizer: plans the memory that updates need, and updates all parameters once per step. The update rule (AdamW, ...),
// the codec of each weight and the codecs of its moments are chosen independently of each other.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "bittern/backend.h"
#include "bittern/config.h"
#include "bittern/optim/optimizer_step.h"
#include "bittern/parameter.h"
#include "bittern/plan.h"
#include "bittern/step_record.h"

namespace bittern {

/// Writes into the parameter how it is updated: its rule, whether it decays (optimizer.decay_on), and the codecs of its
/// moments (optimizer.states). Only the role and the shape of the whole tensor decide.
void decide_update(Parameter& parameter, const OptimizerSection& config);

/// What the last step did to the parameters of one role. The fields are sums over all their elements; the last line has
/// the largest values.
struct RoleStatistics {
  std::int64_t elements = 0;                    ///< 0: no parameter of this role
  double changed = 0;                           ///< codes that the step changed
  double expected_changed = 0;                  ///< integer codes rounded stochastically: the sum of each code's
                                                ///< probability to change
  double saturated = 0;                         ///< codes at the lowest or the highest level of their grid
  double error_squared = 0, value_squared = 0;  ///< squares of e = weight before rounding - stored weight, and of the
                                                ///< weight before rounding
  double error_before_squared = 0;              ///< with a master: squares of e0, which is e of the step before
  double error_dot = 0;                         ///< with a master: products e0 * e
  double m_squared = 0, m_error_squared = 0;    ///< squares of the first moments, and of what storing them lost
  double v_zeroed = 0;                          ///< second moments that are above zero and are stored as zero
  float m_absmax = 0, v_max = 0;
};

class Optimizer {
 public:
  /// Decides how each parameter is updated (decide_update). Adds the moments, the masters, the record and the statistics
  /// to the plan. Writes the decisions and the ids of the planned tensors into `parameters`.
  Optimizer(Backend& backend, const RunConfig& config, std::span<Parameter> parameters, Plan& plan);

  /// The record of the step (step_record.h). It lies in the back end's memory.
  Tensor record(const Arena& arena) const { return arena.view(record_); }
  /// Copies `record` to the back end. A run does this once, when it starts or is resumed.
  void set_record(const Arena& arena, const StepRecord& record);
  /// The copy of the record on the host, for slot `slot`. There is a slot for each step that may be under way.
  StepRecord* record_copy(const Arena& arena, std::int64_t slot) const;

  /// Adds up the squares of the gradients of `parameters`, which follow each other in the table. Every parameter's turn
  /// comes once in a step, in any order.
  void square_parts(const Arena& arena, std::span<const Parameter> parameters);
  /// Before the first of a step's decide_bucket: no squares are there.
  void begin_buckets(const Arena& arena);
  /// After square_parts of a bucket (layer_events.h), before its update and before the gradients of other buckets are
  /// there: whether and how its gradients are used (decide_bucket in ops.h), into the record. It takes the place of
  /// decide(). `first` and `last`: of the step's buckets.
  void decide_bucket(const Arena& arena, int bucket, bool first, bool last);
  /// After square_parts of all: the norm of all gradients, the factor of clipping, and whether the update is made, into
  /// the record.
  void decide(const Arena& arena);

  /// Updates every parameter once, if the record says that the update is made; else changes none. Adam's t is the number
  /// of updates made, this one included. The host may not know yet whether the step before was skipped, so it gives
  /// `first_update`, which is t if that step was skipped; t is first_update + 1 if it was not. The record decides.
  /// `step` is the number of the training step; it addresses the random numbers of stochastic rounding.
  /// `with_statistics`: statistics() is about this step afterwards. That overwrites the gradients and takes a little
  /// time, to read again what lies in cache.
  void step(const Arena& arena, std::span<const Parameter> parameters, double lr, double weight_decay,
            std::int64_t first_update, std::int64_t step, bool with_statistics = false);

  /// The statistics of the last step that was made with_statistics.
  ByRole<RoleStatistics> statistics(const Arena& arena, std::span<const Parameter> parameters) const;

 private:
  void make_norm(const Arena& arena);  // of the parts, and the factor of clipping
  UpdateConstants constants_for(const Parameter& parameter, double lr, double weight_decay,
                                std::int64_t first_update) const;
  Orthogonalization orthogonalization_of(const Parameter& parameter) const;

  Backend& backend_;
  OptimizerSection config_;
  DType compute_;       ///< of the operands of an orthogonalization
  std::uint32_t seed_;  ///< of stochastic rounding
  double skip_deviations_;
  TensorId record_, record_copies_, square_parts_, statistics_;
  std::vector<std::int64_t> first_part_;  // of each parameter's squares, by its id; then their number
};

}  // namespace bittern
