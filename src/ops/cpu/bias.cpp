// bias_backward: dbias (O) f32 += the sum over rows of dy (N,O) f32|bf16, in row_parts. (Forward is linear's epilogue.)
//   ACCUMULATES dbias. Reads dy: memory-bound.
#include <algorithm>

#include "ops/cpu/backend.h"
#include "ops/cpu/machine/elements.h"
#include "ops/cpu/machine/row_parts.h"

namespace bittern::cpu {
namespace {

template <typename T>
inline void add_row(float* sum, const T* row, std::int64_t O) {
#pragma omp simd
  for (std::int64_t i = 0; i < O; ++i) sum[i] += to_float(row[i]);
}

template <typename T>
void launch(float* dbias, const Tensor& dy, float* partial) {
  const std::int64_t N = dy.rows(), O = dy.cols(), parts = row_parts(N);
  parallel_for(parts, [&](std::int64_t part) {
    float* sum = partial + part * O;
    std::fill_n(sum, O, 0.0f);
    simd([&] {
      for (std::int64_t r = part_begin(N, parts, part); r < part_begin(N, parts, part + 1); ++r)
        add_row(sum, row_of<T>(dy, r), O);
    });
  });
  add_parts(dbias, partial, parts, O);
}

}  // namespace

std::int64_t scratch_for(const BiasBackward& args) {
  return row_parts(args.dy.rows()) * args.dy.cols() * size_of(DType::f32);
}

void CpuBackend::do_bias_backward(const BiasBackward& args) {
  auto* const partial = static_cast<float*>(scratch(args));
  with_act(args.dy.dtype, [&](auto t) { launch<decltype(t)>(args.dbias.as<float>(), args.dy, partial); });
}

}  // namespace bittern::cpu
