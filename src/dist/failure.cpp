// RUN/failure.json: made by whoever fails first (O_EXCL), so that one of many ranks tells why the run ended.
#include "bittern/failure.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>

#include "base/printable.h"
#include "bittern/file.h"
#include "bittern/strict_json.h"

namespace bittern {
namespace {

std::string path_of(const std::string& run_folder) {
  return run_folder + "/failure.json";
}

/// One call, so that the lines of ranks that write to one terminal do not mix.
void write_all(int descriptor, std::string_view text) {
  static_cast<void>(!::write(descriptor, text.data(), text.size()));
}

}  // namespace

bool write_failure(const std::string& run_folder, const FailureNote& note) {
  const int file = ::open(path_of(run_folder).c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (file < 0) return errno != EEXIST;
  const nlohmann::ordered_json object = {
      {"rank", note.rank}, {"host", note.host}, {"step", note.step}, {"message", note.message}, {"code", note.code}};
  write_all(file, object.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  ::close(file);
  return true;
}

void fail_together(World& world, const std::string& run_folder, std::int64_t step, ExitCode code,
                   std::string_view message) {
  const RankInfo& info = world.info();
  const int number = code == ExitCode::ok ? static_cast<int>(ExitCode::failure) : static_cast<int>(code);
  const FailureNote note{
      .rank = info.rank, .host = info.host, .message = std::string(message), .step = step, .code = number};
  if (run_folder.empty() || write_failure(run_folder, note))
    write_all(STDERR_FILENO,
              fmt::format("bittern: rank {} on host {}: {}\n", info.rank, info.host, printable(message)));
  world.abort(number);
  std::abort();  // g++ 12 does not see that a virtual function never returns
}

std::string take_failure(const std::string& run_folder) {
  const std::string path = path_of(run_folder);
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return {};
  std::string sentence = "the run was ended by a failure whose note cannot be read";
  try {
    const nlohmann::json note = parse_strict_json(read_whole_file(path, 1 << 20, "a note of a failure"), path);
    sentence =
        fmt::format("the run was ended at step {} by rank {} on host {}: {}", note.at("step").dump(),
                    note.at("rank").dump(), note.at("host").get<std::string>(), note.at("message").get<std::string>());
  } catch (const std::exception&) {  // a rank was killed while it wrote
  }
  std::filesystem::remove(path, error);
  return sentence;
}

}  // namespace bittern
