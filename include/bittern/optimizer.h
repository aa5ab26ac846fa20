// Optimizer: an update rule over the parameters' codecs: what it asks of the plan, and one step.
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

/// Decides how the parameter is updated: its rule, whether it decays (optimizer.decay_on), and the codecs of its moments
/// (optimizer.states: on, min_elements, head_m). A function of the whole tensor's role and shape alone.
void decide_update(Parameter& parameter, const OptimizerSection& config);

/// What the last step did to the parameters of one role: sums over them, and largest values.
struct RoleStatistics {
  std::int64_t elements = 0;                    ///< 0: no parameter of this role
  double changed = 0;                           ///< codes that are not what they were
  double expected_changed = 0;                  ///< the sum of the probabilities to, of integers rounded stochastically
  double saturated = 0;                         ///< codes at an end of their grid
  double error_squared = 0, value_squared = 0;  ///< of what rounding took, and of the weights before it
  double error_before_squared = 0;            ///< of what rounding had taken before the step, where there is a master,
  double error_dot = 0;                       ///< and times what it took now
  double m_squared = 0, m_error_squared = 0;  ///< of the first moments, and what storing took of them
  double v_zeroed = 0;                        ///< second moments above zero that are stored as zero
  float m_absmax = 0, v_max = 0;
};

class Optimizer {
 public:
  /// Decides how each parameter is updated, adds moments, masters, the record and the statistics to the plan, and writes
  /// both down in the parameters.
  Optimizer(Backend& backend, const RunConfig& config, std::span<Parameter> parameters, Plan& plan);

  /// What its steps need of the back end's workspace.
  void add_needs(WorkspaceNeeds& needs) const;

  /// The step's record (step_record.h), in the back end's memory, and a way to begin it: where a run starts or goes on.
  Tensor record(const Arena& arena) const { return arena.view(record_); }
  void set_record(const Arena& arena, const StepRecord& record);
  /// Copies of the record on the host, one for each step that may be under way.
  StepRecord* record_copy(const Arena& arena, std::int64_t slot) const;

  /// Norm, clip scale, and whether the update is made, into the record.
  void decide(const Arena& arena, std::span<const Tensor> gradients);

  /// One update of every parameter, if the record says so. `first_update`: the update that it is if the step before,
  /// which the host may not have looked at, was skipped (from 1: Adam's t counts the updates really made). `step`: the
  /// training step, which addresses the random numbers of stochastic rounding. With statistics, which cost some reading
  /// of what lies in cache and overwrite gradients, statistics() tells about this step.
  void step(const Arena& arena, std::span<const Parameter> parameters, double lr, double weight_decay,
            std::int64_t first_update, std::int64_t step, bool with_statistics = false);

  /// Of the last step that was made with statistics.
  ByRole<RoleStatistics> statistics(const Arena& arena, std::span<const Parameter> parameters) const;

 private:
  Backend& backend_;
  OptimizerSection config_;
  std::uint32_t seed_;  ///< of rounding
  double skip_deviations_;
  TensorId record_, record_copies_, square_parts_, statistics_;
  std::int64_t max_rows_ = 0, max_cols_ = 0;
};

}  // namespace bittern
