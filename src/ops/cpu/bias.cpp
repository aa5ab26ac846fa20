// bias_backward: dbias (O) f32 += the sum over rows of dy (N,O) f32|bf16, in row_parts. (Forward is linear's epilogue.)
//   ACCUMULATES dbias. Reads dy: memory-bound.
#include <algorithm>

#include "bittern/profile.h"
#include "ops/cpu/backend.h"
#include "ops/cpu/checked.h"
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

void CpuBackend::bias_backward(const Tensor& dbias, const Tensor& dy) {
  constexpr std::string_view op = "bias_backward";
  Checked{op, "dy", dy}.act().matrix(dy.rows(), dy.cols());
  Checked{op, "dbias", dbias}.of(DType::f32).vector(dy.cols());
  const OpScope scope(op, bytes_of(dy));
  auto* partial = static_cast<float*>(scratch(op, row_parts(dy.rows()) * dy.cols() * size_of(DType::f32)));
  with_act(dy.dtype, [&](auto t) { launch<decltype(t)>(dbias.as<float>(), dy, partial); });
}

}  // namespace bittern::cpu
