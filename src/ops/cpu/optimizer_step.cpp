// optimizer_step: one fused pass over one parameter, a panel at a time:
//   decode weight and states to fp32 (in place where they are f32, else into scratch that stays in L1) -> update rule
//   -> encode weight -> encode states
// Bytes per element, each read and written once: gradient 4 (read), weight, master and states 2 * their size.
// Element-wise in every step, so the bits depend neither on panels nor on threads.
#include <algorithm>
#include <array>
#include <cstdint>

#include "bittern/optim/optimizer_step.h"
#include "bittern/profile.h"
#include "ops/cpu/backend.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/simd.h"

namespace bittern::cpu {
namespace {

constexpr std::int64_t panel_elements = 1024;                // 4 KiB of fp32 each for weight, m, v and random words
constexpr std::int64_t part_elements = 64 * panel_elements;  // what one thread takes at a time

/// Where fp32 values of a panel are: the storage itself, or scratch that decode filled.
float* decode(const Tensor& storage, std::int64_t first, std::int64_t count, float* scratch) {
  if (storage.dtype == DType::f32) return storage.as<float>() + first;
  const bf16* from = storage.as<bf16>() + first;
  for (std::int64_t i = 0; i < count; ++i) scratch[i] = to_float(from[i]);
  return scratch;
}

void encode_nearest(const Tensor& storage, std::int64_t first, std::int64_t count, const float* values) {
  if (storage.dtype == DType::f32) return;  // updated in place
  bf16* to = storage.as<bf16>() + first;
  for (std::int64_t i = 0; i < count; ++i) to[i] = to_bf16(values[i]);
}

void encode_stochastic(const Tensor& storage, std::int64_t first, std::int64_t count, const float* values,
                       const OptimizerStep& args) {
  std::array<std::uint32_t, panel_elements> random;
  for (std::int64_t i = 0; i < count; i += 4) {  // a panel starts at a multiple of 4, and the array has room for a tail
    const PhiloxBlock block = philox_block(philox_key(args.seed, Purpose::weight_rounding),
                                           static_cast<std::uint64_t>(first + i), args.step, args.tensor_id);
    for (std::int64_t k = 0; k < 4; ++k) random[static_cast<std::size_t>(i + k)] = block.word[k];
  }
  bf16* to = storage.as<bf16>() + first;
  for (std::int64_t i = 0; i < count; ++i) to[i] = to_bf16_stochastic(values[i], random[static_cast<std::size_t>(i)]);
}

void update_panel(const OptimizerStep& args, std::int64_t first, std::int64_t count) {
  alignas(64) std::array<float, panel_elements> w_scratch, m_scratch, v_scratch;
  const Tensor& updated = args.master ? args.master : args.weight;
  float* const w = decode(updated, first, count, w_scratch.data());
  float* const m = decode(args.m.codes, first, count, m_scratch.data());
  float* const v = decode(args.v.codes, first, count, v_scratch.data());
  const float* const g = args.gradient.as<float>() + first;
  const float clip = args.clip.as<float>()[1];
  const AdamwConstants constants = args.constants.adamw;
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) {
    float wi = w[i], mi = m[i], vi = v[i];
    adamw(wi, mi, vi, g[i] * clip, constants);
    w[i] = wi;
    m[i] = mi;
    v[i] = vi;
  }
  if (args.weight.dtype == DType::bf16 && args.codec.rounding == Rounding::stochastic)
    encode_stochastic(args.weight, first, count, w, args);
  else
    encode_nearest(args.weight, first, count, w);
  encode_nearest(args.m.codes, first, count, m);
  encode_nearest(args.v.codes, first, count, v);
}

}  // namespace

void CpuBackend::optimizer_step(const OptimizerStep& args) {
  const std::int64_t n = args.gradient.elements();
  const auto same_size = [&](const Tensor& x) { return x.elements() == n && x.contiguous(); };
  check(same_size(args.weight) && same_size(args.m.codes) && same_size(args.v.codes) &&
            (!args.master || same_size(args.master)),
        "optimizer_step: weight {}, moments {} and {}, gradient {} must have one shape", args.weight.shape.text(),
        args.m.codes.shape.text(), args.v.codes.shape.text(), args.gradient.shape.text());
  check(!args.master || args.weight.dtype == DType::bf16, "optimizer_step: a master weight goes with bf16 weights");
  const std::int64_t moved = 4 + 2 * (size_of(args.m.codes.dtype) + size_of(args.v.codes.dtype)) +
                             (args.master ? 8 + 2 : 2 * size_of(args.weight.dtype));
  const OpScope scope("optimizer_step", static_cast<double>(n * moved));
  parallel_for((n + part_elements - 1) / part_elements, [&](std::int64_t part) {
    const std::int64_t begin = part * part_elements, end = std::min(n, begin + part_elements);
    simd([&] {
      for (std::int64_t first = begin; first < end; first += panel_elements)
        update_panel(args, first, std::min(panel_elements, end - first));
    });
  });
}

}  // namespace bittern::cpu
