// Makes the folder of `prepare`: writes into OUT/.preparing, then moves the files to OUT, data.json last. A folder
// without data.json is not complete. Refuses a folder that holds anything else, and one that is being written to.
#include "data/output_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <filesystem>
#include <set>

#include "bittern/error.h"
#include "bittern/file.h"
#include "data/manifest.h"

namespace bittern {
namespace {

namespace fs = std::filesystem;

constexpr const char* working_name = ".preparing";

bool is_ours(const std::string& name) {
  return name == working_name || name == tokenizer_name || name == manifest_name ||
         ((name.starts_with("train_") || name.starts_with("valid_")) && name.ends_with(".bin"));
}

}  // namespace

OutputFolder::OutputFolder(const std::string& out, bool overwrite) : out_(out), working_(out + "/" + working_name) {
  if (out.empty()) throw input_error("no output folder is given; name one");
  std::error_code code;
  created_ = !fs::exists(out, code);
  if (!created_ && !fs::is_directory(out, code))
    throw input_error("{}: is a file; expected a folder, or a name that is free; choose another", out);
  if (!created_) {
    if (!overwrite && fs::exists(out + "/" + manifest_name, code))
      throw input_error("{}: holds prepared data already; choose another folder, or pass --overwrite to replace it",
                        out);
    for (const auto& entry : fs::directory_iterator(out, code))
      if (!is_ours(entry.path().filename().string()))
        throw input_error("{}: holds {}, which `bittern prepare` did not make; choose an empty or new folder", out,
                          entry.path().filename().string());
    if (code) throw input_error("{}: cannot list the folder: {}; check its permissions", out, code.message());
  }
  make_directories(working_);
  lock_ = ::open(working_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock_ < 0 || ::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    if (lock_ >= 0) ::close(lock_);
    throw input_error("{}: another `bittern prepare` is writing there; wait for it, or choose another folder", out);
  }
  for (const auto& entry : fs::directory_iterator(working_)) fs::remove_all(entry.path());  // of a run that was killed
}

OutputFolder::~OutputFolder() {
  std::error_code ignored;
  fs::remove_all(working_, ignored);
  if (created_) ::rmdir(out_.c_str());  // only if nothing was put in place
  ::close(lock_);
}

void OutputFolder::commit(const std::vector<std::string>& files, const std::string& last) {
  sync_directory(working_);
  // From here until `last` is in place the folder is not complete, and looks it.
  std::error_code ignored;
  fs::remove(out_ + "/" + last, ignored);
  sync_directory(out_);
  const std::set<std::string> kept(files.begin(), files.end());
  std::vector<std::string> stale;
  for (const auto& entry : fs::directory_iterator(out_)) {
    const std::string name = entry.path().filename().string();
    if (is_ours(name) && name != working_name && !kept.contains(name)) stale.push_back(entry.path().string());
  }
  for (const std::string& path : stale) fs::remove(path, ignored);
  for (const std::string& name : files) rename_path(working_ + "/" + name, out_ + "/" + name);
  sync_directory(out_);
  rename_path(working_ + "/" + last, out_ + "/" + last);
  sync_directory(out_);
}

}  // namespace bittern
