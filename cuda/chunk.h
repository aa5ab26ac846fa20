// chunk: eight consecutive elements of a row as fp32 numbers in a thread's registers, whatever the row is made of. What
// a row is made of is a number that all threads share: a uniform branch for each chunk, so one kernel serves every type.
//
// Two ways to memory, one arithmetic. `vector`: rows are whole chunks and chunks are aligned, so a chunk is one or two
// accesses. Else element by element, guarded by the row's end: what lies beyond it reads as 0 and is not written. Both
// give the same bits.
//
// Eight codes of n bits are n whole bytes (quant/packing.h), so a chunk of a packed row is also whole bytes.
#pragma once

#include <cstdint>

#include "bittern/dtype.h"
#include "bittern/quant/bf16.h"
#include "bittern/quant/fp8.h"
#include "bittern/quant/integer.h"
#include "bittern/quant/packing.h"
#include "bittern/quant/scales.h"
#include "cuda/gpu.h"
#include "cuda/rows.h"

namespace bittern::cuda {

inline constexpr int chunk = 8;

/// The bytes of a row.
template <class T = std::uint8_t>
__device__ __forceinline__ T* row_at(const Rows& x, std::int64_t row) {
  const std::int64_t bytes = (x.stride * element_bits(x.dtype) + 7) / 8;
  return reinterpret_cast<T*>(static_cast<std::uint8_t*>(x.data) + row * bytes);
}

// ---- f32 and bf16

template <bool vector>
__device__ __forceinline__ void load_f32(const float* from, int rest, float (&x)[chunk]) {
  if constexpr (vector) {
    const float4 a = *reinterpret_cast<const float4*>(from), b = *reinterpret_cast<const float4*>(from + 4);
    x[0] = a.x, x[1] = a.y, x[2] = a.z, x[3] = a.w, x[4] = b.x, x[5] = b.y, x[6] = b.z, x[7] = b.w;
  } else {
#pragma unroll
    for (int i = 0; i < chunk; ++i) x[i] = i < rest ? from[i] : 0.0f;
  }
}
template <bool vector>
__device__ __forceinline__ void store_f32(float* to, int rest, const float (&x)[chunk]) {
  if constexpr (vector) {
    *reinterpret_cast<float4*>(to) = make_float4(x[0], x[1], x[2], x[3]);
    *reinterpret_cast<float4*>(to + 4) = make_float4(x[4], x[5], x[6], x[7]);
  } else {
#pragma unroll
    for (int i = 0; i < chunk; ++i)
      if (i < rest) to[i] = x[i];
  }
}
template <bool vector>
__device__ __forceinline__ void load_bf16(const bf16* from, int rest, float (&x)[chunk]) {
  if constexpr (vector) {
    const uint4 u = *reinterpret_cast<const uint4*>(from);
    const std::uint32_t pairs[4] = {u.x, u.y, u.z, u.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      x[2 * i] = bits_float(pairs[i] << 16);
      x[2 * i + 1] = bits_float(pairs[i] & 0xffff0000u);
    }
  } else {
#pragma unroll
    for (int i = 0; i < chunk; ++i) x[i] = i < rest ? to_float(from[i]) : 0.0f;
  }
}
/// Two numbers as bf16 in a word, the first one low.
__device__ __forceinline__ std::uint32_t bf16_pair(bf16 low, bf16 high) {
  return low.bits | static_cast<std::uint32_t>(high.bits) << 16;
}
template <bool vector>
__device__ __forceinline__ void store_bf16(bf16* to, int rest, const bf16 (&x)[chunk]) {
  if constexpr (vector) {
    *reinterpret_cast<uint4*>(to) =
        make_uint4(bf16_pair(x[0], x[1]), bf16_pair(x[2], x[3]), bf16_pair(x[4], x[5]), bf16_pair(x[6], x[7]));
  } else {
#pragma unroll
    for (int i = 0; i < chunk; ++i)
      if (i < rest) to[i] = x[i];
  }
}

// ---- codes

/// The codes of a chunk, one a byte, the first one low. `row`: where the row begins; `col`: a multiple of 8.
template <bool vector>
__device__ __forceinline__ std::uint64_t load_codes(const std::uint8_t* row, int bits, int col, int cols) {
  const std::uint8_t* const from = row + static_cast<std::int64_t>(col / chunk) * bits;
  std::uint64_t packed = 0;
  if (vector && bits == 8) {
    const uint2 u = *reinterpret_cast<const uint2*>(from);
    return u.x | static_cast<std::uint64_t>(u.y) << 32;
  }
  if (vector && bits == 4) {
    packed = *reinterpret_cast<const std::uint32_t*>(from);
  } else if (vector && bits == 2) {
    packed = *reinterpret_cast<const std::uint16_t*>(from);
  } else {
    const int rest = cols - col, bytes = rest >= chunk ? bits : (rest * bits + 7) / 8;
    for (int i = 0; i < bytes; ++i) packed |= static_cast<std::uint64_t>(from[i]) << (8 * i);
  }
  switch (bits) {
    case 2:
      return spread_codes<2>(packed);
    case 3:
      return spread_codes<3>(packed);
    case 4:
      return spread_codes<4>(packed);
    case 5:
      return spread_codes<5>(packed);
    case 6:
      return spread_codes<6>(packed);
    case 7:
      return spread_codes<7>(packed);
    default:
      return packed;
  }
}

/// The inverse. Codes beyond the row's end are 0, as the bits after its last element must be.
template <bool vector>
__device__ __forceinline__ void store_codes(std::uint8_t* row, int bits, int col, int cols,
                                            const std::uint32_t (&codes)[chunk]) {
  std::uint8_t* const to = row + static_cast<std::int64_t>(col / chunk) * bits;
  const std::uint32_t low = codes[0] | codes[1] << 8 | codes[2] << 16 | codes[3] << 24,
                      high = codes[4] | codes[5] << 8 | codes[6] << 16 | codes[7] << 24;
  if (vector && bits == 8) {
    *reinterpret_cast<uint2*>(to) = make_uint2(low, high);
    return;
  }
  std::uint64_t packed = low | static_cast<std::uint64_t>(high) << 32;
  switch (bits) {
    case 2:
      packed = gather_codes<2>(packed);
      break;
    case 3:
      packed = gather_codes<3>(packed);
      break;
    case 4:
      packed = gather_codes<4>(packed);
      break;
    case 5:
      packed = gather_codes<5>(packed);
      break;
    case 6:
      packed = gather_codes<6>(packed);
      break;
    case 7:
      packed = gather_codes<7>(packed);
      break;
    default:
      break;
  }
  if (vector && bits == 4) {
    *reinterpret_cast<std::uint32_t*>(to) = static_cast<std::uint32_t>(packed);
  } else if (vector && bits == 2) {
    *reinterpret_cast<std::uint16_t*>(to) = static_cast<std::uint16_t>(packed);
  } else {
    const int rest = cols - col, bytes = rest >= chunk ? bits : (rest * bits + 7) / 8;
    for (int i = 0; i < bytes; ++i) to[i] = static_cast<std::uint8_t>(packed >> (8 * i));
  }
}

__device__ __forceinline__ std::uint32_t code_of_chunk(std::uint64_t codes, int i) {
  return static_cast<std::uint32_t>(codes >> (8 * i)) & 0xffu;
}

/// The number of a code, without its scale; exact in bf16.
__device__ __forceinline__ float number_of_code(DType dtype, std::uint32_t code) {
  return dtype == DType::e4m3 ? e4m3_to_float(static_cast<std::uint8_t>(code))
                              : static_cast<float>(level_of(static_cast<std::uint8_t>(code), element_bits(dtype)));
}

// ---- a chunk of any row

/// Of f32 or bf16.
template <bool vector>
__device__ __forceinline__ void load(const Rows& x, std::int64_t row, int col, int cols, float (&out)[chunk]) {
  if (x.dtype == DType::f32)
    load_f32<vector>(static_cast<const float*>(x.data) + row * x.stride + col, cols - col, out);
  else
    load_bf16<vector>(static_cast<const bf16*>(x.data) + row * x.stride + col, cols - col, out);
}
template <bool vector>
__device__ __forceinline__ void store(const Rows& x, std::int64_t row, int col, int cols, const float (&in)[chunk]) {
  if (x.dtype == DType::f32) {
    store_f32<vector>(static_cast<float*>(x.data) + row * x.stride + col, cols - col, in);
  } else {
    bf16 rounded[chunk];
#pragma unroll
    for (int i = 0; i < chunk; ++i) rounded[i] = to_bf16(in[i]);
    store_bf16<vector>(static_cast<bf16*>(x.data) + row * x.stride + col, cols - col, rounded);
  }
}

/// Of f32, bf16, or codes times their row's scale.
template <bool vector>
__device__ __forceinline__ void load_any(const Rows& x, std::int64_t row, int col, int cols, float (&out)[chunk]) {
  if (!is_code(x.dtype)) return load<vector>(x, row, col, cols, out);
  const std::uint64_t codes = load_codes<vector>(row_at(x, row), element_bits(x.dtype), col, cols);
  const float scale = x.scales[row];
#pragma unroll
  for (int i = 0; i < chunk; ++i) out[i] = number_of_code(x.dtype, code_of_chunk(codes, i)) * scale;
}

/// Activations as codes (the definition is ops.h's quantize): the scale of a row's largest magnitude, and a chunk of it.
__device__ __forceinline__ float scale_of_codes(DType dtype, std::uint32_t largest) {
  if (dtype == DType::e4m3) return scale_from_absmax(bits_float(largest), largest_e4m3);
  const std::uint32_t least = magnitude_bits(1e-5f);
  return scale_from_absmax(bits_float(largest > least ? largest : least), 127.0f);
}
template <bool vector>
__device__ __forceinline__ void store_quantized(const Rows& q, std::int64_t row, int col, int cols,
                                                const float (&in)[chunk], float scale) {
  const float inverse = inverse_scale(scale);
  const std::uint32_t of_nan = q.dtype == DType::e4m3 ? 0x7fu : 0x80u;
  std::uint32_t codes[chunk];
#pragma unroll
  for (int i = 0; i < chunk; ++i) {
    const float t = in[i] * inverse;
    const std::uint32_t code = q.dtype == DType::e4m3 ? to_e4m3_in_range(t) : to_i8_in_range(t);
    codes[i] = scale != scale ? of_nan : code;
  }
  store_codes<vector>(row_at(q, row), 8, col, cols, codes);
}

// ---- on the host

/// Whether chunks of rows of so many columns can be moved as vectors: whole chunks, each at a multiple of its access.
inline bool vector_rows(const Rows& x, std::int64_t cols) {
  if (x.data == nullptr) return true;
  const int bits = element_bits(x.dtype);
  const std::int64_t unit = bits >= 16 ? 16 : bits == 8 ? 8 : bits == 4 ? 4 : bits == 2 ? 2 : 1;
  const std::int64_t stride = (x.stride * bits + 7) / 8;
  return cols % chunk == 0 && stride % unit == 0 &&
         reinterpret_cast<std::uintptr_t>(x.data) % static_cast<std::uintptr_t>(unit) == 0;
}

/// Threads for a row: whole warps, a chunk each, at most `most`.
inline int threads_for(std::int64_t cols, int most = 256) {
  const std::int64_t wanted = ((cols + chunk - 1) / chunk + 31) / 32 * 32;
  return wanted < most ? static_cast<int>(wanted > 0 ? wanted : 32) : most;
}

inline unsigned blocks_for(std::int64_t count, std::int64_t each) {
  return static_cast<unsigned>((count + each - 1) / each);
}

}  // namespace bittern::cuda
