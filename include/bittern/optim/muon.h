// muon (Jordan 2024; update's size after Moonlight, arXiv 2502.16982): the rule of the blocks' matrices. It makes the
// momentum's singular values all about 1 and takes that as the direction, so no direction of the matrix is starved.
//   m = mu m + (1-mu) g                 u = (1-mu) g + mu m with nesterov, else u = m
//   X = u / |u|_F                       |u|_F: the root of the sum of squares
//   X = a X + (b A + c A A) X,  A = X X^T      as often as options.steps says, each time with its (a, b, c)
//   w = w - (lr wd w + lr scale sqrt(max(rows, cols)) X)
// With rows > cols A = X^T X stands on the right instead, which is the same X. The factor sqrt(max(rows, cols)) with a
// scale of 0.2 gives X the root mean square of AdamW's updates, so AdamW's rates and decay carry over.
// The matrix may be stacked from heads (q, k, v): then each head's rows are a matrix of their own.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "bittern/dtype.h"
#include "bittern/host_device.h"
#include "bittern/optim/sgdm.h"

namespace bittern {

/// The polynomial of one step: a x + b x^3 + c x^5, applied to every singular value x.
struct NewtonSchulzStep {
  float a, b, c;
};

/// simple: the same polynomial each time (Jordan). Singular values end between about 0.7 and 1.2.
/// polar_express: the best polynomial for each step (arXiv 2505.16932). They end nearer to 1.
/// deepseek: simple, but the last two steps draw what is near 1 to 1.
enum class NewtonSchulz : std::uint8_t { simple, polar_express, deepseek };
inline constexpr std::array<std::string_view, 3> newton_schulz_names = {"simple", "polar_express", "deepseek"};

/// The polynomial of step `step` of `steps`, counted from 0.
constexpr NewtonSchulzStep newton_schulz_step(NewtonSchulz which, int step, int steps) {
  constexpr NewtonSchulzStep simple{3.4445f, -4.7750f, 2.0315f}, near_one{2.0f, -1.5f, 0.5f};
  constexpr auto polar = std::to_array<NewtonSchulzStep>({{8.2051f, -22.9019f, 16.4607f},
                                                          {4.0664f, -2.8612f, 0.5184f},
                                                          {3.9096f, -2.8234f, 0.5250f},
                                                          {3.2856f, -2.4153f, 0.4853f},
                                                          {2.2779f, -1.6198f, 0.3985f},
                                                          {1.8726f, -1.2307f, 0.3585f},
                                                          {1.8564f, -1.2132f, 0.3568f},
                                                          {1.875f, -1.25f, 0.375f}});
  if (which == NewtonSchulz::polar_express)
    return polar[static_cast<std::size_t>(step) < polar.size() ? static_cast<std::size_t>(step) : polar.size() - 1];
  return which == NewtonSchulz::deepseek && step >= steps - 2 ? near_one : simple;
}

/// How a rule that sees the matrix turns the momentum into a direction.
struct Orthogonalization {
  NewtonSchulz polynomial = NewtonSchulz::simple;
  int steps = 5;
  bool nesterov = true;
  std::int64_t blocks = 1;      ///< the matrix is so many of equal rows, one below the other
  DType compute = DType::bf16;  ///< of the products' operands: bf16 or f32. Sums are f32
};

/// FLOPs of the products for a matrix of rows x cols: s = the smaller side, l = the larger one, of each block.
constexpr double orthogonalize_flops(const Orthogonalization& how, std::int64_t rows, std::int64_t cols) {
  const double height = static_cast<double>(rows) / static_cast<double>(how.blocks), width = static_cast<double>(cols);
  const double s = height < width ? height : width, l = height < width ? width : height;
  return static_cast<double>(how.blocks) * how.steps * (4 * s * s * l + 2 * s * s * s);
}

/// Those of sgdm, whose momentum is the same: options.beta1 is mu. options.direction_scale is
/// scale sqrt(max(rows, cols)).
inline RuleConstants muon_constants(const RuleOptions& options, long long t) {
  RuleConstants constants = sgdm_constants(options, t);
  constants.step_size = static_cast<float>(options.lr * options.direction_scale);
  return constants;
}

/// m is updated; returns u, which is orthogonalized.
BITTERN_HD float muon_momentum(float& m, float g, bool nesterov, const RuleConstants& c) {
  const float increment = c.one_minus_beta1 * g;
  m = c.beta1 * m + increment;
  return nesterov ? increment + c.beta1 * m : m;
}

/// x is the element's direction.
BITTERN_HD void muon(float& w, float x, const RuleConstants& c) {
  w = decayed(w, c.step_size * x, c);
}

}  // namespace bittern
