// Token files of every format, and data.json, from hostile bytes. The first byte chooses what the rest is.
#include <algorithm>
#include <vector>

#include "bittern/error.h"
#include "bittern/token_file.h"
#include "fuzz/fuzz_folder.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bittern_fuzz::Folder folder;
  if (size == 0) return 0;
  const std::string_view bytes = bittern_fuzz::text(data + 1, size - 1);
  std::string path;
  switch (data[0] % 3) {
    case 0:
      path = folder.write("file.bin", bytes);
      break;
    case 1:
      folder.write("pair.idx", bytes);
      folder.write("pair.bin", std::string(64, '\1'));
      path = folder.path + "/pair";
      break;
    default:
      folder.write("data.json", bytes);
      folder.write("train_00000.bin", std::string(64, '\0'));
      path = folder.path;
  }
  try {
    const bittern::TokenStream stream = bittern::TokenStream::open(path);
    std::vector<std::int32_t> ids(static_cast<std::size_t>(std::min<std::int64_t>(stream.token_count(), 4096)));
    stream.read(0, ids);
    stream.verify_checksums();
  } catch (const bittern::Error&) {
  }
  return 0;
}
