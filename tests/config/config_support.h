// What the config tests share.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "bittern/config.h"
#include "bittern/error.h"
#include "catch.h"

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

/// An empty folder that goes when the test ends.
class TestFolder {
 public:
  explicit TestFolder(const std::string& name) : path_(std::filesystem::temp_directory_path() / ("bittern_" + name)) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
    path_ = std::filesystem::canonical(path_);
  }
  ~TestFolder() {
    std::error_code code;
    std::filesystem::remove_all(path_, code);
  }
  /// Writes a file below the folder and gives its path.
  std::string write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << text;
    return (path_ / name).string();
  }
  std::string at(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

inline std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace bittern
