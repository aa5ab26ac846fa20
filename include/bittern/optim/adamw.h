// adamw: Adam with decoupled weight decay (Loshchilov & Hutter 2019), bias corrections and eps where PyTorch has them:
//   m = b1 m + (1-b1) g      v = b2 v + (1-b2) g^2
//   w = w - (lr wd w + lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps))             t = 1, 2, ...
// PyTorch multiplies w by 1 - lr wd first; decayed() in rule_constants.h says what that loses.
#pragma once

#include <cmath>

#include "bittern/optim/eco.h"

namespace bittern {

inline RuleConstants adamw_constants(const RuleOptions& options, long long t) {
  const double correction1 = 1.0 - std::pow(options.beta1, static_cast<double>(t));
  const double correction2 = 1.0 - std::pow(options.beta2, static_cast<double>(t));
  const double step_size = options.lr / correction1;
  return {.beta1 = static_cast<float>(options.beta1),
          .one_minus_beta1 = static_cast<float>(1.0 - options.beta1),
          .beta2 = static_cast<float>(options.beta2),
          .one_minus_beta2 = static_cast<float>(1.0 - options.beta2),
          .eps = static_cast<float>(options.eps),
          .step_size = static_cast<float>(step_size),
          .inv_sqrt_correction2 = static_cast<float>(1.0 / std::sqrt(correction2)),
          .decay = static_cast<float>(options.lr * options.weight_decay),
          .eco_gain = static_cast<float>(eco_gain(options, step_size)),
          .eco_cap = static_cast<float>(options.eco_cap)};
}

BITTERN_HD float adamw_second_moment(float v, float g, const RuleConstants& c) {
  return c.beta2 * v + c.one_minus_beta2 * (g * g);
}

/// One element: w, m and v are updated in place.
BITTERN_HD void adamw(float& w, float& m, float& v, float g, const RuleConstants& c) {
  m = c.beta1 * m + c.one_minus_beta1 * g;
  v = adamw_second_moment(v, g, c);
  const float denominator = std::sqrt(v) * c.inv_sqrt_correction2 + c.eps;
  w = decayed(w, c.step_size * (m / denominator), c);
}

/// m takes up the error e that storing w made in this update; v is the updated one.
BITTERN_HD void adamw_eco(float& m, float v, float e, const RuleConstants& c) {
  const float root = std::sqrt(v) * c.inv_sqrt_correction2;
  m += eco_capped(c.eco_gain * ((root + c.eps) * e), root, c.eco_cap);
}

}  // namespace bittern
