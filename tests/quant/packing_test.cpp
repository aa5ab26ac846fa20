#include "bittern/quant/packing.h"

#include <cstdint>
#include <vector>

#include "bittern/quant/philox.h"
#include "catch.h"

using namespace bittern;

namespace {

const int widths[] = {2, 3, 4, 5, 6, 7, 8};

std::vector<std::uint8_t> random_codes(int bits, std::int64_t count) {
  std::vector<std::uint8_t> codes;
  for (std::int64_t i = 0; i < count; ++i)
    codes.push_back(static_cast<std::uint8_t>(
        philox(philox_key(1, Purpose::test), static_cast<std::uint64_t>(i), 0, static_cast<std::uint32_t>(bits)) >>
        (32 - bits)));
  return codes;
}

/// The definition, a bit at a time.
std::vector<std::uint8_t> reference_pack(int bits, const std::vector<std::uint8_t>& codes) {
  std::vector<std::uint8_t> row((codes.size() * bits + 7) / 8, 0);
  for (std::size_t i = 0; i < codes.size(); ++i)
    for (int b = 0; b < bits; ++b)
      if (codes[i] >> b & 1) row[(i * bits + b) / 8] |= static_cast<std::uint8_t>(1 << (i * bits + b) % 8);
  return row;
}

}  // namespace

TEST_CASE("packing: element i lies at bit i * bits, low bits first; the rest of the last byte is 0") {
  const std::uint8_t four[] = {1, 2, 3}, two[] = {3, 0, 1, 2, 1}, three[] = {7, 0, 5};
  std::uint8_t row[4] = {0xee, 0xee, 0xee, 0xee};
  pack_codes(4, four, 0, 3, row);
  CHECK((row[0] == 0x21 && row[1] == 0x03 && row[2] == 0xee));
  pack_codes(2, two, 0, 5, row);
  CHECK((row[0] == 0x93 && row[1] == 0x01 && row[2] == 0xee));
  pack_codes(3, three, 0, 3, row);
  CHECK((row[0] == 0x47 && row[1] == 0x01 && row[2] == 0xee));
}

TEST_CASE("packing: the bytes of 4-bit codes are those that lpmm stores") {
  const std::uint8_t codes[] = {9, 1, 10, 6, 7, 12, 4, 15};
  std::uint8_t row[4];
  pack_codes(4, codes, 0, 8, row);
  CHECK((row[0] == 0x19 && row[1] == 0x6a && row[2] == 0xc7 && row[3] == 0xf4));
}

TEST_CASE("packing: every length equals the definition, touches nothing else, and comes back") {
  for (const int bits : widths)
    for (std::int64_t count = 0; count <= 130; ++count) {
      const std::vector<std::uint8_t> codes = random_codes(bits, count), expected = reference_pack(bits, codes);
      REQUIRE(packed_row_bytes(count, bits) == static_cast<std::int64_t>(expected.size()));
      std::vector<std::uint8_t> row(expected.size() + 1, 0xa5), back(codes.size() + 1, 0xa5);
      pack_codes(bits, codes.data(), 0, count, row.data());
      unpack_codes(bits, row.data(), 0, count, back.data());
      CHECK(std::vector<std::uint8_t>(row.begin(), row.end() - 1) == expected);
      CHECK(std::vector<std::uint8_t>(back.begin(), back.end() - 1) == codes);
      CHECK((row.back() == 0xa5 && back.back() == 0xa5));
      for (std::int64_t i = 0; i < count; ++i)
        CHECK(code_at(bits, row.data(), i) == codes[static_cast<std::size_t>(i)]);
    }
}

TEST_CASE("packing: a run that starts at a multiple of 8 is read and written alone") {
  constexpr std::int64_t count = 77;
  for (const int bits : widths) {
    const std::vector<std::uint8_t> codes = random_codes(bits, count);
    std::vector<std::uint8_t> whole(static_cast<std::size_t>(packed_row_bytes(count, bits))), parts(whole.size());
    pack_codes(bits, codes.data(), 0, count, whole.data());
    const std::int64_t cuts[] = {0, 8, 40, count};
    for (int part = 2; part >= 0; --part)
      pack_codes(bits, codes.data() + cuts[part], cuts[part], cuts[part + 1] - cuts[part], parts.data());
    CHECK(parts == whole);
    std::vector<std::uint8_t> middle(32);
    unpack_codes(bits, whole.data(), 8, 32, middle.data());
    CHECK(middle == std::vector<std::uint8_t>(codes.begin() + 8, codes.begin() + 40));
  }
}

TEST_CASE("packing: all groups of eight codes of two and three bits come back") {
  std::uint64_t wrong = 0;
  for (std::uint64_t packed = 0; packed < 1u << 16; ++packed)
    wrong += gather_codes<2>(spread_codes<2>(packed)) != packed;
  for (std::uint64_t packed = 0; packed < 1u << 24; packed += 3)
    wrong += gather_codes<3>(spread_codes<3>(packed)) != packed;
  CHECK(wrong == 0);
}
