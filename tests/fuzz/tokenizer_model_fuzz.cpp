// SentencePiece model files from hostile bytes: loading, then a round of encoding and decoding. In parts a text must have the
// same ids as in one.
#include <cstdlib>

#include "bittern/error.h"
#include "bittern/tokenizer.h"
#include "fuzz/fuzz_folder.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto tokenizer = bittern::Tokenizer::from_bytes(std::string(bittern_fuzz::text(data, size)), "fuzz.model");
    const std::string text = "The  quick \xEF\xBC\xA2rown f\xC3\xB6x,\n\n12 jumps \xE6\x97\xA5 <s>";
    const std::vector<std::int32_t> whole = tokenizer.encode(text);
    tokenizer.decode(whole);
    bittern::TextEncoder encoder(tokenizer);
    std::vector<std::int32_t> parts;
    for (std::size_t at = 0; at < text.size();) {
      std::size_t end = at + 1 + size % 3;
      while (end < text.size() && (text[end] & '\xC0') == '\x80') ++end;
      encoder.add(std::string_view(text).substr(at, end - at), parts);
      at = end;
    }
    encoder.end(parts);
    if (parts != whole) abort();
  } catch (const bittern::Error&) {
  }
  return 0;
}
