// Checks numbers, codes and scales that come from a file: each must be one that a run could have written. Else it is an
// input_error that names the file, the tensor, the element and the value.
#include "store/stored_codes.h"

#include <array>
#include <cstring>
#include <limits>
#include <vector>

#include "bittern/error.h"
#include "bittern/quant/bf16.h"
#include "bittern/quant/codebook.h"
#include "bittern/quant/fp8.h"
#include "bittern/quant/integer.h"
#include "bittern/quant/packing.h"

namespace bittern {
namespace {

constexpr float largest_number = std::numeric_limits<float>::max();

Error refused(const std::string& where, float value, std::int64_t element, std::string_view expected) {
  return input_error(
      "{} is {} at element {}; expected {}; the file is damaged or the model has diverged: use another checkpoint",
      where, value, element, expected);
}

std::string in_words(const StoredRange& range) {
  if (range.highest < largest_number) return fmt::format("levels from {} to {}", range.lowest, range.highest);
  return range.lowest < 0 ? "finite numbers" : "finite numbers of at least 0";
}

bool within(const StoredRange& range, float x) {
  return x >= range.lowest && x <= range.highest;
}

/// What a code of at most 8 bits means.
float level_of_code(DType dtype, std::uint8_t code) {
  if (dtype == DType::e4m3) return e4m3_to_float(code);
  return static_cast<float>(is_integer_code(dtype) ? level_of(code, bits_of(dtype)) : code);
}

template <typename T>
T read_at(std::span<const std::byte> bytes, std::size_t i) {
  T value;
  std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
  return value;
}

template <typename T>
void check_numbers(std::span<const std::byte> bytes, const StoredRange& range, std::int64_t first_element,
                   const std::string& where) {
  for (std::size_t i = 0; i < bytes.size() / sizeof(T); ++i)
    if (const float x = to_float(read_at<T>(bytes, i)); !within(range, x))
      throw refused(where, x, first_element + static_cast<std::int64_t>(i), in_words(range));
}

void check_codes(std::span<const std::byte> bytes, const StoredRange& range, std::int64_t columns,
                 std::int64_t first_row, const std::string& where) {
  const int bits = bits_of(range.dtype), used_in_last_byte = static_cast<int>(columns * bits % 8);
  std::array<bool, 256> good;
  for (std::size_t code = 0; code < good.size(); ++code)
    good[code] = within(range, level_of_code(range.dtype, static_cast<std::uint8_t>(code)));
  const std::int64_t row_size = row_bytes(range.dtype, columns);
  const std::int64_t rows = row_size == 0 ? 0 : static_cast<std::int64_t>(bytes.size()) / row_size;
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(columns));
  for (std::int64_t r = 0; r < rows; ++r) {
    const auto* const row = reinterpret_cast<const std::uint8_t*>(bytes.data()) + r * row_size;
    unpack_codes(bits, row, 0, columns, codes.data());
    for (std::int64_t i = 0; i < columns; ++i)
      if (const std::uint8_t code = codes[static_cast<std::size_t>(i)]; !good[code])
        throw refused(where, level_of_code(range.dtype, code), (first_row + r) * columns + i, in_words(range));
    if (used_in_last_byte != 0 && row[row_size - 1] >> used_in_last_byte != 0)
      throw input_error("{}: bits after the last element of row {} are not 0; the file is damaged: use another one",
                        where, first_row + r);
  }
}

}  // namespace

StoredRange stored_range(const WeightCodec& codec) {
  const DType dtype = codec.dtype();
  if (!codec.quantized()) return {dtype, -largest_number, largest_number};
  if (dtype == DType::e4m3) return {dtype, -largest_e4m3, largest_e4m3};
  return {dtype, static_cast<float>(codec.lowest()), static_cast<float>(codec.highest())};
}

StoredRange stored_range(const StateCodecInfo& codec, MomentSign sign) {
  const bool any = sign == MomentSign::any;
  // A kind without codes, as row_mean, has no levels: nothing of it is read as an element.
  if (codec.kind == StateKind::values || !has_codes(codec.kind))
    return {codec.dtype, any ? -largest_number : 0.0f, largest_number};
  if (codec.kind == StateKind::fp8) return {codec.dtype, any ? -largest_e4m3 : 0.0f, largest_e4m3};
  const Codebook* const book = find_codebook(any ? codec.signed_codebook : codec.unsigned_codebook);
  const int levels = book != nullptr ? book->levels : 1 << bits_of(codec.dtype);
  return {codec.dtype, 0.0f, static_cast<float>(levels - 1)};
}

void check_elements(std::span<const std::byte> bytes, const StoredRange& range, std::int64_t columns,
                    const std::string& where, std::int64_t first_row) {
  if (range.dtype == DType::f32) return check_numbers<float>(bytes, range, first_row * columns, where);
  if (range.dtype == DType::bf16) return check_numbers<bf16>(bytes, range, first_row * columns, where);
  check_codes(bytes, range, columns, first_row, where);
}

void check_scales(std::span<const std::byte> bytes, ScaleKind kind, const std::string& where, std::int64_t first) {
  for (std::size_t i = 0; i < bytes.size() / sizeof(float); ++i) {
    const float x = read_at<float>(bytes, i);
    const auto expect = [&](bool good, std::string_view what) {
      if (!good) throw refused(where, x, first + static_cast<std::int64_t>(i), what);
    };
    const bool normal = x >= std::numeric_limits<float>::min() && x <= largest_number;
    if (kind == ScaleKind::weights) {
      expect(normal, "finite scales of at least 2^-126");
    } else if (kind == ScaleKind::means) {
      expect(x >= 0.0f && x <= largest_number, "finite numbers of at least 0");
    } else if (kind == ScaleKind::logarithmic && i % 2 == 1) {
      const bool of_zeros = x == 0.0f && read_at<float>(bytes, i - 1) == 0.0f;
      expect((x > 0.0f && x <= 1.0f) || of_zeros, "an alpha above 0 and of at most 1");
    } else {
      expect(normal || x == 0.0f, "0, or finite scales of at least 2^-126");
    }
  }
}

}  // namespace bittern
