// attention on the shapes of a 5M and a 30M model and around them, against the peak of the instruction that it uses.
//
//   attention_bench [--isa NAME|all] [--dtype f32|bf16|both] [--threads N] [--seconds S] [--filter TEXT] [--cpu-time]
//
// Operations counted are the causal ones: T (T + 1) / 2 scores of 2 D multiply-adds forward, 5 D backward (the backward
// pass computes the scores again). attention_torch.py prints the same shapes for PyTorch's
// scaled_dot_product_attention. The second table is Gemma's: windows and soft caps beside plain attention of the same
// shape, in turns. The last table is generation: one row against a cache, which must be read once, against
// the memory's reading speed.
#include <sys/mman.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "bench/machine.h"
#include "bittern/ops.h"
#include "bittern/quant/bf16.h"
#include "bittern/quant/philox.h"
#include "ops/cpu/attention/attention.h"

using namespace bittern;
using namespace bittern::cpu;

namespace {

constexpr AttentionShape shapes[] = {
    {.batch = 8, .sequence_length = 256, .heads = 4, .kv_heads = 4, .head_dim = 64},
    {.batch = 8, .sequence_length = 256, .heads = 8, .kv_heads = 8, .head_dim = 32},
    {.batch = 4, .sequence_length = 512, .heads = 5, .kv_heads = 5, .head_dim = 128},
    {.batch = 4, .sequence_length = 512, .heads = 10, .kv_heads = 10, .head_dim = 64},
    {.batch = 4, .sequence_length = 512, .heads = 12, .kv_heads = 4, .head_dim = 64},
    {.batch = 1, .sequence_length = 2048, .heads = 8, .kv_heads = 1, .head_dim = 64},
    {.batch = 1, .sequence_length = 512, .heads = 1, .kv_heads = 1, .head_dim = 64},
};

/// Memory in huge pages, as the back end gives it.
class Memory {
 public:
  explicit Memory(std::int64_t bytes) {
    constexpr std::size_t huge_page = 2u << 20;
    const std::size_t size = (static_cast<std::size_t>(bytes) + huge_page) / huge_page * huge_page;
    memory_.reset(std::aligned_alloc(huge_page, size));
    if (memory_ == nullptr) throw failure("memory: cannot get {} bytes", size);
    madvise(memory_.get(), size, MADV_HUGEPAGE);
  }
  void* get() const { return memory_.get(); }

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  std::unique_ptr<void, Free> memory_;
};

/// A matrix of numbers that are uniform in [-1, 1).
struct Array {
  Memory memory;
  Tensor tensor;
  Array(DType dtype, std::int64_t rows, std::int64_t cols, std::uint32_t seed)
      : memory(rows * cols * size_of(dtype)), tensor(memory.get(), dtype, {rows, cols}) {
    for (std::int64_t i = 0; i < rows * cols; ++i) {
      const PhiloxBlock block = philox_block(philox_key(seed, Purpose::test), static_cast<std::uint64_t>(i), 0, 0);
      const float x = 2.0f * uniform(block.word[0]) - 1.0f;
      if (dtype == DType::bf16)
        tensor.as<bf16>()[i] = to_bf16(x);
      else
        tensor.as<float>()[i] = x;
    }
  }
};

struct Options {
  double seconds = 0.4;
  bool cpu_time = false;
  std::string filter;
};

void bench_training(const AttentionShape& shape, DType dtype, const Options& options) {
  const std::string label = fmt::format("{} x T{} H{} KV{} D{}", shape.batch, shape.sequence_length, shape.heads,
                                        shape.kv_heads, shape.head_dim);
  if (label.find(options.filter) == std::string::npos) return;
  const std::int64_t rows = shape.batch * shape.sequence_length, cols = shape.heads * shape.head_dim;
  const Array qkv(dtype, rows, shape.packed(), 1), dout(dtype, rows, cols, 2), out(dtype, rows, cols, 3);
  const Array dqkv(dtype, rows, shape.packed(), 4),
      lse(DType::f32, shape.batch * shape.heads, shape.sequence_length, 5);
  const Memory workspace(attention_workspace_bytes(shape));
  const AttentionForward forward{.shape = shape, .qkv = qkv.tensor, .out = out.tensor, .lse = lse.tensor};
  const AttentionBackward backward{.shape = shape,
                                   .qkv = qkv.tensor,
                                   .out = out.tensor,
                                   .lse = lse.tensor,
                                   .dqkv = dqkv.tensor,
                                   .dout = dout.tensor};
  attention_forward(forward, workspace.get());

  double peak = measured_peak_gflops(dtype);
  const std::vector<double> times = bench::interleaved(
      {[&] { attention_forward(forward, workspace.get()); }, [&] { attention_backward(backward, workspace.get()); }},
      options.seconds, options.cpu_time ? bench::cpu_now : bench::now);
  peak = std::max(peak, measured_peak_gflops(dtype));
  const double T = static_cast<double>(shape.sequence_length), D = static_cast<double>(shape.head_dim);
  const double scores = static_cast<double>(shape.batch * shape.heads) * T * (T + 1.0) / 2.0;
  const double forward_gflops = scores * 4.0 * D / times[0] * 1e-9,
               backward_gflops = scores * 10.0 * D / times[1] * 1e-9;
  std::printf("%-12s %-4s %-26s %8.3f %7.1f %4.0f %% %9.3f %7.1f %4.0f %%\n", std::string(name(isa())).c_str(),
              std::string(name(dtype)).c_str(), label.c_str(), times[0] * 1e3, forward_gflops,
              100.0 * forward_gflops / peak, times[1] * 1e3, backward_gflops, 100.0 * backward_gflops / peak);
  std::fflush(stdout);
}

/// Forward and backward with scores made in several ways, in turns; each beside the first.
void bench_scores(DType dtype, const Options& options) {
  const AttentionShape shape{.batch = 1, .sequence_length = 4096, .heads = 4, .kv_heads = 1, .head_dim = 256};
  const std::int64_t rows = shape.rows(), cols = shape.heads * shape.head_dim;
  const Array qkv(dtype, rows, shape.packed(), 1), dout(dtype, rows, cols, 2), out(dtype, rows, cols, 3);
  const Array dqkv(dtype, rows, shape.packed(), 4), lse(DType::f32, shape.heads, shape.sequence_length, 5);
  const Memory workspace(attention_workspace_bytes(shape));
  const struct {
    const char* name;
    AttentionScores scores;
  } ways[] = {{"all positions", {}},
              {"window 1024", {.window = 1024}},
              {"window 512", {.window = 512}},
              {"soft cap 50", {.softcap = 50.0f}}};
  std::vector<std::function<void()>> runs;
  for (const auto& way : ways)
    for (const bool backward : {false, true})
      runs.emplace_back([&, backward] {
        if (!backward)
          return attention_forward(
              {.shape = shape, .scores = way.scores, .qkv = qkv.tensor, .out = out.tensor, .lse = lse.tensor},
              workspace.get());
        attention_backward({.shape = shape,
                            .scores = way.scores,
                            .qkv = qkv.tensor,
                            .out = out.tensor,
                            .lse = lse.tensor,
                            .dqkv = dqkv.tensor,
                            .dout = dout.tensor},
                           workspace.get());
      });
  const std::vector<double> times =
      bench::interleaved(runs, 4 * options.seconds, options.cpu_time ? bench::cpu_now : bench::now);
  for (std::size_t i = 0; i < std::size(ways); ++i)
    std::printf("%-12s %-4s T4096 H4 KV1 D256 %-14s fwd %8.1f ms %5.2f   bwd %8.1f ms %5.2f\n",
                std::string(name(isa())).c_str(), std::string(name(dtype)).c_str(), ways[i].name, times[2 * i] * 1e3,
                times[2 * i] / times[0], times[2 * i + 1] * 1e3, times[2 * i + 1] / times[1]);
}

void bench_generation(std::int64_t heads, std::int64_t kv_heads, std::int64_t D, std::int64_t rows,
                      std::int64_t position, DType dtype, double read_gbs, const Options& options) {
  const AttentionShape shape{.batch = 1, .sequence_length = rows, .heads = heads, .kv_heads = kv_heads, .head_dim = D};
  const Array qkv(dtype, rows, shape.packed(), 1), out(dtype, rows, heads * D, 2);
  const Array k(dtype, position + rows, kv_heads * D, 3), v(dtype, position + rows, kv_heads * D, 4);
  const Memory workspace(attention_workspace_bytes(shape));
  const double time = bench::interleaved({[&] {
                                           attention_cached({.shape = shape,
                                                             .qkv = qkv.tensor,
                                                             .out = out.tensor,
                                                             .k_cache = k.tensor,
                                                             .v_cache = v.tensor,
                                                             .first_position = position},
                                                            workspace.get());
                                         }},
                                         options.seconds, options.cpu_time ? bench::cpu_now : bench::now)[0];
  const double gbs = static_cast<double>(k.tensor.bytes() + v.tensor.bytes()) / time * 1e-9;
  const std::string label = fmt::format("{} rows at {} H{} KV{} D{}", rows, position, heads, kv_heads, D);
  std::printf("%-12s %-4s %-30s %8.3f ms %7.1f GB/s %4.0f %%\n", std::string(name(isa())).c_str(),
              std::string(name(dtype)).c_str(), label.c_str(), time * 1e3, gbs, 100.0 * gbs / read_gbs);
}

int run(int argc, char** argv) {
  CLI::App app{"attention against the machine's peak"};
  std::string isa_name, dtype_name = "both";
  Options options;
  int threads = 0;
  app.add_option("--isa", isa_name, "instruction set, or all");
  app.add_option("--dtype", dtype_name, "f32, bf16 or both");
  app.add_option("--threads", threads, "0: all CPUs");
  app.add_option("--seconds", options.seconds, "for each line");
  app.add_option("--filter", options.filter, "only shapes whose text contains this");
  app.add_flag("--cpu-time", options.cpu_time, "time that the threads ran: for a machine shared with others");
  CLI11_PARSE(app, argc, argv);
  set_thread_count(threads);

  std::vector<Isa> isas;
  for (const Isa each : available_isas())
    if (isa_name == "all" || isa_name == name(each) || (isa_name.empty() && each == isa())) isas.push_back(each);
  std::printf("# %s\n", bench::machine_line().c_str());
  std::printf("%-12s %-4s %-26s %8s %7s %6s %9s %7s %6s\n", "isa", "type", "shape", "fwd ms", "GFLOP/s", "peak",
              "bwd ms", "GFLOP/s", "peak");
  for (const Isa each : isas) {
    set_isa(each);
    for (const DType dtype : {DType::f32, DType::bf16})
      for (const AttentionShape& shape : shapes)
        if (dtype_name == "both" || dtype_name == name(dtype)) bench_training(shape, dtype, options);
  }
  if (!options.filter.empty()) return 0;
  for (const Isa each : isas) {
    set_isa(each);
    for (const DType dtype : {DType::f32, DType::bf16})
      if (dtype_name == "both" || dtype_name == name(dtype)) bench_scores(dtype, options);
  }
  const double read_gbs = measured_stream_gbs(1, 0);
  for (const Isa each : isas) {
    set_isa(each);
    for (const DType dtype : {DType::f32, DType::bf16})
      if (dtype_name == "both" || dtype_name == name(dtype)) {
        for (const std::int64_t rows : {1, 4, 7, 8, 64})
          bench_generation(10, 10, 64, rows, 511, dtype, read_gbs, options);
        bench_generation(32, 8, 128, 1, 8191, dtype, read_gbs, options);
      }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
