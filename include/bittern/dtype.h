// DType: the element types that tensors and files are made of. One table says everything about each of them.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace bittern {

/// iN: a signed integer of N bits, two's complement; uN: an index of N bits into a codebook. Below 8 bits, elements are
/// packed: element i of a row starts at bit i * N of that row, little-endian, and every row starts at a byte.
enum class DType : std::uint8_t { f32, bf16, f16, i32, u8, e4m3, i8, i7, i6, i5, i4, i3, i2, u4, u3, u2 };

struct DTypeInfo {
  DType dtype;
  std::string_view name;         ///< in configs, messages and tables
  std::string_view safetensors;  ///< in a safetensors header; packed elements are rows of bytes there
  int bits;                      ///< per element
};

inline constexpr std::array<DTypeInfo, 16> dtype_table = {{
    {DType::f32, "f32", "F32", 32},
    {DType::bf16, "bf16", "BF16", 16},
    {DType::f16, "f16", "F16", 16},
    {DType::i32, "i32", "I32", 32},
    {DType::u8, "u8", "U8", 8},
    {DType::e4m3, "fp8_e4m3", "F8_E4M3", 8},
    {DType::i8, "i8", "I8", 8},
    {DType::i7, "i7", "U8", 7},
    {DType::i6, "i6", "U8", 6},
    {DType::i5, "i5", "U8", 5},
    {DType::i4, "i4", "U8", 4},
    {DType::i3, "i3", "U8", 3},
    {DType::i2, "i2", "U8", 2},
    {DType::u4, "u4", "U8", 4},
    {DType::u3, "u3", "U8", 3},
    {DType::u2, "u2", "U8", 2},
}};

constexpr const DTypeInfo& info(DType dtype) {
  return dtype_table[static_cast<std::size_t>(dtype)];
}
constexpr std::string_view name(DType dtype) {
  return info(dtype).name;
}
constexpr int bits_of(DType dtype) {
  return info(dtype).bits;
}
/// Bytes per element of a type that is not packed.
constexpr std::int64_t size_of(DType dtype) {
  return info(dtype).bits / 8;
}
constexpr bool is_packed(DType dtype) {
  return bits_of(dtype) < 8;
}
/// Bytes of a row of `cols` elements.
constexpr std::int64_t row_bytes(DType dtype, std::int64_t cols) {
  return (cols * bits_of(dtype) + 7) / 8;
}
/// True for weights that are codes: numbers only together with their scales.
constexpr bool is_quantized(DType dtype) {
  return dtype >= DType::e4m3 && dtype <= DType::i2;
}
/// Those of them that are integers.
constexpr bool is_integer_code(DType dtype) {
  return dtype >= DType::i8 && dtype <= DType::i2;
}

constexpr std::optional<DType> dtype_from_safetensors(std::string_view text) {
  for (const DTypeInfo& row : dtype_table)
    if (row.safetensors == text) return row.dtype;
  return std::nullopt;
}

}  // namespace bittern
