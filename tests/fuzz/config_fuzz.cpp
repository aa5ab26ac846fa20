// libFuzzer: any bytes as a config, and, after a line break, as a --set.
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "bittern/config.h"
#include "bittern/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::size_t line = std::min(bytes.rfind('\n'), bytes.size());
  std::vector<std::string> settings;
  if (line < bytes.size()) settings.emplace_back(bytes.substr(line + 1));
  try {
    const std::string once = bittern::config_json(bittern::parse_config(bytes.substr(0, line), "fuzz.json", settings));
    if (bittern::config_json(bittern::parse_config(once, "once.json")) != once) std::abort();
  } catch (const bittern::Error& error) {
    if (error.exit_code() != bittern::ExitCode::bad_input) std::abort();
  }
  return 0;
}
