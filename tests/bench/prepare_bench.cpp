// prepare against the tokenizer library's own command line, on the same text with the same model.
//
//   prepare_bench TEXT [VOCAB]
//
// Trains a model on TEXT through `prepare`, then times, best of three: `prepare` with that model (reading, checking,
// encoding, writing shards), with one thread and with all, and `spm_encode --output_format=id` from the package
// `sentencepiece` as it is (reading, encoding, writing text). CPU seconds tell more than the clock on a busy machine.
#include <stdlib.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "bittern/error.h"
#include "bittern/prepare.h"

namespace {

struct Seconds {
  double clock = 1e9, cpu = 1e9;
};

double cpu_seconds() {
  double sum = 0;
  for (const auto who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    struct rusage usage;
    ::getrusage(who, &usage);
    sum += static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
  }
  return sum;
}

template <typename Action>
Seconds best_of_three(Action action) {
  Seconds best;
  for (int i = 0; i < 3; ++i) {
    const double cpu = cpu_seconds();
    const auto start = std::chrono::steady_clock::now();
    action();
    best.clock = std::min(best.clock, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    best.cpu = std::min(best.cpu, cpu_seconds() - cpu);
  }
  return best;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2) {
    std::puts("usage: prepare_bench TEXT [VOCAB]");
    return 2;
  }
  const std::string text = argv[1];
  const int vocab = argc > 2 ? std::atoi(argv[2]) : 4096;
  std::string folder = (std::filesystem::temp_directory_path() / "bittern_prepare_bench_XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) return 1;
  const std::string model = folder + "/trained/tokenizer.model";
  bittern::prepare({.inputs = {text}, .out = folder + "/trained", .vocab_size = vocab});
  const double megabytes = static_cast<double>(std::filesystem::file_size(text)) / 1e6;
  std::printf("%.1f MB, vocabulary %d, best of three\n%-24s %8s %8s %9s\n", megabytes, vocab, "", "clock s", "CPU s",
              "MB/CPU s");
  const auto report = [&](const char* name, Seconds seconds) {
    std::printf("%-24s %8.2f %8.2f %9.1f\n", name, seconds.clock, seconds.cpu, megabytes / seconds.cpu);
    return seconds;
  };
  const auto ours = [&](int threads) {
    return best_of_three([&] {
      bittern::prepare(
          {.inputs = {text}, .out = folder + "/out", .tokenizer = model, .threads = threads, .overwrite = true});
    });
  };
  const Seconds one = report("prepare, one thread", ours(1));
  const Seconds all = report("prepare, all threads", ours(0));
  const std::string command =
      "spm_encode --model='" + model + "' --output_format=id --input='" + text + "' --output='" + folder + "/ids.txt'";
  int failed = 0;
  const Seconds theirs = best_of_three([&] { failed |= std::system(command.c_str()); });
  if (failed) {
    std::puts("spm_encode could not be run: install the package `sentencepiece`");
  } else {
    report("spm_encode", theirs);
    std::printf("prepare is %.1f times as fast with one thread, %.1f times with all (clock); %.1f times in CPU time\n",
                theirs.clock / one.clock, theirs.clock / all.clock, theirs.cpu / one.cpu);
  }
  std::filesystem::remove_all(folder);
  return 0;
} catch (const bittern::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
