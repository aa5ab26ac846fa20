// Text from outside: made fit for a terminal, cut to a bound.
#include "base/printable.h"

#include <algorithm>

#include "base/utf8.h"
#include "bittern/quant/philox.h"
#include "catch.h"

using namespace bittern;

TEST_CASE("printable: a text without control characters comes back as it is") {
  const std::string text = "plain \xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\xa6\n\tend \\ \"";
  CHECK(printable(text) == text);
  CHECK(printable("") == "");
}

TEST_CASE("printable: what a terminal obeys, and bytes that are not UTF-8, are spelled out") {
  CHECK(printable("\x1b]0;owned\x07") == "\\x1b]0;owned\\x07");
  CHECK(printable("\xc2\x9b"
                  "2J\r\x7f") == "\\x9b2J\\x0d\\x7f");
  CHECK(printable("\xff\xc3(\xed\xa0\x80\xc0\xaf\xf4\x90\x80\x80\xe2\x82") ==
        "\\xff\\xc3(\\xed\\xa0\\x80\\xc0\\xaf\\xf4\\x90\\x80\\x80\\xe2\\x82");
  CHECK(printable(std::string("a\0b", 3)) == "a\\x00b");
  CHECK(printable_line("a\nb\tc", 100) == "a\\nb\\tc");
}

TEST_CASE("printable: a long text is cut between two characters") {
  CHECK(printable("0123456789", 10) == "0123456789");
  CHECK(printable("0123456789a", 10) == "0123456789...");
  CHECK(printable("012345678\xe2\x82\xac", 10) == "012345678...");
  CHECK(printable("012345678\x1b", 10) == "012345678...");  // "\x1b" takes four
  CHECK(printable(std::string(1000000, '\x1b'), 100) == [] {
    std::string expected;
    for (int i = 0; i < 25; ++i) expected += "\\x1b";
    return expected + "...";
  }());
}

TEST_CASE("printable: any bytes become a valid text without control characters, within the bound") {
  for (std::uint32_t i = 0; i < 2000; ++i) {
    std::string text;
    for (std::uint32_t j = 0; j < i % 64; ++j)
      text += static_cast<char>(philox(philox_key(1, Purpose::test), i * 64 + j, 0, 0));
    const std::string shown = printable_line(text, 40);
    CHECK(utf8_valid_prefix(shown) == shown.size());
    CHECK(std::none_of(shown.begin(), shown.end(), [](char c) { return c >= 0 && (c < 0x20 || c == 0x7f); }));
    CHECK(shown.size() <= 43);
  }
}
