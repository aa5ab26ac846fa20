// Makes or opens the folder of a run, and locks it.
#include "train/session/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "bittern/error.h"
#include "bittern/file.h"

namespace bittern {

namespace fs = std::filesystem;

RunFolder RunFolder::open(const std::string& path) {
  std::error_code error;
  if (fs::exists(path, error)) {
    if (!fs::is_directory(path, error)) throw input_error("--out {}: it is a file; name a folder", path);
    const bool is_run = fs::exists(path + "/.lock", error) || fs::exists(path + "/config.json", error);
    if (!is_run && !fs::is_empty(path, error))
      throw input_error(
          "--out {}: the folder holds something that is not a run of bittern; name a new or an empty folder", path);
  }
  make_directories(path);
  const std::string lock_path = path + "/.lock";
  const int lock = ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock < 0)
    throw failure("{}: cannot be written ({}); make the folder writable or choose another --out", lock_path,
                  std::strerror(errno));
  RunFolder folder(path, lock);
  if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
    const int reason = errno;
    if (reason == EWOULDBLOCK)
      throw input_error("--out {}: another bittern is training into this folder; wait for it or choose another --out",
                        path);
    throw failure("{}: cannot be locked ({}); choose an --out on a file system with locks, for example a local disk",
                  lock_path, std::strerror(reason));
  }
  return folder;
}

RunFolder::~RunFolder() {
  if (lock_ >= 0) close(lock_);
}

}  // namespace bittern
