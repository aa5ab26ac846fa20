// How much memory this process can still take, and how much it has taken, as /proc, cgroups and getrusage tell it.
#include "base/machine_memory.h"

#include <sys/resource.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>

namespace bittern {
namespace {

constexpr std::int64_t unlimited = std::numeric_limits<std::int64_t>::max();

/// The number after `key` in a file of "key: number kB" lines, in bytes; `unlimited` where there is none.
std::int64_t number_in(const std::string& path, const std::string& key, std::int64_t unit) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(key)) continue;
    std::istringstream words(line.substr(key.size()));
    if (std::int64_t value = 0; words >> value) return value * unit;
  }
  return unlimited;
}

}  // namespace

std::int64_t available_memory() {
  std::int64_t available = number_in("/proc/meminfo", "MemAvailable:", 1024);
  // Every cgroup from this process's own up to the root may have a limit. What its page cache holds can be given back.
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool v2 = controllers.empty();
    if (!v2 && controllers.find("memory") == std::string::npos) continue;
    const std::string root = v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    for (std::string group = line.substr(second + 1);; group.resize(group.rfind('/'))) {
      const std::string folder = root + group;
      const std::int64_t limit = number_in(folder + (v2 ? "/memory.max" : "/memory.limit_in_bytes"), "", 1);
      const std::int64_t used = number_in(folder + (v2 ? "/memory.current" : "/memory.usage_in_bytes"), "", 1);
      if (limit < unlimited && used < unlimited) {
        std::int64_t cache = 0;
        for (const char* key : {"inactive_file ", "active_file "})
          if (const std::int64_t bytes = number_in(folder + "/memory.stat", key, 1); bytes < unlimited) cache += bytes;
        available = std::min(available, std::max<std::int64_t>(0, limit - std::max<std::int64_t>(0, used - cache)));
      }
      if (group.find('/') == std::string::npos) break;
    }
  }
  return available;
}

std::int64_t peak_resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
}

}  // namespace bittern
