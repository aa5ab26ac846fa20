// libFuzzer: any bytes as a safetensors file. It opens with every tensor inside and every byte in one tensor, or it
// throws an Error; anything else is a finding.
//   cmake --preset fuzz && cmake --build --preset fuzz --target safetensors_fuzz && build/fuzz/safetensors_fuzz CORPUS
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <vector>

#include "bittern/error.h"
#include "bittern/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bittern;
  static const int memory = ::memfd_create("safetensors", 0);
  static const std::string path = "/proc/self/fd/" + std::to_string(memory);
  if (::ftruncate(memory, 0) != 0 || ::pwrite(memory, data, size, 0) != static_cast<ssize_t>(size)) std::abort();
  try {
    const SafetensorsFile file = SafetensorsFile::open(path);
    std::int64_t total = 0;
    for (const SafetensorsEntry& tensor : file.tensors()) {
      std::vector<std::byte> bytes(static_cast<std::size_t>(tensor.bytes));
      file.read(tensor.name, bytes);
      total += tensor.bytes;
    }
    std::uint64_t header = 0;
    for (int i = 7; i >= 0; --i) header = header << 8 | data[i];
    if (total + 8 + static_cast<std::int64_t>(header) != static_cast<std::int64_t>(size)) std::abort();
  } catch (const Error&) {
  }
  return 0;
}
