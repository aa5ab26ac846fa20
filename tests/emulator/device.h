// CUDA's vocabulary of the device for an ordinary C++ compiler: what a kernel says is compiled against this and runs on the
// engine. NVIDIA's headers give the types; without nvcc they define __global__, __device__ and their like as nothing.
// What is missing here is added when a kernel first needs it.
#pragma once

#include <cuda_runtime.h>

#include <bit>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <type_traits>

#include "emulator/engine.h"

// All shared memory is dynamic (gpu::shared_memory): only then each block has memory of its own that is poisoned first.
#undef __shared__
#define __shared__ static_assert(false, "take shared memory by gpu::shared_memory");
#undef __launch_bounds__
#define __launch_bounds__(...)
#undef __grid_constant__
#define __grid_constant__

#define threadIdx (::emulator::self->threadIdx)
#define blockIdx (::emulator::self->blockIdx)
#define blockDim (::emulator::shape.block)
#define gridDim (::emulator::shape.grid)
inline constexpr int warpSize = 32;

// ---- waiting for one another
inline void __syncthreads(emulator::Line at = emulator::Line::here()) {
  emulator::barrier("__syncthreads", at);
}
inline void __syncwarp(unsigned mask = ~0u, emulator::Line at = emulator::Line::here()) {
  emulator::collective<int>(
      "__syncwarp", mask, 0, [](auto, auto) {}, at);
}
inline void __threadfence() {}
inline void __threadfence_block() {}
[[noreturn]] inline void __trap(emulator::Line at = emulator::Line::here()) {
  emulator::fail(at, "__trap");
}

// ---- what the lanes of a warp do together
namespace emulator {

/// Every lane gets the value of the lane that it names.
template <class T>
T shuffle(const char* what, unsigned mask, T value, int source, Line at) {
  static_assert(sizeof(T) <= 8);
  struct In {
    T value;
    int source;
  };
  return collective<T>(
      what, mask, In{value, source},
      [&](const In* const* in, T* const* out) {
        for (int lane = 0; lane < 32; ++lane) {
          if (in[lane] == nullptr) continue;
          const In* const from = in[in[lane]->source];
          if (from == nullptr)
            fail(at, "%s: lane %d reads lane %d, which does not take part", what, lane, in[lane]->source);
          *out[lane] = from->value;
        }
      },
      at);
}

/// All lanes get one value, made of the values of all.
template <class T, class F>
auto together(const char* what, unsigned mask, T value, F fold, Line at) {
  using R = decltype(fold(static_cast<const T* const*>(nullptr)));
  return collective<R>(
      what, mask, value,
      [&](const T* const* in, R* const* out) {
        const R result = fold(in);
        for (int lane = 0; lane < 32; ++lane)
          if (in[lane] != nullptr) *out[lane] = result;
      },
      at);
}

template <class T, class Op>
T reduce(const char* what, unsigned mask, T value, Op op, Line at) {
  static_assert(std::is_integral_v<T> && sizeof(T) == 4, "CUDA reduces 32-bit integers only");
  return together(
      what, mask, value,
      [&](const T* const* in) {
        bool first = true;
        T result{};
        for (int lane = 0; lane < 32; ++lane) {
          if (in[lane] == nullptr) continue;
          result = first ? *in[lane] : op(result, *in[lane]);
          first = false;
        }
        return result;
      },
      at);
}

inline int lane() {
  return static_cast<int>(self->lane);
}

}  // namespace emulator

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, emulator::Line at = emulator::Line::here()) {
  return emulator::shuffle("__shfl_sync", mask, value, (emulator::lane() & ~(width - 1)) + (source & (width - 1)), at);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, emulator::Line at = emulator::Line::here()) {
  const int lane = emulator::lane(), source = lane ^ bits;
  return emulator::shuffle("__shfl_xor_sync", mask, value, source / width > lane / width ? lane : source, at);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, emulator::Line at = emulator::Line::here()) {
  const int lane = emulator::lane(), source = lane + static_cast<int>(delta);
  return emulator::shuffle("__shfl_down_sync", mask, value, source / width != lane / width ? lane : source, at);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, emulator::Line at = emulator::Line::here()) {
  const int lane = emulator::lane(), source = lane - static_cast<int>(delta);
  return emulator::shuffle("__shfl_up_sync", mask, value, source < lane / width * width ? lane : source, at);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, emulator::Line at = emulator::Line::here()) {
  return emulator::together(
      "__ballot_sync", mask, predicate,
      [](const int* const* in) {
        unsigned bits = 0;
        for (int lane = 0; lane < 32; ++lane)
          bits |= static_cast<unsigned>(in[lane] != nullptr && *in[lane] != 0) << lane;
        return bits;
      },
      at);
}
inline int __any_sync(unsigned mask, int predicate, emulator::Line at = emulator::Line::here()) {
  return __ballot_sync(mask, predicate, at) != 0;
}
inline int __all_sync(unsigned mask, int predicate, emulator::Line at = emulator::Line::here()) {
  return __ballot_sync(mask, predicate == 0, at) == 0;
}
template <class T>
T __reduce_add_sync(unsigned mask, T value, emulator::Line at = emulator::Line::here()) {
  return emulator::reduce(
      "__reduce_add_sync", mask, value, [](T a, T b) { return static_cast<T>(a + b); }, at);
}
template <class T>
T __reduce_max_sync(unsigned mask, T value, emulator::Line at = emulator::Line::here()) {
  return emulator::reduce(
      "__reduce_max_sync", mask, value, [](T a, T b) { return a > b ? a : b; }, at);
}
template <class T>
T __reduce_min_sync(unsigned mask, T value, emulator::Line at = emulator::Line::here()) {
  return emulator::reduce(
      "__reduce_min_sync", mask, value, [](T a, T b) { return a < b ? a : b; }, at);
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned value, emulator::Line at = emulator::Line::here()) {
  return emulator::reduce(
      "__reduce_or_sync", mask, value, [](unsigned a, unsigned b) { return a | b; }, at);
}

// ---- atomics. Of integers alone: the order of additions of floats would show in the bits.
namespace emulator {
template <class T, class F>
T atomic_update(T* at, F change) {
  static_assert(std::is_integral_v<T> && (sizeof(T) == 4 || sizeof(T) == 8), "atomics are for integers");
  const T old = *at;
  *at = change(old);
  return old;
}
}  // namespace emulator
template <class T>
T atomicAdd(T* at, std::type_identity_t<T> value) {
  return emulator::atomic_update(at, [=](T old) { return static_cast<T>(old + value); });
}
template <class T>
T atomicMax(T* at, std::type_identity_t<T> value) {
  return emulator::atomic_update(at, [=](T old) { return old < value ? value : old; });
}
template <class T>
T atomicMin(T* at, std::type_identity_t<T> value) {
  return emulator::atomic_update(at, [=](T old) { return value < old ? value : old; });
}
template <class T>
T atomicOr(T* at, std::type_identity_t<T> value) {
  return emulator::atomic_update(at, [=](T old) { return static_cast<T>(old | value); });
}
template <class T>
T atomicExch(T* at, std::type_identity_t<T> value) {
  return emulator::atomic_update(at, [=](T) { return value; });
}
template <class T>
T atomicCAS(T* at, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return emulator::atomic_update(at, [=](T old) { return old == expected ? value : old; });
}

// ---- loads and stores by another cache policy
template <class T>
T __ldg(const T* from) {
  return *from;
}
template <class T>
T __ldcs(const T* from) {
  return *from;
}
template <class T>
T __ldcg(const T* from) {
  return *from;
}
template <class T>
void __stcs(T* to, std::type_identity_t<T> value) {
  *to = value;
}

// ---- bits
inline unsigned __float_as_uint(float x) {
  return std::bit_cast<unsigned>(x);
}
inline int __float_as_int(float x) {
  return std::bit_cast<int>(x);
}
inline float __uint_as_float(unsigned x) {
  return std::bit_cast<float>(x);
}
inline float __int_as_float(int x) {
  return std::bit_cast<float>(x);
}
inline int __popc(unsigned x) {
  return std::popcount(x);
}
inline int __clz(int x) {
  return std::countl_zero(static_cast<unsigned>(x));
}
inline int __ffs(int x) {
  return x != 0 ? std::countr_zero(static_cast<unsigned>(x)) + 1 : 0;
}
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(static_cast<std::uint64_t>(a) * b >> 32);
}
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  const std::uint64_t bytes = static_cast<std::uint64_t>(y) << 32 | x;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) result |= static_cast<unsigned>(bytes >> 8 * (selector >> 4 * i & 7) & 0xff) << 8 * i;
  return result;
}

// ---- arithmetic. What a GPU approximates is exact here.
inline float rsqrtf(float x) {
  return 1.0f / std::sqrt(x);
}
inline float __expf(float x) {
  return std::exp(x);
}
inline float __logf(float x) {
  return std::log(x);
}
inline float __fdividef(float a, float b) {
  return a / b;
}
inline float __frcp_rn(float x) {
  return 1.0f / x;
}
inline float __fsqrt_rn(float x) {
  return std::sqrt(x);
}
inline float __fdiv_rn(float a, float b) {
  return a / b;
}
inline float __fmaf_rn(float a, float b, float c) {
  return std::fma(a, b, c);
}
inline float __fadd_rn(float a, float b) {
  return a + b;
}
inline float __fmul_rn(float a, float b) {
  return a * b;
}
template <std::integral A, std::integral B>
constexpr std::common_type_t<A, B> min(A a, B b) {
  const std::common_type_t<A, B> x = a, y = b;
  return y < x ? y : x;
}
template <std::integral A, std::integral B>
constexpr std::common_type_t<A, B> max(A a, B b) {
  const std::common_type_t<A, B> x = a, y = b;
  return x < y ? y : x;
}
