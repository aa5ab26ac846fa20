// Measures the rate of multiply-adds and the memory bandwidth of this machine.
#include "ops/cpu/machine/machine_peak.h"
#include "ops/cpu/machine/intrinsics.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "bittern/error.h"
#include "ops/cpu/machine/amx.h"
#include "ops/cpu/machine/cpu_features.h"
#include "ops/cpu/machine/parallel.h"
#include "ops/cpu/machine/simd.h"

namespace bittern::cpu {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Twelve independent accumulators cover the latency of every CPU of today (VDPBF16PS: 6 cycles, 2 a cycle). The
// compiler can neither drop nor reorder the instructions. Each loop returns its floating-point operations.
constexpr std::int64_t accumulators = 12;

#if defined(__x86_64__)
#define BITTERN_TWELVE(instruction)                                                                              \
  asm volatile(instruction " %12,%12,%0\n" instruction " %12,%12,%1\n" instruction " %12,%12,%2\n" instruction   \
                           " %12,%12,%3\n" instruction " %12,%12,%4\n" instruction " %12,%12,%5\n" instruction   \
                           " %12,%12,%6\n" instruction " %12,%12,%7\n" instruction " %12,%12,%8\n" instruction   \
                           " %12,%12,%9\n" instruction " %12,%12,%10\n" instruction " %12,%12,%11\n"             \
               : "+v"(x[0]), "+v"(x[1]), "+v"(x[2]), "+v"(x[3]), "+v"(x[4]), "+v"(x[5]), "+v"(x[6]), "+v"(x[7]), \
                 "+v"(x[8]), "+v"(x[9]), "+v"(x[10]), "+v"(x[11])                                                \
               : "v"(zero))
[[gnu::target("avx2,fma")]] std::int64_t fma_256(std::int64_t rounds) {
  __m256 x[accumulators] = {};
  const __m256 zero = _mm256_setzero_ps();
  for (std::int64_t i = 0; i < rounds; ++i) BITTERN_TWELVE("vfmadd231ps");
  return rounds * accumulators * 8 * 2;
}
[[gnu::target("avx512f,avx512vl")]] std::int64_t fma_512(std::int64_t rounds) {
  __m512 x[accumulators] = {};
  const __m512 zero = _mm512_setzero_ps();
  for (std::int64_t i = 0; i < rounds; ++i) BITTERN_TWELVE("vfmadd231ps");
  return rounds * accumulators * 16 * 2;
}
[[gnu::target("avx512f,avx512vl,avx512bf16")]] std::int64_t dot_bf16(std::int64_t rounds) {
  __m512 x[accumulators] = {};
  const __m512 zero = _mm512_setzero_ps();
  for (std::int64_t i = 0; i < rounds; ++i) BITTERN_TWELVE("vdpbf16ps");
  return rounds * accumulators * 32 * 2;
}
[[gnu::target("avx512f,avx512vl,avx512vnni")]] std::int64_t dot_i8_512(std::int64_t rounds) {
  __m512i x[accumulators] = {};
  const __m512i zero = _mm512_setzero_si512();
  for (std::int64_t i = 0; i < rounds; ++i) BITTERN_TWELVE("vpdpbusd");
  return rounds * accumulators * 64 * 2;
}
[[gnu::target("avx2,avxvnni")]] std::int64_t dot_i8_256(std::int64_t rounds) {
  __m256i x[accumulators] = {};
  const __m256i zero = _mm256_setzero_si256();
  for (std::int64_t i = 0; i < rounds; ++i) BITTERN_TWELVE("%{vex%} vpdpbusd");
  return rounds * accumulators * 32 * 2;
}
#undef BITTERN_TWELVE

/// Products of pairs of 16 bits, then their sum.
#define BITTERN_WIDENED(Vector, zero)                                                             \
  Vector x[accumulators] = {};                                                                    \
  for (std::int64_t i = 0; i < rounds; ++i)                                                       \
    for (Vector & sum : x) {                                                                      \
      Vector product;                                                                             \
      asm volatile("vpmaddwd %2,%2,%1\nvpaddd %1,%0,%0" : "+v"(sum), "=&v"(product) : "v"(zero)); \
    }
[[gnu::target("avx512f,avx512bw")]] std::int64_t widened_512(std::int64_t rounds) {
  BITTERN_WIDENED(__m512i, _mm512_setzero_si512())
  return rounds * accumulators * 32 * 2;
}
[[gnu::target("avx2")]] std::int64_t widened_256(std::int64_t rounds) {
  BITTERN_WIDENED(__m256i, _mm256_setzero_si256())
  return rounds * accumulators * 16 * 2;
}
#undef BITTERN_WIDENED
#if defined(BITTERN_HAS_AMX)
/// The four accumulators that gemm has; 16 cycles each, so a round covers the latency of 52.
[[gnu::target("amx-tile,amx-bf16")]] std::int64_t tiles_bf16(std::int64_t rounds) {
  amx::configure();
  _tile_zero(4);
  _tile_zero(6);
  _tile_zero(5);
  _tile_zero(7);
  rounds /= 8;  // as long as the other loops
  for (std::int64_t i = 0; i < rounds; ++i) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  amx::release();
  return rounds * 4 * 16 * 16 * 32 * 2;
}
[[gnu::target("amx-tile,amx-int8")]] std::int64_t tiles_i8(std::int64_t rounds) {
  amx::configure();
  _tile_zero(4);
  _tile_zero(6);
  _tile_zero(5);
  _tile_zero(7);
  rounds /= 8;
  for (std::int64_t i = 0; i < rounds; ++i) {
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(1, 4, 7);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
  }
  amx::release();
  return rounds * 4 * 16 * 16 * 64 * 2;
}
#endif
#endif

std::int64_t multiply_add_128(std::int64_t rounds) {
  typedef float Vector [[gnu::vector_size(16)]];
  Vector x[8] = {};
  Vector y = {1.0f, 1.0f, 1.0f, 1.0f};
  for (std::int64_t i = 0; i < rounds; ++i) {
#if defined(__x86_64__)
    asm volatile("" : "+x"(y));
#endif
    for (Vector& sum : x) sum += y * y;
  }
  Vector total = {};
  for (const Vector& sum : x) total += sum;
  volatile float kept = total[0];
  (void)kept;
  return rounds * 8 * 4 * 2;
}

using Loop = std::int64_t (*)(std::int64_t rounds);

/// The loops of an instruction set. In plain C++ the f32 loop stands for the others.
struct PeakLoops {
  Loop f32, bf16;
  std::array<Loop, 3> int8;  ///< [Int8Dot]; null: that instruction set never has it
};

constexpr PeakLoops peak_loops[] = {
    // in the order of Isa
    {multiply_add_128, multiply_add_128, {multiply_add_128, nullptr, nullptr}},
#if defined(__x86_64__)
    {fma_256, fma_256, {widened_256, dot_i8_256, nullptr}},
    {fma_512, fma_512, {widened_512, dot_i8_512, nullptr}},
    {fma_512, dot_bf16, {widened_512, dot_i8_512, nullptr}},
#if defined(BITTERN_HAS_AMX)
    {fma_512, tiles_bf16, {widened_512, dot_i8_512, tiles_i8}},
#endif
#endif
};

Loop loop_of(DType compute) {
  const PeakLoops& loops = peak_loops[static_cast<std::size_t>(isa())];
  if (compute == DType::i8) return loops.int8[static_cast<std::size_t>(int8_dot())];
  return compute == DType::bf16 ? loops.bf16 : loops.f32;
}

/// One pass over the arrays: the sum of what is read goes to each array that is written. Four vectors at a time, so
/// that the sums stay in registers and all arrays stream side by side. `end - begin` is a multiple of the block.
constexpr std::int64_t stream_block = 64;
float stream(const std::vector<float*>& read, const std::vector<float*>& written, std::int64_t begin,
             std::int64_t end) {
  float kept = 0.0f;
  simd([&] {
    float totals[stream_block] = {};
    for (std::int64_t i = begin; i < end; i += stream_block) {
      float sums[stream_block] = {};
      for (const float* x : read)
        for (std::int64_t j = 0; j < stream_block; ++j) sums[j] += x[i + j];
      for (float* y : written)
        for (std::int64_t j = 0; j < stream_block; ++j) y[i + j] = sums[j];
      if (written.empty())  // or nobody would need what was read
        for (std::int64_t j = 0; j < stream_block; ++j) totals[j] += sums[j];
    }
    for (const float x : totals) kept += x;
  });
  return kept;
}

}  // namespace

double measured_peak_gflops(DType compute) {
  const Loop loop = loop_of(compute);
  const int threads = thread_count();
  double best = 0.0;
  for (int run = 0; run < 8; ++run) {
    // Every thread times itself, so that a thread that wakes late does not count; the parts are as many as the threads.
    std::vector<double> rate(static_cast<std::size_t>(threads), 0.0);
    parallel_for(threads, [&](std::int64_t part) {
      const double start = now();
      const auto operations = static_cast<double>(loop(20000));
      rate[static_cast<std::size_t>(part)] = operations / (now() - start) * 1e-9;
    });
    double sum = 0.0;
    for (const double x : rate) sum += x;
    best = std::max(best, sum);
  }
  return best;
}

double measured_stream_gbs(int reads, int writes) {
  check(reads >= 0 && writes >= 0 && reads + writes > 0, "stream: {} reads and {} writes; expected at least one", reads,
        writes);
  constexpr std::int64_t stream_parts = 64;
  const int arrays = reads + writes;
  const std::int64_t size = (192 << 20) / arrays / 4 / (stream_parts * stream_block) * (stream_parts * stream_block);
  std::vector<std::vector<float>> storage(static_cast<std::size_t>(arrays),
                                          std::vector<float>(static_cast<std::size_t>(size), 1.0f));
  std::vector<float*> read, written;
  for (int i = 0; i < arrays; ++i) (i < reads ? read : written).push_back(storage[static_cast<std::size_t>(i)].data());
  double best = 0.0;
  for (int pass = 0; pass < 5; ++pass) {
    std::vector<float> kept(static_cast<std::size_t>(stream_parts), 0.0f);
    const double start = now();
    parallel_for(stream_parts, [&](std::int64_t part) {
      kept[static_cast<std::size_t>(part)] =
          stream(read, written, size / stream_parts * part, size / stream_parts * (part + 1));
    });
    best = std::max(best, static_cast<double>(size * 4 * arrays) / (now() - start) * 1e-9);
  }
  return best;
}

}  // namespace bittern::cpu
