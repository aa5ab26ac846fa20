// optimizer_step per recipe, over the block linears of the 30M LLaMA (as optimizer_torch.py, its peers): time a
// parameter, and how near that is to what the machine allows.
//   cmake --preset bench && cmake --build --preset bench --target optimizer_bench
//   build/bench/optimizer_bench [THREADS] [PART OF A RECIPE'S NAME]
// Columns
//   stored     bytes a parameter of weights, masters and states, from the plan
//   ns, GB/s   of a step. Bytes: the gradient once, what is stored twice (read and written)
//   stream     GB/s of a plain loop with the nearest mix: one array read, one to three read and written back
//   L1         time of the same step on (4, 512), which stays in the first-level cache, over the threads
//   share      of the lower of the two limits: the larger of the times by stream and in L1, over the step's
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "bench/machine.h"
#include "bittern/optimizer.h"
#include "ops/cpu/machine/simd.h"

using namespace bittern;

namespace {

struct Recipe {
  const char* name;
  WeightCodec weight;
  const char *m, *v;
  Rounding m_rounding = Rounding::nearest, v_rounding = Rounding::nearest;
  UpdateRule rule = UpdateRule::adamw;
};

const WeightCodec f32{}, bf16_master{.storage = WeightStorage::bf16, .master = Master::f32},
    fp8_master{.storage = WeightStorage::fp8_e4m3, .master = Master::f32, .rounding = Rounding::stochastic},
    eco{.storage = WeightStorage::fp8_e4m3, .rounding = Rounding::stochastic, .error_feedback = ErrorFeedback::eco},
    eco_int4{.storage = WeightStorage::integer,
             .bits = 4,
             .scale_per = ScalePer::tensor,
             .rounding = Rounding::stochastic,
             .error_feedback = ErrorFeedback::eco},
    dqt8{.storage = WeightStorage::integer,
         .range = IntegerRange::full,
         .scale_per = ScalePer::tensor,
         .scale_from = ScaleFrom::absmean,
         .scale_update = ScaleUpdate::fixed,
         .rounding = Rounding::stochastic},
    bitnet{.storage = WeightStorage::ternary,
           .scale_per = ScalePer::tensor,
           .scale_from = ScaleFrom::absmean,
           .master = Master::f32};

constexpr Rounding stochastic = Rounding::stochastic, nearest = Rounding::nearest;

const Recipe recipes[] = {
    {"f32, f32 states", f32, "f32", "f32"},
    {"bf16 with f32 master", bf16_master, "f32", "f32"},
    {"f32, bf16 states", f32, "bf16", "bf16"},
    {"f32, 8-bit states", f32, "dynamic8", "dynamic8"},
    {"f32, 4-bit (block)", f32, "de4", "linear4"},
    {"f32, 4-bit (rank-1)", f32, "de4", "rank1_linear4"},
    {"f32, 4-bit Factor", f32, "de4", "factored"},
    {"f32, SOLO 4/2", f32, "de4", "log2", nearest, stochastic},
    {"f32, SOLO 2/2", f32, "de2", "log2", nearest, stochastic},
    {"fp8 with f32 master", fp8_master, "f32", "f32"},
    {"ECO fp8 stochastic", eco, "f32", "f32"},
    {"ECO fp8, SGDM", eco, "f32", "f32", nearest, nearest, UpdateRule::sgdm},
    {"ECO int4 by tensor", eco_int4, "f32", "f32"},
    {"ECO fp8, 8-bit m, factored v", eco, "dynamic8", "factored"},
    {"ECO fp8, 8-bit m, log2 v", eco, "dynamic8", "log2", nearest, stochastic},
    {"ECO fp8, de4 m, log2 v", eco, "de4", "log2", stochastic, stochastic},
    {"DQT 8 bits", dqt8, "f32", "f32"},
    {"BitNet (f32 master)", bitnet, "f32", "f32"},
    {"adafactor, factored", f32, "f32", "factored", nearest, nearest, UpdateRule::adafactor},
};

std::vector<Shape> block_linears_30m() {
  constexpr std::int64_t hidden = 640, ffn = 1792;
  std::vector<Shape> shapes;
  for (int layer = 0; layer < 6; ++layer) {
    shapes.insert(shapes.end(), 4, Shape{hidden, hidden});
    shapes.insert(shapes.end(), 2, Shape{ffn, hidden});
    shapes.push_back(Shape{hidden, ffn});
  }
  return shapes;
}

/// Parameters in a plan of their own.
struct Training {
  Plan plan;
  std::vector<Parameter> parameters;
  Optimizer optimizer;
  TensorId workspace;
  Arena arena;
  Backend& backend;
  std::int64_t step = 0, elements = 0;

  static RunConfig config_of(const Recipe& recipe) {
    RunConfig config;
    config.optimizer.rule = recipe.rule;
    config.optimizer.states = {.m = recipe.m,
                               .v = recipe.v,
                               .block = 128,
                               .m_rounding = recipe.m_rounding,
                               .v_rounding = recipe.v_rounding,
                               .on = StatesOn::all,
                               .min_elements = 0};
    return config;
  }
  static std::vector<Parameter> parameters_of(const Recipe& recipe, const std::vector<Shape>& shapes, Plan& plan) {
    std::vector<Parameter> list;
    for (const Shape& shape : shapes) {
      const std::string name = fmt::format("w{}", list.size());
      Parameter p;
      p.spec = {.name = name, .shape = shape, .role = Role::mlp_linear};
      p.codec = recipe.weight;
      p.id = static_cast<std::uint32_t>(list.size());
      p.weight = plan.add(name, shape, recipe.weight.dtype(), Category::weights);
      if (recipe.weight.quantized())
        p.scale = plan.add(name + "_scale", Shape{shape[0]}, DType::f32, Category::weights);
      p.gradient = plan.add("d" + name, shape, DType::f32, Category::gradients);
      list.push_back(p);
    }
    return list;
  }
  static TensorId workspace_of(Backend& backend, Plan& plan) {
    const std::int64_t bytes = backend.workspace_bytes({}) + (std::int64_t{64} << 20);  // and room for a step's scratch
    const TensorId id = plan.add("workspace", Shape{bytes}, DType::u8, Category::scratch);
    plan.lay_out();
    return id;
  }
  Training(Backend& b, const Recipe& recipe, const std::vector<Shape>& shapes)
      : parameters(parameters_of(recipe, shapes, plan)),
        optimizer(b, config_of(recipe), parameters, plan),
        workspace(workspace_of(b, plan)),
        arena(b, plan),
        backend(b) {
    backend.bind_workspace(arena.view(workspace));
    std::vector<Tensor> gradients;
    for (const Parameter& p : parameters) {
      const std::int64_t n = p.spec.shape.elements();
      std::vector<float> values(static_cast<std::size_t>(n));
      gradients.push_back(arena.view(p.gradient));
      float* const g = gradients.back().as<float>();
      for (std::size_t i = 0; i < values.size(); ++i) {
        const std::uint32_t word = philox(philox_key(1, Purpose::test), i, 0, p.id);
        values[i] = 0.04f * (uniform(word) - 0.5f);
        g[i] = 0.01f * (uniform(word * 2654435761u) - 0.5f);
      }
      backend.encode_weight({.weight = scaled(arena, p.weight, p.scale), .values = values, .codec = recipe.weight});
      if (p.master)
        backend.encode_weight({.weight = scaled(arena, p.master, p.master_scale),
                               .values = values,
                               .codec = master_codec(recipe.weight)});
      elements += n;
    }
    optimizer.set_record(arena, {.sums = {.loss = 1, .lse_squared = 1, .targets = 1}});
    optimizer.square_parts(arena, parameters);
    optimizer.decide(arena);
  }
  void run() {
    backend.bind_workspace(arena.view(workspace));
    ++step;
    optimizer.step(arena, parameters, 1e-3, 0.1, step, step);
  }
  /// Weights, masters and states.
  double stored_bytes() const {
    double sum = 0;
    for (const Category category : {Category::weights, Category::masters, Category::optimizer_states})
      sum += static_cast<double>(plan.whole_run_bytes(category));
    return sum;
  }
};

/// The yardstick: one array that is read, and up to three that are read and written back, side by side, as a step of
/// f32 states passes over them. Longer than the caches.
class Stream {
 public:
  explicit Stream(std::int64_t floats)
      : parts_(floats / part_), arrays_(4, std::vector<float>(static_cast<std::size_t>(floats), 1.0f)) {}

  /// How many arrays written back come nearest to `stored` bytes a parameter beside the gradient's four.
  static int arrays_for(double stored) { return std::clamp(static_cast<int>(stored / 4 + 0.5), 1, 3); }
  double bytes(int written) const { return static_cast<double>(parts_ * part_ * 4 * (1 + 2 * written)); }
  void run(int written) {
    cpu::parallel_for(parts_, [&](std::int64_t part) {
      const auto at = [&](std::size_t array) { return arrays_[array].data() + part * part_; };
      float *const g = at(0), *const x = at(1), *const y = at(2), *const z = at(3);
      cpu::simd([&] {
        if (written == 1) {
#pragma omp simd
          for (std::int64_t i = 0; i < part_; ++i) x[i] = 0.5f * x[i] + g[i];
        } else if (written == 2) {
#pragma omp simd
          for (std::int64_t i = 0; i < part_; ++i) {
            x[i] = 0.5f * x[i] + g[i];
            y[i] = 0.5f * y[i] + g[i];
          }
        } else {
#pragma omp simd
          for (std::int64_t i = 0; i < part_; ++i) {
            x[i] = 0.5f * x[i] + g[i];
            y[i] = 0.5f * y[i] + g[i];
            z[i] = 0.5f * z[i] + g[i];
          }
        }
      });
    });
  }

 private:
  static constexpr std::int64_t part_ = 16384;
  std::int64_t parts_;
  std::vector<std::vector<float>> arrays_;
};

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 0;
  const char* const wanted = argc > 2 ? argv[2] : "";
  const auto backend = make_cpu_backend(threads);
  std::printf("%s\n%-26s %7s %7s %7s %7s %7s %6s %10s\n", bench::machine_line().c_str(), "recipe", "stored", "ns",
              "GB/s", "stream", "L1 ns", "share", "Mparams/s");
  Stream stream(30 << 20);
  for (const Recipe& recipe : recipes) {
    if (std::strstr(recipe.name, wanted) == nullptr) continue;
    Training large(*backend, recipe, block_linears_30m()), small(*backend, recipe, {Shape{4, 512}});
    const double n = static_cast<double>(large.elements), stored = large.stored_bytes() / n, moved = 2 * stored + 4;
    const int arrays = Stream::arrays_for(stored);
    constexpr int repeats = 256;
    const auto repeat_small = [&] {
      for (int i = 0; i < repeats; ++i) small.run();
    };
    const std::vector<double> seconds =
        bench::interleaved({[&] { large.run(); }, [&] { stream.run(arrays); }, repeat_small}, 0.9);
    const double ns = 1e9 * seconds[0] / n, stream_gbs = 1e-9 * stream.bytes(arrays) / seconds[1];
    // The small step has one part, so it is one thread's.
    const double l1_ns = 1e9 * seconds[2] / repeats / static_cast<double>(small.elements) / cpu::thread_count();
    std::printf("%-26s %7.3f %7.3f %7.1f %7.1f %7.3f %5.0f%% %10.0f\n", recipe.name, stored, ns, moved / ns, stream_gbs,
                l1_ns, 100 * std::max(moved / stream_gbs, l1_ns) / ns, 1e3 / ns);
    std::fflush(stdout);
  }
  return 0;
}
