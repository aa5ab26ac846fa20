// The pass before the update of a rule that sees the matrix (muon.h): decode the first moment -> update it -> encode it;
// what is to be orthogonalized goes over the gradient, and becomes the direction there.
// Bytes per element: gradient 4 read and 4 written, the moment read and written once; then products (orthogonalize.h).
#include "ops/cpu/machine/simd.h"
#include "ops/cpu/optimizer/optimizer_pieces.h"
#include "ops/cpu/optimizer/orthogonalize.h"

namespace bittern::cpu {

void find_direction(Step& step) {
  const Orthogonalization& how = step.args.orthogonalization;
  StepSums* const sums = step.args.statistics ? step.sums : nullptr;
  for_pieces(step, [&](std::int64_t, const RowPiece& piece, const PieceScratch& scratch, std::int64_t part) {
    float *const m = values_of_moment(step.m, step.has_m, piece, scratch.m), *const u = step.over_gradient(piece);
    simd([=, &step, n = piece.count, nesterov = how.nesterov, clip = step.clip] {
      const RuleConstants c = step.constants;
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) {
        float mi = m[i];
        u[i] = muon_momentum(mi, u[i] * clip, nesterov, c);
        m[i] = mi;
      }
    });
    store_moment(step, step.m, step.has_m, piece, m);
    if (sums != nullptr) {
      load_moment(step.v, step.has_v, piece, scratch.v);
      add_moment_sums(step, piece, m, scratch.v, scratch.error, sums[part]);
    }
  });
  step.has_m = false;
  orthogonalize(step.args.gradient.as<float>(), step.rows, step.cols, how, step.matrix_scratch, step.gemm_workspace);
}

}  // namespace bittern::cpu
