#include "base/hex.h"

#include "bittern/file.h"
#include "catch.h"

using namespace bittern;

TEST_CASE("hex: exactly the digits that are asked for, of either case") {
  CHECK(parse_hex("0f3c9a1be27d5540", 16) == 0x0f3c9a1be27d5540u);
  CHECK(parse_hex("0F3C9A1BE27D5540", 16) == 0x0f3c9a1be27d5540u);
  CHECK(parse_hex("ffffffffffffffff", 16) == ~std::uint64_t{0});
  CHECK(parse_hex("d83d", 4) == 0xd83du);
  for (const std::uint64_t digest : {std::uint64_t{0}, std::uint64_t{1} << 63, std::uint64_t{0x123456789abcdef}})
    CHECK(parse_hex(checksum_text(digest), 16) == digest);
  for (const char* text : {"", "123", "12345", "12 4", "-123", "+123", "0x12", "12g4", "12@4", "12`4", "12/4", "12:4"})
    CHECK_FALSE(parse_hex(text, 4).has_value());
  CHECK_FALSE(parse_hex("00000000000000000", 17).has_value());
}
