// What the config tests share.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "bittern/config.h"
#include "bittern/error.h"
#include "catch.h"
#include "temporary_folder.h"

namespace bittern {

/// The message with which a config is refused, or "accepted". Whatever is refused is the user's input: exit code 2.
inline std::string refusal(const std::string& text, const std::vector<std::string>& settings = {}) {
  try {
    (void)parse_config(text, "a.json", settings);
  } catch (const Error& error) {
    CHECK(error.exit_code() == ExitCode::bad_input);
    return error.what();
  }
  return "accepted";
}

inline std::string file_refusal(const std::string& file, const std::vector<std::string>& settings = {}) {
  try {
    (void)load_config(file, settings);
  } catch (const Error& error) {
    CHECK(error.exit_code() == ExitCode::bad_input);
    return error.what();
  }
  return "accepted";
}

inline std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace bittern
