// SentencePiece model files from hostile bytes: loading, then a round of encoding and decoding.
#include "bittern/error.h"
#include "bittern/tokenizer.h"
#include "fuzz/fuzz_folder.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto tokenizer = bittern::Tokenizer::from_bytes(std::string(bittern_fuzz::text(data, size)), "fuzz.model");
    tokenizer.decode(tokenizer.encode("The  quick \xEF\xBC\xA2rown f\xC3\xB6x,\n\n12 jumps \xE6\x97\xA5 <s>"));
  } catch (const bittern::Error&) {
  }
  return 0;
}
