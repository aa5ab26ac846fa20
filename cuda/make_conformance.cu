// make_conformance: the bits that a GPU's own instructions make, as a golden file: conversions (which the shared
// element math must equal), approximations, and mma.sync. tests/golden/gpu/conformance.bin was made by it.
//   make_conformance FILE
// FILE: `cases` records of nine little-endian words (the argument x, e4m3, e5m2, bf16, ex2, lg2, rcp, rsqrt, tanh of
// x), then `warps` * 32 records of fourteen: what a lane of mma.sync.m16n8k16 holds, a (4 words of two bf16 each), b
// (2), c (4 f32) and the result d (4 f32).
#include <cuda_bf16.h>
#include <cuda_fp8.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <cstdio>
#include <vector>

#include "bittern/quant/bf16.h"
#include "bittern/quant/philox.h"

namespace {

using bittern::bits_float;
using bittern::float_bits;

constexpr int cases = 1 << 14, warps = 16;

struct Conversions {
  std::uint32_t x, e4m3, e5m2, bf16, ex2, lg2, rcp, rsqrt, tanh;
};
struct Fragment {
  std::uint32_t a[4], b[2];
  float c[4], d[4];
};

__device__ std::uint32_t word(std::uint64_t i) {
  return bittern::philox(bittern::PhiloxKey{1u, 6u}, i, 0, 0);
}

/// The first 4096: every sign, exponent and three bits of fraction. Then any bits.
__global__ void convert(Conversions* result) {
  const std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  Conversions r{};
  r.x = i < 4096 ? i << 20 : word(i);
  const float x = bits_float(r.x);
  float y;
  r.e4m3 = __nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E4M3);
  r.e5m2 = __nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E5M2);
  r.bf16 = __bfloat16_as_ushort(__float2bfloat16_rn(x));
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  r.ex2 = float_bits(y);
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  r.lg2 = float_bits(y);
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  r.rcp = float_bits(y);
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  r.rsqrt = float_bits(y);
  asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  r.tanh = float_bits(y);
  result[i] = r;
}

/// Two bf16 of random sign and fraction, exponents from 2^-9 to 2^8: sums in which the order and the width show.
__device__ std::uint32_t bf16_pair(std::uint32_t w) {
  return (w & 0x807f807fu) | (118u + (w >> 8 & 0xffu) % 18u) << 7 | (118u + (w >> 20 & 0xffu) % 18u) << 23;
}

__global__ void multiply(Fragment* result) {
  const std::uint32_t lane = blockIdx.x * 32 + threadIdx.x;
  Fragment f;
  for (std::uint32_t k = 0; k < 4; ++k) f.a[k] = bf16_pair(word(1000000 + lane * 16 + k));
  for (std::uint32_t k = 0; k < 2; ++k) f.b[k] = bf16_pair(word(1000000 + lane * 16 + 4 + k));
  for (std::uint32_t k = 0; k < 4; ++k) f.c[k] = (bittern::uniform(word(1000000 + lane * 16 + 8 + k)) - 0.5f) * 4.0f;
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%10,%11,%12,%13};"
      : "=f"(f.d[0]), "=f"(f.d[1]), "=f"(f.d[2]), "=f"(f.d[3])
      : "r"(f.a[0]), "r"(f.a[1]), "r"(f.a[2]), "r"(f.a[3]), "r"(f.b[0]), "r"(f.b[1]), "f"(f.c[0]), "f"(f.c[1]),
        "f"(f.c[2]), "f"(f.c[3]));
  result[lane] = f;
}

/// The results of a kernel, `count` records a thread each; empty if the GPU failed.
template <typename Record>
std::vector<Record> results(void (*kernel)(Record*), int blocks, int threads) {
  std::vector<Record> all(static_cast<std::size_t>(blocks) * static_cast<std::size_t>(threads));
  Record* memory = nullptr;
  if (cudaMalloc(&memory, all.size() * sizeof(Record)) != cudaSuccess) return {};
  kernel<<<static_cast<unsigned>(blocks), static_cast<unsigned>(threads)>>>(memory);
  const cudaError_t error = cudaMemcpy(all.data(), memory, all.size() * sizeof(Record), cudaMemcpyDeviceToHost);
  cudaFree(memory);
  return error == cudaSuccess ? all : std::vector<Record>{};
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) return std::fprintf(stderr, "usage: make_conformance FILE\n"), 2;
  const auto conversions = results(convert, cases / 256, 256);
  const auto fragments = results(multiply, warps, 32);
  if (conversions.empty() || fragments.empty()) {
    std::fprintf(stderr, "make_conformance: the GPU says: %s\n", cudaGetErrorString(cudaGetLastError()));
    return 2;
  }
  std::FILE* file = std::fopen(arguments[1], "wb");
  const bool written =
      file != nullptr &&
      std::fwrite(conversions.data(), sizeof(Conversions), conversions.size(), file) == conversions.size() &&
      std::fwrite(fragments.data(), sizeof(Fragment), fragments.size(), file) == fragments.size();
  if (!written || std::fclose(file) != 0)
    return std::fprintf(stderr, "make_conformance: cannot write %s\n", arguments[1]), 2;
  return 0;
}
