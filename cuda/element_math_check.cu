// element_math_check: on a real GPU, does the shared element math make the bits that it makes on the CPU, and what does
// it cost? What a step encodes, rounds and updates with (include/bittern/quant and the update rules), each line of the
// table, is run over the same arguments by both compilers; a single different bit fails the check. Then the same
// functions are timed alone, in registers, and the whole ECO step of E4M3 rows (arXiv 2601.22101, algorithm 3) against
// the bandwidth of a copy, both in this run.
//   element_math_check      prints a table; exit 0 if all bits agree, 1 if not, 2 if there is no usable GPU
// Built and run by scripts/gpu_check, which needs nvcc alone. The GPU must be of sm_80 or newer (__reduce_max_sync).
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "bittern/optim/update_rule.h"
#include "bittern/quant/bf16.h"
#include "bittern/quant/codebook.h"
#include "bittern/quant/dynamic8.h"
#include "bittern/quant/fp8.h"
#include "bittern/quant/integer.h"
#include "bittern/quant/log_quantizer.h"
#include "bittern/quant/packing.h"
#include "bittern/quant/philox.h"
#include "bittern/quant/scales.h"

namespace {

using namespace bittern;

void succeed(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::printf("%s: %s\n", what, cudaGetErrorString(error));
  std::exit(2);
}

template <typename T>
T* on_device(std::int64_t count) {
  void* memory = nullptr;
  succeed(cudaMalloc(&memory, static_cast<std::size_t>(count) * sizeof(T)), "allocating on the GPU");
  return static_cast<T*>(memory);
}
template <typename T>
T* on_device(const std::vector<T>& values) {
  T* memory = on_device<T>(static_cast<std::int64_t>(values.size()));
  succeed(cudaMemcpy(memory, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice), "copying to the GPU");
  return memory;
}
template <typename T>
std::vector<T> on_host(const T* memory, std::int64_t count) {
  std::vector<T> values(static_cast<std::size_t>(count));
  succeed(cudaMemcpy(values.data(), memory, values.size() * sizeof(T), cudaMemcpyDeviceToHost), "copying from the GPU");
  return values;
}

/// Milliseconds of one call, the median of eleven after two that do not count.
template <typename F>
double milliseconds(F&& call) {
  cudaEvent_t begin, end;
  succeed(cudaEventCreate(&begin), "making an event");
  succeed(cudaEventCreate(&end), "making an event");
  std::vector<float> times;
  for (int run = 0; run < 13; ++run) {
    succeed(cudaEventRecord(begin), "recording an event");
    call();
    succeed(cudaEventRecord(end), "recording an event");
    succeed(cudaEventSynchronize(end), "running a kernel");
    float time = 0;
    succeed(cudaEventElapsedTime(&time, begin, end), "reading the time");
    if (run >= 2) times.push_back(time);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

// ---- Arguments. All are functions of an index, so that both sides make the same ones.

BITTERN_HD std::uint32_t word(std::uint64_t i, std::uint32_t stream) {
  return philox(PhiloxKey{12345u, 6u}, i, 0, stream);
}
/// Any float at all: first every upper half with three lower halves (ties of bf16, infinities, NaN, subnormals among
/// them), then random bits.
BITTERN_HD float any_float(std::uint64_t i) {
  constexpr std::uint32_t low[] = {0u, 0x8000u, 0x7fffu};
  if (i < 3u << 16) return bits_float(static_cast<std::uint32_t>(i / 3) << 16 | low[i % 3]);
  return bits_float(word(i, 0));
}
/// Of the size of weights and states: +-2^-20 .. 2^4.
BITTERN_HD float moderate(std::uint64_t i, std::uint32_t stream) {
  const std::uint32_t w = word(i, stream);
  return bits_float((w & 0x807fffffu) | (107u + (w >> 23 & 0xffu) % 24u) << 23);
}
BITTERN_HD float positive(std::uint64_t i, std::uint32_t stream) {
  return bits_float(float_bits(moderate(i, stream)) & 0x7fffffffu);
}

/// What a function returns, as bits; NaN is one value, since its payload is nobody's business.
struct Words {
  std::uint32_t a = 0, b = 0, c = 0;
};
BITTERN_HD std::uint32_t bits(float x) {
  return x != x ? 0x7fc00000u : float_bits(x);
}

// ---- The functions. Tables come as pointers: into the host's memory or the GPU's.

struct Nothing {  // what making the arguments costs
  BITTERN_HD Words operator()(std::uint64_t i) const { return {bits(moderate(i, 0))}; }
};
struct Bf16 {
  BITTERN_HD Words operator()(std::uint64_t i) const {
    const float x = any_float(i);
    return {to_bf16(x).bits, to_bf16_stochastic(x, word(i, 1)).bits};
  }
};
struct E4m3 {
  BITTERN_HD Words operator()(std::uint64_t i) const {
    const float x = i % 2 == 0 ? any_float(i / 2) : moderate(i, 2);
    const std::uint8_t nearest = to_e4m3(x), stochastic = to_e4m3_stochastic(x, word(i, 1));
    return {nearest, stochastic, bits(e4m3_to_float(stochastic))};
  }
};
struct E5m2 {
  BITTERN_HD Words operator()(std::uint64_t i) const {
    const float x = i % 2 == 0 ? any_float(i / 2) : moderate(i, 2);
    const std::uint8_t nearest = to_e5m2(x), stochastic = to_e5m2_stochastic(x, word(i, 1));
    return {nearest, stochastic, bits(e5m2_to_float(stochastic))};
  }
};
struct Integer {
  int width;
  BITTERN_HD Words operator()(std::uint64_t i) const {
    const std::int32_t hi = (1 << (width - 1)) - 1, lo = -hi - 1;
    const float t = i % 2 == 0 ? any_float(i / 2) : moderate(i, 2) * 8.0f;
    const std::uint8_t code = code_of_level(round_stochastic_to_grid(t, lo, hi, word(i, 1)), width);
    return {code_of_level(round_nearest_even_to_grid(t, lo, hi), width), code,
            static_cast<std::uint32_t>(level_of(code, width))};
  }
};
struct Scales {
  BITTERN_HD Words operator()(std::uint64_t i) const {
    const float x = bits_float(float_bits(any_float(i)) & 0x7fffffffu), scale = scale_from_absmax(x, largest_e4m3);
    return {bits(scale), bits(inverse_scale(scale)),
            bits(scale_from_absmean(x, 1.0f)) ^ bits(rank1_scale(x, block_scale(x)))};
  }
};
struct Polynomials {
  BITTERN_HD Words operator()(std::uint64_t i) const {
    return {bits(log2_f32(positive(i, 0))), bits(exp2_f32(moderate(i, 1))), bits(exp2_f32(any_float(i)))};
  }
};
struct Codebook4 {
  CodebookTable<4> table;
  BITTERN_HD Words operator()(std::uint64_t i) const {
    const float x = i % 2 == 0 ? any_float(i / 2) : moderate(i, 2);
    const std::int32_t nearest = nearest_code<4>(x, table.threshold);
    const std::int32_t code = stochastic_code<4>(moderate(i, 2), table.level, table.levels, word(i, 1));
    return {static_cast<std::uint32_t>(nearest), static_cast<std::uint32_t>(code), bits(table.level[code])};
  }
};
struct DynamicTable {
  const Dynamic8* table;
  const float* level;
  BITTERN_HD Words operator()(std::uint64_t i) const {
    const float x = moderate(i, 2);
    const std::int32_t nearest = nearest_code(i % 2 == 0 ? any_float(i / 2) : x, *table);
    return {static_cast<std::uint32_t>(nearest),
            static_cast<std::uint32_t>(stochastic_code(x, nearest_code(x, *table), level, 256, word(i, 1)))};
  }
};
struct LogQuantizer {  // a block of 128, as SOLO's
  int width;
  BITTERN_HD Words operator()(std::uint64_t i) const {
    float x[128];
    float largest = 0;
    for (std::uint32_t k = 0; k < 128; ++k) {
      x[k] = positive(i * 128 + k, 3);
      largest = x[k] > largest ? x[k] : largest;
    }
    const LogBlock block = log_block(largest, quantile(x, 128, 0.1f), width);
    const LogEncoder encoder = log_encoder(block, width);
    Words hash{bits(block.delta), bits(block.alpha)};
    for (std::uint32_t k = 0; k < 128; ++k) {
      const auto nearest = static_cast<std::uint32_t>(log_nearest(x[k], encoder));
      hash.c = hash.c * 31u + nearest * 16u +
               static_cast<std::uint32_t>(log_stochastic(x[k], encoder, word(i * 128 + k, 1)));
    }
    return hash;
  }
};
struct Packing {
  int width;
  BITTERN_HD Words operator()(std::uint64_t i) const {
    std::uint8_t codes[8], packed[8] = {}, back[8];
    for (std::uint32_t k = 0; k < 8; ++k)
      codes[k] = static_cast<std::uint8_t>(word(i * 8 + k, 4) & ((1u << width) - 1u));
    pack_codes(width, codes, 0, 8, packed);
    unpack_codes(width, packed, 0, 8, back);
    Words all;
    for (std::uint32_t k = 0; k < 8; ++k) {
      all.a = all.a * 31u + packed[k];
      all.b |= static_cast<std::uint32_t>(back[k] != codes[k]);
    }
    return all;
  }
};
struct Rule {
  UpdateRule rule;
  RuleConstants constants;
  BITTERN_HD Words operator()(std::uint64_t i) const {
    float w = moderate(i, 0), m = moderate(i, 1) * 0x1p-6f, v = positive(i, 2) * 0x1p-10f;
    const float g = moderate(i, 3) * 0x1p-6f;
    if (rule == UpdateRule::adamw) {
      adamw(w, m, v, g, constants);
      adamw_eco(m, v, w - e4m3_to_float(to_e4m3(w)), constants);
    } else if (rule == UpdateRule::sgdm) {
      sgdm(w, m, g, constants);
      sgdm_eco(m, w - e4m3_to_float(to_e4m3(w)), constants);
    } else {
      adafactor(w, m, v, g, constants);
      adafactor_eco(m, w - e4m3_to_float(to_e4m3(w)), constants);
    }
    return {bits(w), bits(m), bits(v)};
  }
};

// ---- Running them.

template <typename F>
__global__ void evaluate(F function, Words* result, std::int64_t n) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step)
    result[i] = function(static_cast<std::uint64_t>(i));
}
/// The work without the results; `never` is not known to the compiler.
template <typename F>
__global__ void spend(F function, Words* result, std::int64_t n, std::uint32_t never) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  Words all;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    const Words one = function(static_cast<std::uint64_t>(i));
    all.a ^= one.a ^ one.b ^ one.c;
  }
  if (all.a == never) *result = all;
}

int multiprocessors = 0;
bool all_agree = true;

template <typename F>
void check(const std::string& name, const F& host, const F& device, std::int64_t n, int elements = 1) {
  Words* result = on_device<Words>(n);
  const int blocks = multiprocessors * 16;
  evaluate<<<blocks, 256>>>(device, result, n);
  succeed(cudaGetLastError(), name.c_str());
  succeed(cudaDeviceSynchronize(), name.c_str());
  const std::vector<Words> got = on_host(result, n);
  std::int64_t different = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const Words expected = host(static_cast<std::uint64_t>(i)), found = got[static_cast<std::size_t>(i)];
    if (expected.a == found.a && expected.b == found.b && expected.c == found.c) continue;
    if (++different <= 3)
      std::printf("  %s, case %lld: CPU %08x %08x %08x, GPU %08x %08x %08x\n", name.c_str(), static_cast<long long>(i),
                  expected.a, expected.b, expected.c, found.a, found.b, found.c);
  }
  all_agree &= different == 0;
  const std::int64_t many = n * 16;
  const double time = milliseconds([&] { spend<<<blocks, 256>>>(device, result, many, 0xdeadbeefu); });
  std::printf("%-34s %12lld %10lld %12.2f\n", name.c_str(), static_cast<long long>(n * elements),
              static_cast<long long>(different), time * 1e9 / static_cast<double>(many * elements));
  std::fflush(stdout);
  cudaFree(result);
}

// ---- The ECO step of a matrix of E4M3 rows: what a fused kernel of this kind reaches. A block takes a row.

constexpr int threads = 256, per_thread = 8, columns = threads * per_thread;

struct Matrix {
  std::uint8_t* codes;  // (rows, columns)
  float* scales;        // (rows)
  float *m, *v;         // (rows, columns)
  const float* g;
};

/// One element before it is stored: its new value. m and v are updated.
BITTERN_HD float stepped(std::uint8_t code, float scale, float& m, float& v, float g, const RuleConstants& c) {
  float w = e4m3_to_float(code) * scale;
  adamw(w, m, v, g, c);
  return w;
}
/// The same, stored: m takes up the error.
BITTERN_HD std::uint8_t stored(float w, float scale, float& m, float v, std::uint32_t random, const RuleConstants& c) {
  const std::uint8_t code = to_e4m3_stochastic(w * inverse_scale(scale), random);
  adamw_eco(m, v, w - e4m3_to_float(code) * scale, c);
  return code;
}

__global__ void __launch_bounds__(threads)
    eco_rows(Matrix x, RuleConstants constants, PhiloxKey key, std::uint32_t step) {
  __shared__ std::uint32_t warp_largest[threads / 32];
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * columns + threadIdx.x * per_thread;
  alignas(16) std::uint8_t code[per_thread];
  alignas(16) float m[per_thread], v[per_thread], g[per_thread], w[per_thread];
  *reinterpret_cast<uint2*>(code) = *reinterpret_cast<const uint2*>(x.codes + first);
  for (int k = 0; k < per_thread; k += 4) {
    *reinterpret_cast<float4*>(m + k) = *reinterpret_cast<const float4*>(x.m + first + k);
    *reinterpret_cast<float4*>(v + k) = *reinterpret_cast<const float4*>(x.v + first + k);
    *reinterpret_cast<float4*>(g + k) = *reinterpret_cast<const float4*>(x.g + first + k);
  }
  const float scale = x.scales[blockIdx.x];
  std::uint32_t largest = 0;
  for (int k = 0; k < per_thread; ++k) {
    w[k] = stepped(code[k], scale, m[k], v[k], g[k], constants);
    largest = max(largest, magnitude_bits(w[k]));
  }
  largest = __reduce_max_sync(0xffffffffu, largest);
  if (threadIdx.x % 32 == 0) warp_largest[threadIdx.x / 32] = largest;
  __syncthreads();
  for (int warp = 0; warp < threads / 32; ++warp) largest = max(largest, warp_largest[warp]);
  const float new_scale = scale_from_absmax(bits_float(largest), largest_e4m3);
  for (int k = 0; k < per_thread; k += 4) {
    const PhiloxBlock random = philox_block(key, static_cast<std::uint64_t>(first + k), step, 7);
    for (int j = 0; j < 4; ++j)
      code[k + j] = stored(w[k + j], new_scale, m[k + j], v[k + j], random.word[j], constants);
  }
  *reinterpret_cast<uint2*>(x.codes + first) = *reinterpret_cast<const uint2*>(code);
  for (int k = 0; k < per_thread; k += 4) {
    *reinterpret_cast<float4*>(x.m + first + k) = *reinterpret_cast<const float4*>(m + k);
    *reinterpret_cast<float4*>(x.v + first + k) = *reinterpret_cast<const float4*>(v + k);
  }
  if (threadIdx.x == 0) x.scales[blockIdx.x] = new_scale;
}

__global__ void copy(float4* to, const float4* from, std::int64_t n) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step)
    to[i] = from[i];
}

void check_eco_rows(const RuleConstants& constants) {
  const std::int64_t checked = 512, timed = 131072, n = checked * columns;
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(n));
  std::vector<float> scales(static_cast<std::size_t>(checked)), m(codes.size()), v(codes.size()), g(codes.size());
  for (std::int64_t i = 0; i < n; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const auto index = static_cast<std::uint64_t>(i);
    codes[at] = to_e4m3(moderate(index, 0));
    m[at] = moderate(index, 1) * 0x1p-6f;
    v[at] = positive(index, 2) * 0x1p-10f;
    g[at] = moderate(index, 3) * 0x1p-6f;
  }
  for (std::size_t row = 0; row < scales.size(); ++row) scales[row] = positive(row, 5);

  const std::int64_t size = timed * columns;
  Matrix x{on_device<std::uint8_t>(size), on_device<float>(timed), on_device<float>(size), on_device<float>(size),
           nullptr};
  float* gradient = on_device<float>(size);
  x.g = gradient;
  // The timed matrix is the checked one over and over: never zeros, which are faster than data.
  for (std::int64_t row = 0; row < timed; row += checked) {
    const std::int64_t at = row * columns;
    succeed(cudaMemcpy(x.codes + at, codes.data(), codes.size(), cudaMemcpyHostToDevice), "copying codes");
    succeed(cudaMemcpy(x.scales + row, scales.data(), scales.size() * 4, cudaMemcpyHostToDevice), "copying scales");
    succeed(cudaMemcpy(x.m + at, m.data(), m.size() * 4, cudaMemcpyHostToDevice), "copying m");
    succeed(cudaMemcpy(x.v + at, v.data(), v.size() * 4, cudaMemcpyHostToDevice), "copying v");
    succeed(cudaMemcpy(gradient + at, g.data(), g.size() * 4, cudaMemcpyHostToDevice), "copying g");
  }
  const PhiloxKey key = philox_key(1, Purpose::weight_rounding);
  eco_rows<<<static_cast<unsigned>(timed), threads>>>(x, constants, key, 3);
  succeed(cudaDeviceSynchronize(), "the ECO step");
  const auto gpu_codes = on_host(x.codes, n);
  const auto gpu_m = on_host(x.m, n), gpu_v = on_host(x.v, n), gpu_scales = on_host(x.scales, checked);

  std::int64_t different = 0;
  for (std::int64_t row = 0; row < checked; ++row) {
    std::vector<float> w(columns);
    std::uint32_t largest = 0;
    for (int j = 0; j < columns; ++j) {
      const auto at = static_cast<std::size_t>(row * columns + j);
      w[static_cast<std::size_t>(j)] =
          stepped(codes[at], scales[static_cast<std::size_t>(row)], m[at], v[at], g[at], constants);
      largest = std::max(largest, magnitude_bits(w[static_cast<std::size_t>(j)]));
    }
    const float scale = scale_from_absmax(bits_float(largest), largest_e4m3);
    different += bits(scale) != bits(gpu_scales[static_cast<std::size_t>(row)]);
    for (int j = 0; j < columns; ++j) {
      const auto at = static_cast<std::size_t>(row * columns + j);
      const std::uint8_t code =
          stored(w[static_cast<std::size_t>(j)], scale, m[at], v[at], philox(key, at, 3, 7), constants);
      different += code != gpu_codes[at] || bits(m[at]) != bits(gpu_m[at]) || bits(v[at]) != bits(gpu_v[at]);
    }
  }
  all_agree &= different == 0;

  const double step_bytes = static_cast<double>(size) * (2 + 4 + 8 + 8) + static_cast<double>(timed) * 8;
  const double step_ms =
      milliseconds([&] { eco_rows<<<static_cast<unsigned>(timed), threads>>>(x, constants, key, 4); });
  const double copy_ms = milliseconds([&] {
    copy<<<static_cast<unsigned>(multiprocessors * 16), 512>>>(reinterpret_cast<float4*>(x.m),
                                                               reinterpret_cast<const float4*>(gradient), size / 4);
  });
  const double copy_speed = 8e-6 * static_cast<double>(size) / copy_ms, step_speed = 1e-6 * step_bytes / step_ms;
  std::printf(
      "\nECO step, AdamW, E4M3 rows of %d, stochastic, f32 moments and gradient: %lld parameters checked, %lld "
      "differ\n",
      columns, static_cast<long long>(n), static_cast<long long>(different));
  std::printf(
      "  %lld parameters in %.3f ms: %.0f GB/s of its 22 bytes a parameter, a copy in the same run %.0f GB/s: %.0f "
      "%%\n",
      static_cast<long long>(size), step_ms, step_speed, copy_speed, 100 * step_speed / copy_speed);
}

int run() {
  cudaDeviceProp device;
  succeed(cudaGetDeviceProperties(&device, 0), "looking for a GPU");
  multiprocessors = device.multiProcessorCount;
  std::printf("# %s, sm_%d%d, %d multiprocessors\n\n", device.name, device.major, device.minor, multiprocessors);
  std::printf("%-34s %12s %10s %12s\n", "function", "cases", "different", "ps a case");

  const std::int64_t n = std::int64_t{1} << 22;
  const auto both = [&](const std::string& name, auto function) { check(name, function, function, n); };
  both("(arguments alone)", Nothing{});
  both("bf16 nearest, stochastic", Bf16{});
  both("e4m3 nearest, stochastic, decode", E4m3{});
  both("e5m2 nearest, stochastic, decode", E5m2{});
  for (int width : {2, 3, 4, 8}) both("int" + std::to_string(width) + " nearest, stochastic", Integer{width});
  both("scales", Scales{});
  both("log2, exp2", Polynomials{});
  both("de4", Codebook4{dynamic_exponent<4, true, true>});
  both("de4 unsigned without zero", Codebook4{dynamic_exponent<4, false, false>});
  both("linear4", Codebook4{linear<4, false>});
  for (const bool is_signed : {true, false}) {
    const Dynamic8& table = is_signed ? dynamic8_signed : dynamic8_unsigned;
    const float* level = is_signed ? dynamic_exponent<8, true, true>.level : dynamic_exponent<8, false, true>.level;
    check(is_signed ? "dynamic8" : "dynamic8 unsigned", DynamicTable{&table, level},
          DynamicTable{on_device(std::vector<Dynamic8>{table}), on_device(std::vector<float>(level, level + 256))}, n);
  }
  for (int width : {2, 3, 4})
    check("log" + std::to_string(width) + ", blocks of 128", LogQuantizer{width}, LogQuantizer{width}, 1 << 15, 128);
  for (int width : {2, 3, 4, 5, 6, 7})
    check("packing " + std::to_string(width) + " bits", Packing{width}, Packing{width}, n / 8, 8);

  const RuleOptions options{.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.1};
  for (const UpdateRule rule : {UpdateRule::adamw, UpdateRule::sgdm, UpdateRule::adafactor})
    both(std::string(info(rule).name) + " with ECO", Rule{rule, info(rule).constants(options, 10)});
  check_eco_rows(info(UpdateRule::adamw).constants(options, 10));

  std::printf("\n%s\n", all_agree ? "every bit agrees" : "FAILED: some bits differ");
  return all_agree ? 0 : 1;
}

}  // namespace

int main() {
  return run();
}
