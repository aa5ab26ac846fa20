// What one update needs beside the parameter's own tensors: formed in double precision once per step, read by every
// element.
#pragma once

#include <cstdint>

#include "bittern/host_device.h"

namespace bittern {

struct RuleConstants {
  float beta1, one_minus_beta1;
  float beta2, one_minus_beta2;  ///< of this update: adafactor's change with t
  float eps;
  float step_size;             ///< what multiplies the normalised first moment
  float inv_sqrt_correction2;  ///< adamw: 1 / sqrt(1 - beta2^t); else 1
  float decay;                 ///< lr * weight_decay, of which decayed() makes one subtraction with the step
  float update_scale = 1.0f;   ///< adafactor: what clips the update of this tensor (adafactor.h)
  float eco_gain = 0.0f;       ///< (1 - 1 / beta1) / step_size, 0 where lr is 0; see eco.h
  float eco_cap = 0.0f;        ///< see eco.h; 0: none
};

/// The constants of the updates that a step may turn out to be. The host may not know yet whether the step before it was
/// skipped, so it makes both sets; the one that is read is that of update t = StepRecord::updates.
struct UpdateConstants {
  static constexpr int candidates = 2;
  RuleConstants of_first, of_next;  ///< of updates first, first + 1
  std::int64_t first = 0;

  UpdateConstants(const RuleConstants& known) : of_first(known), of_next(known) {}
  UpdateConstants(const RuleConstants& this_one, const RuleConstants& next_one, std::int64_t first_update)
      : of_first(this_one), of_next(next_one), first(first_update) {}
};

BITTERN_HD const RuleConstants& constants_of(const UpdateConstants& constants, std::int64_t update) {
  return update == constants.first + 1 ? constants.of_next : constants.of_first;
}

/// w after decay and step. One subtraction: where lr wd is small, w (1 - lr wd) rounds the factor to a multiple of
/// 2^-24 (at lr wd = 1e-7 to one that decays 19 % too fast, below 3e-8 to 1), and w - lr wd w is rounded back to w.
/// In the sum with the step, which is above the spacing of w or the weight would not learn either, a small decay moves
/// the result across a border of rounding as often as its size asks for.
BITTERN_HD float decayed(float w, float step, const RuleConstants& c) {
  return w - (c.decay * w + step);
}

/// The options that an update's constants are made of, by their names in configs.
struct RuleOptions {
  double lr, beta1, beta2, eps, weight_decay;
  bool eco_decay_factor = false;
  double eco_cap = 0.0;
  double direction_scale = 1.0;  ///< muon: what multiplies the direction beside lr (muon.h)
};

}  // namespace bittern
