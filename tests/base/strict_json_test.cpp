// Strict JSON: what is refused, why, and that no message holds a byte that a terminal obeys.
#include "bittern/strict_json.h"

#include <algorithm>

#include "bittern/error.h"
#include "catch.h"

using namespace bittern;
using nlohmann::json;

namespace {

std::string refusal(std::string_view text, const JsonLimits& limits = {}) {
  try {
    (void)parse_strict_json(text, "a.json", limits);
  } catch (const Error& error) {
    CHECK(error.exit_code() == ExitCode::bad_input);
    return error.what();
  }
  return "accepted";
}

std::string repeated(std::string_view text, int times) {
  std::string result;
  for (int i = 0; i < times; ++i) result += text;
  return result;
}

}  // namespace

TEST_CASE("strict json: a good text is the value that the library makes of it, in either order of keys") {
  const std::string text =
      R"({"b": [1, -2, 3.5, true, null, "\u00e9\n"], "a": {"z": {}, "y": []}, "c": 18446744073709551615})";
  CHECK(parse_strict_json(text, "a.json") == json::parse(text));
  nlohmann::ordered_json ordered;
  CHECK_FALSE(parse_json(text, ordered).has_value());
  CHECK(ordered.dump() == nlohmann::ordered_json::parse(text).dump());
  CHECK(parse_strict_json("7", "a.json") == 7);
}

TEST_CASE("strict json: what is refused is named, with its place") {
  const struct {
    std::string text, message;
  } cases[] = {
      {"", "a.json is not valid JSON (it is empty); the file is damaged"},
      {"{\"a\":1", "a.json is not valid JSON (it ends too early, after 6 bytes)"},
      {"{\"a\":}", "(\"}\" at byte 5 cannot stand there)"},
      {"{} {}", "(\"{\" at byte 3 cannot stand there)"},
      {"{\"a\":1e999}", "(the number 1e999 at byte 5 is too large)"},
      {"{\"\xff\":1}", "(byte 2 is not UTF-8)"},
      {"[\"a\nb\"]", "(a text has a control character at byte 3)"},
      {R"({"a":1,"b":{"a":1,"c":2,"a":3}})", "a.json has the key \"a\" twice"},
      {repeated("[", 17) + repeated("]", 17), "a.json is nested deeper than 16 levels"},
      {repeated("{\"a\":", 100000), "a.json is nested deeper than 16 levels"},
  };
  for (const auto& [text, message] : cases) {
    INFO(text.substr(0, 50));
    CHECK_THAT(refusal(text), Catch::Matchers::Contains(message));
  }
  CHECK(refusal(repeated("[", 16) + repeated("]", 16)) == "accepted");
  CHECK(refusal(R"([{"a":1},{"a":2}])") == "accepted");  // of two objects
}

TEST_CASE("strict json: values are counted, so that a short text cannot take much memory") {
  CHECK(refusal("[" + repeated("[],", 98) + "1]", {.values = 100}) == "accepted");
  CHECK_THAT(refusal("[" + repeated("[],", 99) + "1]", {.values = 100}),
             Catch::Matchers::Contains("a.json has more than 100 values"));
}

TEST_CASE("strict json: messages hold neither raw bytes of the text nor much of it") {
  const std::string evil = "\x1b[2J\x1b]0;owned\x07\xff\xc2\x9b";
  for (const std::string& text :
       {evil, "{" + evil, "{\"a\":" + evil + "}", "{\"" + evil + "\":1}", "[1," + evil, "\"" + evil,
        repeated("\x1b", 100000), "[" + repeated("9", 100000) + "]", "[1e" + repeated("9", 100000) + "]",
        "{\"" + repeated("k", 100000) + "\":1,\"" + repeated("k", 100000) + "\":2}",
        std::string("{\"\xc2\x9b\x7f\":1,\"\xc2\x9b\x7f\":2}")}) {
    const std::string message = refusal(text);
    INFO(message);
    if (message == "accepted") continue;  // a long number that fits
    CHECK(message.size() < 300);
    for (std::size_t i = 0; i < message.size(); ++i) {
      const auto byte = static_cast<unsigned char>(message[i]);
      CHECK(byte >= 0x20);
      CHECK(byte < 0x7f);
    }
  }
}

TEST_CASE("strict json: names and values in messages are in quotes, escaped and cut") {
  CHECK(in_quotes("a \"b\" \x1b[2J \xc2\x9b \x7f") == "\"a \\\"b\\\" \\u001b[2J \\x9b \\x7f\"");
  CHECK(in_quotes(std::string(1000, 'x')).size() == 103);
  CHECK(excerpt(json{{"a", {1, 2}}}) == R"({"a":[1,2]})");
  CHECK(excerpt(json(std::string(1000, 'x'))).ends_with("xxx..."));
}
