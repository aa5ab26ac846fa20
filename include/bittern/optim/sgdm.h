// sgdm: gradient descent with momentum as a moving average, and decoupled weight decay. No second moment.
//   m = b1 m + (1-b1) g      w = w - (lr wd w + lr m)
// It is the form that ECO's injection is derived for (arXiv 2601.22101, algorithm 2); the heavy ball m = b1 m + g is
// the same with a rate 1 / (1-b1) times lower.
#pragma once

#include "bittern/optim/eco.h"

namespace bittern {

inline RuleConstants sgdm_constants(const RuleOptions& options, long long) {
  return {.beta1 = static_cast<float>(options.beta1),
          .one_minus_beta1 = static_cast<float>(1.0 - options.beta1),
          .beta2 = 0.0f,
          .one_minus_beta2 = 0.0f,
          .eps = 0.0f,
          .step_size = static_cast<float>(options.lr),
          .inv_sqrt_correction2 = 1.0f,
          .decay = static_cast<float>(options.lr * options.weight_decay),
          .eco_gain = static_cast<float>(eco_gain(options, options.lr))};
}

BITTERN_HD void sgdm(float& w, float& m, float g, const RuleConstants& c) {
  m = c.beta1 * m + c.one_minus_beta1 * g;
  w = decayed(w, c.step_size * m, c);
}

BITTERN_HD void sgdm_eco(float& m, float e, const RuleConstants& c) {
  m += c.eco_gain * e;
}

}  // namespace bittern
