// What every benchmark says and does first: which machine this is, and how a time is taken on a machine that others use
// too.
#pragma once

#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <fstream>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "bittern/error.h"
#include "ops/cpu/machine/cpu_features.h"
#include "ops/cpu/machine/machine_peak.h"
#include "ops/cpu/machine/parallel.h"

namespace bittern::bench {

inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Seconds that the threads of this process have run, spinning included, per thread of the pool.
inline double cpu_now() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec)) / cpu::thread_count();
}

/// "AMD EPYC, 2 threads, avx512_bf16; multiply-add 236 GFLOP/s f32, 473 bf16; memory 22 GB/s read, 20 copy"
inline std::string machine_line() {
  std::string line, model = "unknown CPU";
  for (std::ifstream file("/proc/cpuinfo"); std::getline(file, line);)
    if (line.rfind("model name", 0) == 0) {
      model = line.substr(line.find(':') + 2);
      break;
    }
  return fmt::format(
      "{}, {} threads, {}; multiply-add {:.0f} GFLOP/s f32, {:.0f} bf16; memory {:.1f} GB/s read, {:.1f} copy", model,
      cpu::thread_count(), cpu::name(cpu::isa()), cpu::measured_peak_gflops(DType::f32),
      cpu::measured_peak_gflops(DType::bf16), cpu::measured_stream_gbs(1, 0), cpu::measured_stream_gbs(1, 1));
}

/// Runs the contenders in turn, round after round, for about `seconds` (three rounds at least after a first that is not
/// counted), and gives each one's 20th percentile time: neighbours on the machine slow some rounds, of all alike.
/// `clock` is now, or cpu_now where the cores are not ours alone (blind to a thread that sleeps until another is done).
inline std::vector<double> interleaved(const std::vector<std::function<void()>>& contenders, double seconds,
                                       double (*clock)() = now) {
  std::vector<std::vector<double>> times(contenders.size());
  const double start = now();
  for (int round = 0; round < 4 || now() - start < seconds; ++round)
    for (std::size_t i = 0; i < contenders.size(); ++i) {
      const double begin = clock();
      contenders[i]();
      if (round > 0) times[i].push_back(clock() - begin);
    }
  std::vector<double> result;
  for (std::vector<double>& list : times) {
    std::sort(list.begin(), list.end());
    result.push_back(list[list.size() / 5]);
  }
  return result;
}

/// n / sum(1 / x): the rate over all shapes if each had the same work.
inline double harmonic_mean(const std::vector<double>& rates) {
  double sum = 0.0;
  for (const double x : rates) sum += 1.0 / x;
  return rates.empty() ? std::numeric_limits<double>::quiet_NaN() : static_cast<double>(rates.size()) / sum;
}

}  // namespace bittern::bench
