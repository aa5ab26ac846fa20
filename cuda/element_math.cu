// element_math: the shared element math as device code, so that it is known to be good for both compilers. Each kernel
// is the plain map of one header's function; the update itself is what the fused step will be built from.
#include <cstdint>

#include "bittern/optim/adamw.h"
#include "bittern/quant/bf16.h"
#include "bittern/quant/codebook.h"
#include "bittern/quant/dynamic8.h"
#include "bittern/quant/fp8.h"
#include "bittern/quant/integer.h"
#include "bittern/quant/log_quantizer.h"
#include "bittern/quant/packing.h"
#include "bittern/quant/philox.h"
#include "bittern/quant/scales.h"

namespace bittern::cuda {

/// w, m, v (n) f32, updated in place from g (n) f32.
__global__ void adamw_kernel(float* w, float* m, float* v, const float* g, RuleConstants constants, std::int64_t n) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) adamw(w[i], m[i], v[i], g[i], constants);
}

/// to (n) = x (n), rounded stochastically by the number that belongs to each element.
__global__ void round_bf16_kernel(bf16* to, const float* x, PhiloxKey key, std::uint32_t step, std::uint32_t tensor_id,
                                  std::int64_t n) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) to[i] = to_bf16_stochastic(x[i], philox(key, static_cast<std::uint64_t>(i), step, tensor_id));
}

/// codes (n) E4M3 or E5M2 = x (n), stochastic; x (n) = what they decode to.
__global__ void fp8_kernel(std::uint8_t* codes, float* x, bool e5m2, PhiloxKey key, std::uint32_t step,
                           std::uint32_t tensor_id, std::int64_t n) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const std::uint32_t random = philox(key, static_cast<std::uint64_t>(i), step, tensor_id);
  codes[i] = e5m2 ? to_e5m2_stochastic(x[i], random) : to_e4m3_stochastic(x[i], random);
  x[i] = e5m2 ? e5m2_to_float(codes[i]) : e4m3_to_float(codes[i]);
}

/// codes (n) = x (n) * inverse_scale, rounded onto the grid lo .. hi.
__global__ void integer_kernel(std::uint8_t* codes, const float* x, float inverse_scale, std::int32_t lo,
                               std::int32_t hi, int bits, bool stochastic, PhiloxKey key, std::uint32_t step,
                               std::uint32_t tensor_id, std::int64_t n) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const float t = x[i] * inverse_scale;
  const std::int32_t level =
      stochastic ? round_stochastic_to_grid(t, lo, hi, philox(key, static_cast<std::uint64_t>(i), step, tensor_id))
                 : round_nearest_even_to_grid(t, lo, hi);
  codes[i] = code_of_level(level, bits);
}

/// to = the codes of `from`, repacked from one width to another; a thread takes eight, count is a multiple of 8.
__global__ void repack_kernel(std::uint8_t* to, int to_bits, const std::uint8_t* from, int from_bits,
                              std::int64_t count) {
  const std::int64_t first = (static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * 8;
  if (first >= count) return;
  std::uint8_t codes[8];
  unpack_codes(from_bits, from, first, 8, codes);
  pack_codes(to_bits, codes, first, 8, to);
}

/// codes (n) = x (n) in a codebook of four bits, stochastic; x (n) = what they decode to. level (16) on the device.
__global__ void codebook_kernel(std::uint8_t* codes, float* x, const float* level, std::int32_t levels, float absmax,
                                PhiloxKey key, std::uint32_t step, std::uint32_t tensor_id, std::int64_t n) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const float scale = block_scale(absmax), t = x[i] * inverse_scale(scale);
  const std::int32_t code =
      stochastic_code<4>(t, level, levels, philox(key, static_cast<std::uint64_t>(i), step, tensor_id));
  codes[i] = static_cast<std::uint8_t>(code);
  x[i] = level[code] * scale;
}

/// codes (n) = x (n) in an 8-bit dynamic codebook, nearest; scales rank 1: row (rows), column (columns), n = rows *
/// columns.
__global__ void dynamic8_kernel(std::uint8_t* codes, const float* x, const Dynamic8* table, const float* row,
                                const float* column, std::int64_t columns, std::int64_t n) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= n) return;
  codes[i] = static_cast<std::uint8_t>(
      nearest_code(x[i] * inverse_scale(rank1_scale(row[i / columns], column[i % columns])), *table));
}

/// A thread takes a block of 128: codes (blocks, 128) = x (blocks, 128) in the 2-bit log quantizer, stochastic; stored
/// (blocks).
__global__ void log_quantizer_kernel(std::uint8_t* codes, LogBlock* stored, const float* x, float p, PhiloxKey key,
                                     std::uint32_t step, std::uint32_t tensor_id, std::int64_t blocks) {
  const std::int64_t block = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (block >= blocks) return;
  std::uint32_t largest = 0;
  for (int i = 0; i < 128; ++i) {
    const std::uint32_t magnitude = magnitude_bits(x[block * 128 + i]);
    largest = magnitude > largest ? magnitude : largest;
  }
  stored[block] = log_block(bits_float(largest), quantile(x + block * 128, 128, p), 2);
  const LogEncoder encoder = log_encoder(stored[block], 2);
  for (std::int64_t i = block * 128; i < block * 128 + 128; ++i)
    codes[i] = static_cast<std::uint8_t>(
        log_stochastic(x[i], encoder, philox(key, static_cast<std::uint64_t>(i), step, tensor_id)));
}

}  // namespace bittern::cuda
