// libFuzzer: any bytes as a checkpoint's manifest and as a model's config.json. Each is understood (and then a manifest
// says the same when written again), or an Error is thrown.
//   cmake --preset fuzz && cmake --build --preset fuzz --target checkpoint_manifest_fuzz
//   build/fuzz/checkpoint_manifest_fuzz CORPUS
#include <cstdint>
#include <cstdlib>

#include "bittern/checkpoint.h"
#include "bittern/config.h"
#include "bittern/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bittern;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const Manifest manifest = parse_manifest(text, "manifest.json");
    const std::string again = manifest_text(manifest);
    if (manifest_text(parse_manifest(again, "manifest.json")) != again) std::abort();
  } catch (const Error&) {
  }
  try {
    if (parse_model(text, "config.json").head_dim < 1) std::abort();
  } catch (const Error&) {
  }
  return 0;
}
