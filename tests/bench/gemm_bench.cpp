// gemm on every linear layer of a 5M and a 30M model, as training calls it, against the peak of the instruction it uses
// and (if built with oneDNN) against oneDNN's matmul, all interleaved in one process.
//
//   gemm_bench [--isa NAME|all] [--compute f32|bf16|both] [--threads N] [--seconds S] [--filter TEXT] [--alone]
//   [--cpu-time] [--codes] [--int8]
//
// --codes: instead, the products of quantized weights and activations beside the same products of bf16 ones.
// --int8: instead, forward of integers, in each way that the CPU has to sum them, beside its peak and beside bf16.
//
// forward   Y (tokens,out)  = X W^T       dgrad  dX (tokens,in) = dY W       wgrad  dW (out,in) += dY^T X
// f32:  everything f32.   bf16: activations and their gradients bf16, weights and dW f32; oneDNN is given weights that
// are bf16 already, and f32 outputs.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bench/machine.h"
#include "bittern/quant/bf16.h"
#include "bittern/quant/philox.h"
#include "ops/cpu/gemm/gemm.h"

#ifdef BITTERN_WITH_ONEDNN
#include <oneapi/dnnl/dnnl.hpp>
#endif

using namespace bittern;
using namespace bittern::cpu;

namespace {

struct Layer {
  const char* name;
  std::int64_t tokens, out, in;
};
constexpr Layer layers[] = {
    {"5M qkv", 2048, 768, 256},     {"5M o", 2048, 256, 256},         {"5M gate_up", 2048, 1376, 256},
    {"5M down", 2048, 256, 688},    {"5M head", 2048, 4096, 256},     {"30M qkv", 2048, 1920, 640},
    {"30M o", 2048, 640, 640},      {"30M gate_up", 2048, 3584, 640}, {"30M down", 2048, 640, 1792},
    {"30M head", 1024, 32000, 640},
};

enum class Form { forward, dgrad, wgrad };
constexpr const char* form_names[] = {"forward", "dgrad", "wgrad"};

/// A buffer of either type with the same values.
struct Buffer {
  Buffer(std::int64_t size, DType dtype, std::uint32_t seed) : dtype_(dtype) {
    std::vector<float> values(static_cast<std::size_t>(size));
    for (std::size_t i = 0; i < values.size(); i += 4) {
      const PhiloxBlock block = philox_block(philox_key(seed, Purpose::test), i, 0, 0);
      for (std::size_t j = i; j < std::min(i + 4, values.size()); ++j) values[j] = uniform(block.word[j - i]) - 0.5f;
    }
    if (dtype == DType::f32) {
      f32_ = std::move(values);
    } else {
      bf16_.resize(values.size());
      for (std::size_t i = 0; i < values.size(); ++i) bf16_[i] = to_bf16(values[i]);
    }
  }
  void* data() { return dtype_ == DType::f32 ? static_cast<void*>(f32_.data()) : bf16_.data(); }

 private:
  DType dtype_;
  std::vector<float> f32_;
  std::vector<bf16> bf16_;
};

struct Workspace {
  Workspace() : bytes(static_cast<std::size_t>(gemm_workspace_bytes(thread_count())) + 64) {}
  void* data() { return bytes.data() + (64 - reinterpret_cast<std::uintptr_t>(bytes.data()) % 64) % 64; }
  std::vector<unsigned char> bytes;
};

#ifdef BITTERN_WITH_ONEDNN
/// One matmul primitive with its operands, ready to execute.
class OneDnn {
 public:
  OneDnn(const GemmArgs& g, DType operands, void* a, void* b, float* c)
      : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {
    using dnnl::memory;
    const auto type = operands == DType::f32 ? memory::data_type::f32 : memory::data_type::bf16;
    const auto desc = [](std::int64_t rows, std::int64_t cols, memory::data_type t, std::int64_t stride,
                         bool transposed) {
      return memory::desc({rows, cols}, t, transposed ? memory::dims{1, stride} : memory::dims{stride, 1});
    };
    const auto a_desc = desc(g.m, g.k, type, g.a.stride, g.a.transposed),
               b_desc = desc(g.k, g.n, type, g.b.stride, g.b.transposed);
    const auto c_desc = desc(g.m, g.n, memory::data_type::f32, g.c_stride, false);
    dnnl::primitive_attr attributes;
    if (g.accumulate) {
      dnnl::post_ops sum;
      sum.append_sum(1.0f);
      attributes.set_post_ops(sum);
    }
    matmul_ =
        dnnl::matmul(dnnl::matmul::primitive_desc(dnnl::matmul::desc(a_desc, b_desc, c_desc), attributes, engine_));
    arguments_ = {{DNNL_ARG_SRC, memory(a_desc, engine_, a)},
                  {DNNL_ARG_WEIGHTS, memory(b_desc, engine_, b)},
                  {DNNL_ARG_DST, memory(c_desc, engine_, c)}};
  }
  void run() {
    matmul_.execute(stream_, arguments_);
    stream_.wait();
  }

 private:
  dnnl::engine engine_;
  dnnl::stream stream_;
  dnnl::matmul matmul_;
  std::unordered_map<int, dnnl::memory> arguments_;
};
#endif

struct Rates {
  double peak, ours, onednn;  // GFLOP/s; onednn 0 if not measured
};

Rates measure(const Layer& layer, Form form, DType compute, bool with_onednn, double seconds, double (*clock)()) {
  const DType activation = compute;  // f32 activations for f32 compute, bf16 for bf16
  const std::int64_t T = layer.tokens, N = layer.out, K = layer.in;
  Buffer x(T * K, activation, 1), dy(T * N, activation, 2), w(N * K, DType::f32, 3);
  Workspace workspace;
  const DType c_dtype = form == Form::wgrad ? DType::f32 : activation;
  const std::int64_t m = form == Form::wgrad ? N : T, n = form == Form::forward ? N : K;
  Buffer c(m * n, c_dtype, 4);
  GemmArgs g{.m = m,
             .n = n,
             .k = form == Form::forward ? K
                  : form == Form::dgrad ? N
                                        : T,
             .a = {},
             .b = {},
             .c = c.data(),
             .c_dtype = c_dtype,
             .c_stride = n,
             .accumulate = form == Form::wgrad,
             .bias = nullptr,
             .compute = compute,
             .workspace = workspace.data()};
  if (form == Form::forward) g.a = {x.data(), activation, K, false}, g.b = {w.data(), DType::f32, K, true};
  if (form == Form::dgrad) g.a = {dy.data(), activation, N, false}, g.b = {w.data(), DType::f32, K, false};
  if (form == Form::wgrad) g.a = {dy.data(), activation, N, true}, g.b = {x.data(), activation, K, false};

  double peak = 0.0;
  std::vector<std::function<void()>> contenders = {[&] { peak = std::max(peak, measured_peak_gflops(compute)); },
                                                   [&] { gemm(g); }};
#ifdef BITTERN_WITH_ONEDNN
  std::unique_ptr<Buffer> w_rounded, c_f32;
  std::unique_ptr<OneDnn> onednn;
  if (with_onednn) {
    w_rounded = std::make_unique<Buffer>(N * K, activation, 3);
    c_f32 = std::make_unique<Buffer>(m * n, DType::f32, 4);
    void* a = form == Form::forward ? x.data() : dy.data();
    void* b = form == Form::wgrad ? x.data() : w_rounded->data();
    onednn = std::make_unique<OneDnn>(g, compute, a, b, static_cast<float*>(c_f32->data()));
    contenders.push_back([&] { onednn->run(); });
  }
#endif
  const std::vector<double> times = bench::interleaved(contenders, seconds, clock);
  const double work = 2.0 * static_cast<double>(T * N * K) * 1e-9;
  return {peak, work / times[1], with_onednn ? work / times[2] : 0.0};
}

void run_table(DType compute, bool with_onednn, double seconds, const std::string& filter, double (*clock)()) {
  fmt::print("\n{} compute, {}, {} threads, GFLOP/s (share of the peak measured beside it)\n", name(compute),
             name(isa()), thread_count());
  fmt::print("{:<12} {:<8} {:>6} {:>6} {:>6} {:>8} {:>14} {:>16} {:>7}\n", "layer", "form", "tokens", "out", "in",
             "peak", "bittern", "oneDNN", "ratio");
  for (int f = 0; f < 3; ++f) {
    std::vector<double> ours, theirs, share;
    for (const Layer& layer : layers) {
      const std::string label = fmt::format("{} {}", layer.name, form_names[f]);
      if (label.find(filter) == std::string::npos) continue;
      const Rates r = measure(layer, static_cast<Form>(f), compute, with_onednn, seconds, clock);
      ours.push_back(r.ours);
      share.push_back(r.ours / r.peak);
      if (with_onednn) theirs.push_back(r.onednn);
      fmt::print("{:<12} {:<8} {:>6} {:>6} {:>6} {:>8.0f} {:>7.0f} {:>5.1f}%", layer.name, form_names[f], layer.tokens,
                 layer.out, layer.in, r.peak, r.ours, 100.0 * r.ours / r.peak);
      if (with_onednn)
        fmt::print(" {:>9.0f} {:>5.1f}% {:>6.2f}x", r.onednn, 100.0 * r.onednn / r.peak, r.ours / r.onednn);
      fmt::print("\n");
      std::fflush(stdout);
    }
    if (ours.empty()) continue;
    fmt::print("== {:<8} harmonic mean {:.0f} GFLOP/s, {:.1f}% of peak", form_names[f], bench::harmonic_mean(ours),
               100.0 * bench::harmonic_mean(share));
    if (with_onednn)
      fmt::print("; oneDNN {:.0f}, ratio {:.2f}x", bench::harmonic_mean(theirs),
                 bench::harmonic_mean(ours) / bench::harmonic_mean(theirs));
    fmt::print("\n");
  }
}

/// A matrix of random codes with a scale for each row, or of bf16.
struct Coded {
  Coded(std::int64_t rows, std::int64_t cols_, DType dtype_, std::uint32_t seed)
      : cols(cols_), dtype(dtype_), bytes(static_cast<std::size_t>(rows * row_bytes(dtype, cols) + 64)) {
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const std::uint32_t word = philox(philox_key(seed, Purpose::test), i, 0, 0);
      // Numbers of ordinary size: no NaN among E4M3 codes, exponents near 0 in bf16.
      bytes[i] = static_cast<unsigned char>(dtype == DType::bf16 && i % 2 == 1 ? 0x3f : word & 0xbfu);
    }
    if (is_quantized(dtype)) scales.assign(static_cast<std::size_t>(rows), 0.01f);
  }
  GemmMatrix matrix(bool transposed) const {
    return {.data = bytes.data(),
            .dtype = dtype,
            .stride = cols,
            .transposed = transposed,
            .scales = scales.empty() ? nullptr : scales.data()};
  }
  std::int64_t cols;
  DType dtype;
  std::vector<unsigned char> bytes;
  std::vector<float> scales;
};

/// Times of one product with x and w in bf16, and with each pair of types.
std::vector<double> measure_codes(const Layer& layer, Form form, std::span<const std::pair<DType, DType>> pairs,
                                  double seconds, double (*clock)()) {
  const std::int64_t T = layer.tokens, N = layer.out, K = layer.in;
  const Coded dy(T, N, DType::bf16, 1);
  Workspace workspace;
  std::vector<std::unique_ptr<Coded>> operands;
  std::vector<std::function<void()>> contenders;
  std::vector<float> c(static_cast<std::size_t>(std::max({T * N, T * K, N * K})));
  for (const auto& [x_type, w_type] : pairs) {
    const Coded& x = *operands.emplace_back(std::make_unique<Coded>(T, K, x_type, 2));
    const Coded& w = *operands.emplace_back(std::make_unique<Coded>(N, K, w_type, 3));
    GemmArgs g{.m = form == Form::wgrad ? N : T,
               .n = form == Form::forward ? N : K,
               .k = form == Form::forward ? K
                    : form == Form::dgrad ? N
                                          : T,
               .a = form == Form::forward ? x.matrix(false) : dy.matrix(form == Form::wgrad),
               .b = form == Form::wgrad ? x.matrix(false) : w.matrix(form == Form::forward),
               .c = c.data(),
               .c_dtype = form == Form::wgrad ? DType::f32 : DType::bf16,
               .c_stride = form == Form::forward ? N : K,
               .accumulate = form == Form::wgrad,
               .bias = nullptr,
               .compute = DType::bf16,
               .workspace = workspace.data()};
    contenders.push_back([g] { gemm(g); });
  }
  return bench::interleaved(contenders, seconds, clock);
}

void run_codes(double seconds, const std::string& filter, double (*clock)()) {
  constexpr std::pair<DType, DType> pairs[] = {
      {DType::bf16, DType::bf16}, {DType::bf16, DType::e4m3}, {DType::e4m3, DType::e4m3}, {DType::i8, DType::i8},
      {DType::bf16, DType::i4},   {DType::i8, DType::i4},     {DType::i8, DType::i2},     {DType::bf16, DType::i2}};
  fmt::print("\ncodes of x and w, bf16 compute, {}, {} threads: GFLOP/s of bf16, and speed relative to it\n",
             name(isa()), thread_count());
  fmt::print("{:<20} {:>8}", "layer", "bf16");
  for (const auto& [x, w] : std::span(pairs).subspan(1)) fmt::print(" {:>13}", fmt::format("{},{}", name(x), name(w)));
  fmt::print("\n");
  for (int f = 0; f < 3; ++f) {
    std::vector<std::vector<double>> ratios(std::size(pairs));
    for (const Layer& layer : layers) {
      const std::string label = fmt::format("{} {}", layer.name, form_names[f]);
      if (label.find(filter) == std::string::npos || label.find("head") != std::string::npos) continue;
      const std::vector<double> times = measure_codes(layer, static_cast<Form>(f), pairs, seconds, clock);
      fmt::print("{:<20} {:>8.0f}", label, 2e-9 * static_cast<double>(layer.tokens * layer.out * layer.in) / times[0]);
      for (std::size_t i = 1; i < times.size(); ++i) {
        ratios[i].push_back(times[0] / times[i]);
        fmt::print(" {:>12.2f}x", ratios[i].back());
      }
      fmt::print("\n");
      std::fflush(stdout);
    }
    if (ratios[1].empty()) continue;
    fmt::print("{:<20} {:>8}", fmt::format("== {}", form_names[f]), "");
    for (std::size_t i = 1; i < ratios.size(); ++i) fmt::print(" {:>12.2f}x", bench::harmonic_mean(ratios[i]));
    fmt::print("\n");
  }
}

constexpr const char* dot_names[] = {"vpmaddwd", "vpdpbusd", "tdpbssd"};

void run_int8(double seconds, const std::string& filter, double (*clock)()) {
  constexpr std::pair<DType, DType> pairs[] = {
      {DType::bf16, DType::bf16}, {DType::i8, DType::i8}, {DType::i8, DType::i4}, {DType::i8, DType::i2}};
  for (const Int8Dot dot : available_int8_dots()) {
    force_int8_dot(dot);
    fmt::print(
        "\nforward of 8-bit integers, {}, {}, {} threads: GOP/s (share of the peak measured beside it, and speed "
        "relative to bf16)\n",
        name(isa()), dot_names[static_cast<int>(dot)], thread_count());
    fmt::print("{:<20} {:>8} {:>8}", "layer", "peak", "bf16");
    for (const auto& [x, w] : std::span(pairs).subspan(1))
      fmt::print(" {:>20}", fmt::format("{},{}", name(x), name(w)));
    fmt::print("\n");
    std::vector<std::vector<double>> rates(std::size(pairs)), shares(std::size(pairs));
    for (const Layer& layer : layers) {
      const std::string label = fmt::format("{} forward", layer.name);
      if (label.find(filter) == std::string::npos || label.find("head") != std::string::npos) continue;
      const double before = measured_peak_gflops(DType::i8);
      const std::vector<double> times = measure_codes(layer, Form::forward, pairs, seconds, clock);
      const double peak = std::max(before, measured_peak_gflops(DType::i8));
      for (std::size_t i = 0; i < times.size(); ++i) {
        rates[i].push_back(2e-9 * static_cast<double>(layer.tokens * layer.out * layer.in) / times[i]);
        shares[i].push_back(rates[i].back() / peak);
        if (i == 0)
          fmt::print("{:<20} {:>8.0f} {:>8.0f}", label, peak, rates[0].back());
        else
          fmt::print(" {:>6.0f} {:>5.1f}% {:>5.2f}x", rates[i].back(), 100.0 * shares[i].back(), times[0] / times[i]);
      }
      fmt::print("\n");
      std::fflush(stdout);
    }
    if (rates[0].empty()) continue;
    fmt::print("{:<29} {:>8.0f}", "== harmonic mean", bench::harmonic_mean(rates[0]));
    for (std::size_t i = 1; i < rates.size(); ++i)
      fmt::print(" {:>6.0f} {:>5.1f}% {:>5.2f}x", bench::harmonic_mean(rates[i]),
                 100.0 * bench::harmonic_mean(shares[i]),
                 bench::harmonic_mean(rates[i]) / bench::harmonic_mean(rates[0]));
    fmt::print("\n");
  }
  force_int8_dot(std::nullopt);
}

int run(int argc, char** argv) {
  std::string isa_name, compute_name = "both", filter;
  int threads = 0;
  double seconds = 0.4;
  bool alone = false, cpu_time = false, codes = false, int8 = false;
  CLI::App app("gemm on the linear layers of a 5M and a 30M model");
  app.add_option("--isa", isa_name, "instruction set, or all (default: the best)");
  app.add_option("--compute", compute_name, "f32, bf16 or both")->check(CLI::IsMember({"f32", "bf16", "both"}));
  app.add_option("--threads", threads, "0 = every CPU");
  app.add_option("--seconds", seconds, "per shape");
  app.add_option("--filter", filter, "only shapes whose name contains this, for example 'qkv forward'");
  app.add_flag("--alone", alone, "without oneDNN");
  app.add_flag("--cpu-time", cpu_time,
               "count the time that threads ran, not the wall's: for a machine that others use too");
  app.add_flag("--codes", codes, "quantized operands beside bf16 ones");
  app.add_flag("--int8", int8, "forward of integers beside its peak and bf16");
  CLI11_PARSE(app, argc, argv);
  set_thread_count(threads);

#ifdef BITTERN_WITH_ONEDNN
  // libgomp reads its settings before main: start again with them. Spinning longer would take our threads' cores.
  if (!alone && !codes && !int8 && std::getenv("GOMP_SPINCOUNT") == nullptr) {
    setenv("GOMP_SPINCOUNT", "1000", 1);
    setenv("OMP_NUM_THREADS", std::to_string(thread_count()).c_str(), 1);
    execv("/proc/self/exe", argv);
  }
  const bool onednn = !alone;
#else
  const bool onednn = false;
#endif

  std::vector<Isa> wanted;
  for (const Isa choice : available_isas())
    if (isa_name == "all" || isa_name == name(choice)) wanted.push_back(choice);
  if (isa_name.empty()) wanted.push_back(isa());
  if (wanted.empty()) throw input_error("--isa: {} is not an instruction set of this machine", isa_name);
  for (const Isa choice : wanted) {
    set_isa(choice);
    fmt::print("{}\n", bench::machine_line());
    if (codes) {
      run_codes(seconds, filter, cpu_time ? bench::cpu_now : bench::now);
      continue;
    }
    if (int8) {
      run_int8(seconds, filter, cpu_time ? bench::cpu_now : bench::now);
      continue;
    }
    // oneDNN takes the best instruction set of the machine: a fair peer only of ours.
    const bool fair = onednn && choice == available_isas().back();
    for (const DType compute : {DType::f32, DType::bf16})
      if (compute_name == "both" || compute_name == name(compute))
        run_table(compute, fair, seconds, filter, cpu_time ? bench::cpu_now : bench::now);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const Error& e) {
    fmt::print(stderr, "gemm_bench: {}\n", e.what());
    return static_cast<int>(e.exit_code());
  }
}
