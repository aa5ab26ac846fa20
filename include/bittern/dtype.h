// DType: the element types that tensors and files are made of. One table says everything about each of them.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace bittern {

enum class DType : std::uint8_t { f32, bf16, f16, i32, u8 };

struct DTypeInfo {
  DType dtype;
  std::string_view name;         ///< in configs, messages and tables
  std::string_view safetensors;  ///< in a safetensors header
  std::int64_t size;             ///< bytes per element
};

inline constexpr std::array<DTypeInfo, 5> dtype_table = {{
    {DType::f32, "f32", "F32", 4},
    {DType::bf16, "bf16", "BF16", 2},
    {DType::f16, "f16", "F16", 2},
    {DType::i32, "i32", "I32", 4},
    {DType::u8, "u8", "U8", 1},
}};

constexpr const DTypeInfo& info(DType dtype) {
  return dtype_table[static_cast<std::size_t>(dtype)];
}
constexpr std::string_view name(DType dtype) {
  return info(dtype).name;
}
constexpr std::int64_t size_of(DType dtype) {
  return info(dtype).size;
}

constexpr std::optional<DType> dtype_from_safetensors(std::string_view text) {
  for (const DTypeInfo& row : dtype_table)
    if (row.safetensors == text) return row.dtype;
  return std::nullopt;
}

}  // namespace bittern
