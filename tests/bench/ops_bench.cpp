// ops_bench: each op that is not a matrix product against the machine's streaming bandwidth, on inputs larger than the
// caches.
//   ops_bench [threads] [op]
// An op is charged the bytes of its opening comment: every input read once, every output written once. Its yardstick is
// a loop over as many plain arrays with the same mix of reading, writing and updating in place, timed in turn with the
// op, so that both meet the same neighbours on a shared machine. "in cache" is the same op where its inputs lie in the
// caches, hence what its arithmetic takes; "of limit" is its speed over the lower of the two. Medians; ratios are what to
// trust.
#include <time.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bittern/backend.h"
#include "bittern/error.h"
#include "bittern/profile.h"
#include "bittern/quant/philox.h"
#include "bittern/token_order.h"
#include "ops/cpu/machine/parallel.h"
#include "ops/cpu/machine/simd.h"

using namespace bittern;

namespace {

/// CPU time of all threads over their number: what the wall would say if nobody else ran here.
double seconds_of(const std::function<void()>& work) {
  const auto cpu_time = [] {
    timespec t{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
  };
  const double start = cpu_time();
  work();
  return (cpu_time() - start) / cpu::thread_count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Tensors of the benchmark, touched and filled with numbers in [-1, 1), released at the end. Each starts at another
/// offset in its huge page: arrays that run side by side at one distance modulo a power of two fight for the banks of
/// the memory.
class Memory {
 public:
  explicit Memory(Backend& backend) : backend_(backend) {}
  ~Memory() {
    for (const auto& [memory, bytes] : blocks_) backend_.release(memory, bytes);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  Tensor tensor(DType dtype, std::int64_t rows, std::int64_t cols, float scale = 1.0f) {
    const Shape shape{rows, cols};
    const Tensor t(allocate(shape.elements() * size_of(dtype)), dtype, shape);
    cpu::parallel_for(rows, [&](std::int64_t r) {
      std::uint32_t state = static_cast<std::uint32_t>(r) * 2654435761u + 1;
      for (std::int64_t c = 0; c < cols; ++c) {
        state = state * 1664525u + 1013904223u;
        const float value = scale * (static_cast<float>(state >> 8) * 0x1p-23f - 1.0f);
        if (dtype == DType::bf16)
          static_cast<bf16*>(t.data)[r * cols + c] = to_bf16(value);
        else if (dtype == DType::f32)
          static_cast<float*>(t.data)[r * cols + c] = value;
        else
          static_cast<std::uint8_t*>(t.data)[r * cols + c] = 0;
      }
    });
    return t;
  }
  /// Every row [first half: a | second half: b].
  Tensor halves(std::int64_t rows, std::int64_t cols, float a, float b) {
    const Tensor t(allocate(rows * cols * 4), DType::f32, Shape{rows, cols});
    for (std::int64_t i = 0; i < rows * cols; ++i) t.as<float>()[i] = i % cols < cols / 2 ? a : b;
    return t;
  }
  /// `count` row numbers below `limit`.
  Tensor ids(std::int64_t count, std::int64_t limit) {
    const Tensor t(allocate(count * 4), DType::i32, Shape{count});
    for (std::int64_t i = 0; i < count; ++i)
      t.as<std::int32_t>()[i] =
          static_cast<std::int32_t>(philox(philox_key(1, Purpose::test), static_cast<std::uint64_t>(i), 0, 0) %
                                    static_cast<std::uint32_t>(limit));
    return t;
  }
  /// token_order of such ids.
  Tensor order(const Tensor& ids, std::int64_t limit) {
    const std::vector<std::int32_t> numbers =
        token_order({ids.as<std::int32_t>(), static_cast<std::size_t>(ids.elements())}, limit);
    const Tensor t(allocate(static_cast<std::int64_t>(4 * numbers.size())), DType::i32,
                   Shape{static_cast<std::int64_t>(numbers.size())});
    std::copy(numbers.begin(), numbers.end(), t.as<std::int32_t>());
    return t;
  }

 private:
  void* allocate(std::int64_t bytes) {
    const std::int64_t skew = static_cast<std::int64_t>(blocks_.size() + 1) * 69 * 1024;
    blocks_.emplace_back(backend_.allocate(bytes + skew), bytes + skew);
    return static_cast<char*>(blocks_.back().first) + skew;
  }

  Backend& backend_;
  std::vector<std::pair<void*, std::int64_t>> blocks_;
};

/// How many of an op's arrays (in units of equal size) are only read, only written, or read and then written in place.
struct Mix {
  std::int64_t read, written, updated;
};

/// One pass over plain arrays, as many as a mix has.
class Stream {
 public:
  explicit Stream(Memory& memory) {
    for (float*& x : arrays_) x = memory.tensor(DType::f32, 64, array / 64).as<float>();
  }

  /// GB/s of one pass; in-place bytes count twice.
  double gbs(const Mix& mix) {
    constexpr std::int64_t parts = 64, part_size = array / parts;
    const double seconds = seconds_of([&] {
      cpu::parallel_for(parts, [&](std::int64_t part) {
        cpu::simd([&] {
          std::array<float*, 6> at = arrays_;
          for (float*& x : at) x += part * part_size;
          pass(at, mix, part_size);
        });
      });
    });
    return static_cast<double>(array * 4 * (mix.read + mix.written + 2 * mix.updated)) / seconds * 1e-9;
  }

 private:
  static constexpr std::int64_t array = std::int64_t{64} << 20;  // 256 MiB each: some last-level caches hold 96 MiB

  // Blocks of 4 KiB: each array is streamed in runs, as an op goes through a row.
  static void pass(const std::array<float*, 6>& at, const Mix& mix, std::int64_t n) {
    constexpr std::int64_t block = 1024;
    float total = 0.0f;
    for (std::int64_t first = 0; first < n; first += block) {
      std::size_t k = 0;
      float sum = 1.0f;
      for (int i = 0; i < mix.read; ++i, ++k) {
        const float* x = at[k] + first;
#pragma omp simd reduction(+ : sum)
        for (std::int64_t j = 0; j < block; ++j) sum += x[j];
      }
      for (int i = 0; i < mix.written; ++i, ++k) {
        float* x = at[k] + first;
#pragma omp simd
        for (std::int64_t j = 0; j < block; ++j) x[j] = sum;
      }
      for (int i = 0; i < mix.updated; ++i, ++k) {
        float* x = at[k] + first;
#pragma omp simd
        for (std::int64_t j = 0; j < block; ++j) x[j] = x[j] * 0.5f + 1.0f;
      }
      total += sum;
    }
    [[maybe_unused]] volatile float kept = total;
  }

  std::array<float*, 6> arrays_;
};

/// One line of the table: makes its tensors and gives the op to run.
struct Line {
  std::string name;
  Mix mix;
  std::function<std::function<void()>(Backend&, Memory&)> make;
};

/// Inputs larger than the caches, or some that lie in those of two cores.
enum class Where { memory, cache };

std::vector<Line> lines(Where where) {
  constexpr std::int64_t C = 640, F = 1792, D = 128, H = 5;
  const std::int64_t V = where == Where::memory ? 32000 : 256;
  std::vector<Line> all;
  for (const DType t : {DType::f32, DType::bf16}) {
    const std::string type = fmt::format(" {}", name(t));
    const std::int64_t N = (where == Where::memory ? 327680 : 1024) / size_of(t);  // rows
    const std::int64_t R = where == Where::memory ? N / 20 : 2, L = 32000;         // of logits, and their columns
    const auto add = [&](const std::string& op, Mix mix, auto make) { all.push_back({op + type, mix, make}); };
    add("embedding_forward", {1, 1, 0}, [=](Backend& b, Memory& m) {
      const Tensor w = m.tensor(t, V, C), out = m.tensor(t, N, C), ids = m.ids(N, V);
      return [=, &b] { b.embedding_forward({.out = out, .w = w, .tokens = ids}); };
    });
    // f32 gradient rows are updated, activations' gradient rows read.
    add("embedding_backward", t == DType::f32 ? Mix{1, 0, 1} : Mix{1, 0, 2}, [=](Backend& b, Memory& m) {
      const Tensor dw = m.tensor(DType::f32, V, C), dout = m.tensor(t, N, C), ids = m.ids(N, V),
                   order = m.order(ids, V);
      return [=, &b] { b.embedding_backward({.dw = dw, .dout = dout, .tokens = ids, .order = order}); };
    });
    add("embedding_backward, one token", {1, 0, 0}, [=](Backend& b, Memory& m) {
      const Tensor dw = m.tensor(DType::f32, V, C), dout = m.tensor(t, N, C), ids = m.ids(N, 1),
                   order = m.order(ids, V);
      return [=, &b] { b.embedding_backward({.dw = dw, .dout = dout, .tokens = ids, .order = order}); };
    });
    add("residual_rmsnorm_forward", {2, 2, 0}, [=](Backend& b, Memory& m) {
      const Tensor x = m.tensor(t, N, C), y = m.tensor(t, N, C), sum = m.tensor(t, N, C), n = m.tensor(t, N, C);
      const Tensor rstd = m.tensor(DType::f32, 1, N), w = m.tensor(DType::f32, 1, C);
      return [=, &b] {
        b.residual_rmsnorm_forward({.sum = sum, .n = n, .rstd = rstd, .x = x, .y = y, .w = w, .eps = 1e-5f});
      };
    });
    add("residual_rmsnorm_backward", {2, 0, 1}, [=](Backend& b, Memory& m) {
      const Tensor dx = m.tensor(t, N, C), dn = m.tensor(t, N, C), sum = m.tensor(t, N, C);
      const Tensor rstd = m.tensor(DType::f32, 1, N), w = m.tensor(DType::f32, 1, C), dw = m.tensor(DType::f32, 1, C);
      return [=, &b] { b.residual_rmsnorm_backward({.dx = dx, .dw = dw, .dn = dn, .sum = sum, .rstd = rstd, .w = w}); };
    });
    for (const bool norm : {false, true}) {
      const std::string op = norm ? "qk_norm_rope_" : "rope_";
      const auto args = [=](Memory& m) {
        const AttentionShape shape{.batch = N / 256, .sequence_length = 256, .heads = H, .kv_heads = H, .head_dim = D};
        QkNormRopeForward a{
            .shape = shape, .qkv = m.tensor(t, N, shape.packed()), .rope = m.halves(256, D, 0.8f, 0.6f), .eps = 1e-6f};
        if (!norm) return a;
        a.qkv_raw = m.tensor(t, N, shape.packed());
        a.q_norm = m.halves(1, D, 1.0f, 1.0f);  // nothing shrinks to subnormal numbers, which are slow
        a.k_norm = m.halves(1, D, 1.0f, 1.0f);
        a.q_norm_rstd = m.halves(N, 2 * H, 1.0f, 1.0f);
        return a;
      };
      add(op + "forward", norm ? Mix{1, 1, 0} : Mix{0, 0, 1}, [=](Backend& b, Memory& m) {
        const QkNormRopeForward a = args(m);
        return [=, &b] { b.qk_norm_rope_forward(a); };
      });
      add(op + "backward", norm ? Mix{1, 0, 1} : Mix{0, 0, 1}, [=](Backend& b, Memory& m) {
        const QkNormRopeForward a = args(m);
        const Tensor dq = m.tensor(DType::f32, 1, D), dk = m.tensor(DType::f32, 1, D);
        const QkNormRopeBackward back{.shape = a.shape,
                                      .dqkv = a.qkv,
                                      .dq_norm = dq,
                                      .dk_norm = dk,
                                      .qkv_raw = a.qkv_raw,
                                      .q_norm = a.q_norm,
                                      .k_norm = a.k_norm,
                                      .q_norm_rstd = a.q_norm_rstd,
                                      .rope = a.rope};
        return [=, &b] { b.qk_norm_rope_backward(back); };
      });
    }
    add("glu_forward", {2, 1, 0}, [=](Backend& b, Memory& m) {
      const Tensor gate_up = m.tensor(t, N / 2, 2 * F, 4.0f), out = m.tensor(t, N / 2, F);
      return [=, &b] { b.glu_forward({.out = out, .gate_up = gate_up, .activation = Activation::silu}); };
    });
    add("glu_backward", {1, 1, 2}, [=](Backend& b, Memory& m) {
      const Tensor gate_up = m.tensor(t, N / 2, 2 * F, 4.0f), out = m.tensor(t, N / 2, F), dout = m.tensor(t, N / 2, F);
      return
          [=, &b] { b.glu_backward({.gate_up = gate_up, .out = out, .dout = dout, .activation = Activation::silu}); };
    });
    for (const bool backward : {false, true})
      add(backward ? "cross_entropy, backward" : "cross_entropy, loss", backward ? Mix{0, 0, 1} : Mix{1, 0, 0},
          [=](Backend& b, Memory& m) {
            const Tensor logits = m.tensor(t, R, L, 4.0f), ids = m.ids(R, L);
            const Tensor loss = m.tensor(DType::f32, 1, R), squared = m.tensor(DType::f32, 1, R),
                         scale = m.tensor(DType::f32, 1, 1);
            return [=, &b] {
              b.cross_entropy({.logits = logits,
                               .targets = ids,
                               .loss = loss,
                               .lse_squared = squared,
                               .scale = scale,
                               .z_loss = 0.0f,
                               .backward = backward});
            };
          });
    add("bias_backward", {1, 0, 0}, [=](Backend& b, Memory& m) {
      const Tensor dy = m.tensor(t, N, 3 * C), dbias = m.tensor(DType::f32, 1, 3 * C);
      return [=, &b] { b.bias_backward({.dbias = dbias, .dy = dy}); };
    });
    add(t == DType::f32 ? "copy to bf16 from" : "copy to f32 from", t == DType::f32 ? Mix{2, 1, 0} : Mix{1, 2, 0},
        [=](Backend& b, Memory& m) {
          const Tensor from = m.tensor(t, N, C), to = m.tensor(t == DType::f32 ? DType::bf16 : DType::f32, N, C);
          return [=, &b] { b.copy({.to = to, .from = from}); };
        });
    for (const DType codes : {DType::e4m3, DType::i8})
      add(fmt::format("quantize to {} from", name(codes)), Mix{size_of(t), 1, 0}, [=](Backend& b, Memory& m) {
        const Tensor from = m.tensor(t, N, C), scales = m.tensor(DType::f32, 1, N);
        Tensor to = m.tensor(codes, N, C);
        to.scales = scales.as<float>();
        return [=, &b] { b.quantize({.q = to, .x = from}); };
      });
    add("copy to the same type", {1, 1, 0}, [=](Backend& b, Memory& m) {
      const Tensor from = m.tensor(t, N, C), to = m.tensor(t, N, C);
      return [=, &b] { b.copy({.to = to, .from = from}); };
    });
  }
  all.push_back({"zero f32", {0, 1, 0}, [=](Backend& b, Memory& m) {
                   const Tensor x = m.tensor(DType::f32, where == Where::memory ? 1 << 18 : 512, C);
                   return [=, &b] { b.zero({.x = x}); };
                 }});
  all.push_back({"square_parts f32", {1, 0, 0}, [=](Backend& b, Memory& m) {
                   std::vector<Tensor> gradients = {m.tensor(DType::f32, 2 * V, C), m.tensor(DType::f32, 2 * V, C)};
                   for (int layer = 0; where == Where::memory && layer < 6; ++layer) {
                     gradients.push_back(m.tensor(DType::f32, C, C * 4));
                     gradients.push_back(m.tensor(DType::f32, F, C * 3));
                     gradients.push_back(m.tensor(DType::f32, 1, C));
                   }
                   std::int64_t parts = 0;
                   for (const Tensor& gradient : gradients) parts += square_parts_of(gradient);
                   const Tensor sums = m.tensor(DType::u8, 1, 8 * parts);
                   return [=, &b] { b.square_parts({.parts = sums, .gradients = gradients}); };
                 }});
  return all;
}

/// The bytes that an op says it moves.
double bytes_of(const std::function<void()>& op) {
  Profile profile;
  Profile::current() = &profile;
  op();
  Profile::current() = nullptr;
  return profile.costs().begin()->second.bytes;
}

/// GB/s of an op whose inputs are in the caches already: what its arithmetic lets it do. By the clock: few parts may not
/// keep all threads busy.
double speed_in_cache(Backend& backend, const Line& line) {
  Memory own(backend);
  const std::function<void()> op = line.make(backend, own);
  const double bytes = bytes_of(op);
  std::vector<double> seconds;
  for (int round = 0; round < 25; ++round) {
    constexpr int times = 20;
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < times; ++i) op();
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / times);
  }
  return bytes / median(seconds) * 1e-9;
}

void run(int threads, std::string_view filter) {
  const std::unique_ptr<Backend> backend = make_cpu_backend(threads);
  Memory memory(*backend);
  const std::int64_t bytes =
      backend->workspace_bytes({}) + (std::int64_t{64} << 20);  // and room for every op's scratch
  const Tensor workspace(backend->allocate(bytes), DType::u8, Shape{bytes});
  backend->bind_workspace(workspace);
  Stream stream(memory);
  fmt::print("{}, {} threads\n{:<34} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8}\n", backend->description(),
             cpu::thread_count(), "op", "ms", "GB/s", "stream", "%", "in cache", "of limit");
  const std::vector<Line> in_memory = lines(Where::memory), in_cache = lines(Where::cache);
  for (std::size_t i = 0; i < in_memory.size(); ++i) {
    const Line& line = in_memory[i];
    if (line.name.find(filter) == std::string::npos) continue;
    const double cached = speed_in_cache(*backend, in_cache[i]);
    Memory own(*backend);
    const std::function<void()> op = line.make(*backend, own);
    op();
    const double op_bytes = bytes_of(op);
    std::vector<double> seconds, yardstick, ratio;
    for (int round = 0; round < 5; ++round) {
      yardstick.push_back(stream.gbs(line.mix));
      seconds.push_back(seconds_of(op));
      ratio.push_back(op_bytes / seconds.back() * 1e-9 / yardstick.back());
    }
    const double gbs = op_bytes / median(seconds) * 1e-9;
    fmt::print("{:<34} {:>9.3f} {:>8.1f} {:>8.1f} {:>7.0f}% {:>8.1f} {:>7.0f}%\n", line.name, median(seconds) * 1e3,
               gbs, median(yardstick), 100 * median(ratio), cached,
               100 * std::max(median(ratio), gbs / std::min(cached, median(yardstick))));
    std::fflush(stdout);
  }
  backend->release(workspace.data, bytes);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(argc > 1 ? std::atoi(argv[1]) : 0, argc > 2 ? argv[2] : "");
  } catch (const Error& e) {
    fmt::print(stderr, "ops_bench: {}\n", e.what());
    return static_cast<int>(e.exit_code());
  }
  return 0;
}
