// Text files from hostile bytes: plain, JSON lines, gzip or zstd (by their first bytes), cut into blocks of two sizes,
// which must give the same text.
#include <cstdlib>

#include "bittern/error.h"
#include "data/block_text.h"
#include "fuzz/fuzz_folder.h"

namespace {

std::string all_text(const std::vector<bittern::TextFile>& files, std::int64_t block_bytes) {
  std::string text;
  bittern::BlockReader reader(files, {block_bytes, 1 << 20});
  while (auto block = reader.next()) {
    const bittern::BlockText read = bittern::read_block(std::move(*block), files.front(), {"text", false, 1 << 20});
    for (const bittern::TextRange& range : read.ranges) {
      text += read.text.substr(range.begin, range.end - range.begin);
      if (range.ends_document) text += '\0';
    }
    if (text.size() > (std::size_t{64} << 20)) break;  // a small archive may hold much
  }
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bittern_fuzz::Folder folder;
  if (size < 2) return 0;
  try {
    const char* name = data[0] % 2 ? "a.jsonl" : "a.txt";
    const auto files = bittern::find_text_files({folder.write(name, bittern_fuzz::text(data + 1, size - 1))});
    if (all_text(files, 1) != all_text(files, 1 << 20)) abort();
  } catch (const bittern::Error&) {
  }
  return 0;
}
