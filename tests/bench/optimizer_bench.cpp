// optimizer_step per recipe: ns and bytes per element, the rate beside the memory's stream, and beside the same step on
// data that stays in cache (what the arithmetic alone takes).
//   cmake --preset bench && cmake --build --preset bench --target optimizer_bench && build/bench/optimizer_bench
//   [THREADS] [ROWS COLS]
#include <cstdio>
#include <cstdlib>

#include "bench/machine.h"
#include "bittern/optimizer.h"

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
    eco{.storage = WeightStorage::fp8_e4m3, .rounding = Rounding::stochastic, .error_feedback = ErrorFeedback::eco},
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
    {"ECO fp8 stochastic", eco, "f32", "f32"},
    {"ECO fp8, 8-bit m, log2 v", eco, "dynamic8", "log2", nearest, stochastic},
    {"ECO fp8, de4 m, log2 v", eco, "de4", "log2", stochastic, stochastic},
    {"DQT 8 bits", dqt8, "f32", "f32"},
    {"BitNet (f32 master)", bitnet, "f32", "f32"},
    {"adafactor, factored", f32, "f32", "factored", nearest, nearest, UpdateRule::adafactor},
};

/// One parameter in a plan of its own.
struct Training {
  Plan plan;
  std::vector<Parameter> parameters;
  Optimizer optimizer;
  TensorId workspace;
  Arena arena;
  Backend& backend;
  std::int64_t step = 0, elements;

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
  static std::vector<Parameter> parameters_of(const Recipe& recipe, Shape shape, Plan& plan) {
    std::vector<Parameter> list(1);
    list[0].spec = {.name = "w", .shape = shape, .role = Role::mlp_linear};
    list[0].codec = recipe.weight;
    list[0].weight = plan.add("w", shape, recipe.weight.dtype(), Category::weights);
    if (recipe.weight.quantized()) list[0].scale = plan.add("w_scale", Shape{shape[0]}, DType::f32, Category::weights);
    list[0].gradient = plan.add("dw", shape, DType::f32, Category::gradients);
    return list;
  }
  static TensorId workspace_of(Backend& backend, const Optimizer& optimizer, Plan& plan) {
    WorkspaceNeeds needs;
    optimizer.add_needs(needs);
    const TensorId id = plan.add("workspace", Shape{backend.workspace_bytes(needs)}, DType::u8, Category::scratch);
    plan.lay_out();
    return id;
  }
  Training(Backend& b, const Recipe& recipe, Shape shape)
      : parameters(parameters_of(recipe, shape, plan)),
        optimizer(b, config_of(recipe), parameters, plan),
        workspace(workspace_of(b, optimizer, plan)),
        arena(b, plan),
        backend(b),
        elements(shape.elements()) {
    backend.bind_workspace(arena.view(workspace));
    std::vector<float> values(static_cast<std::size_t>(elements));
    float* const g = arena.view(parameters[0].gradient).as<float>();
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::uint32_t word = philox(philox_key(1, Purpose::test), i, 0, 0);
      values[i] = 0.04f * (uniform(word) - 0.5f);
      g[i] = 0.01f * (uniform(word * 2654435761u) - 0.5f);
    }
    backend.encode_weight(scaled(arena, parameters[0].weight, parameters[0].scale), values, recipe.weight);
    if (parameters[0].master)
      backend.encode_weight(arena.view(parameters[0].master), values, master_codec(recipe.weight));
    const Tensor gradient = arena.view(parameters[0].gradient);
    optimizer.global_norm(arena, std::span(&gradient, 1));
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

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 0;
  const std::int64_t rows = argc > 3 ? std::atoi(argv[2]) : 4096, cols = argc > 3 ? std::atoi(argv[3]) : 1024;
  const auto backend = make_cpu_backend(threads);
  std::printf("%s\n(%lld, %lld) and, in cache, (8, 512); medians of the quiet fifth\n", bench::machine_line().c_str(),
              static_cast<long long>(rows), static_cast<long long>(cols));
  const double stream = cpu::measured_stream_gbs(2, 1);
  std::printf("stream (2 read, 1 written): %.1f GB/s\n%-28s %8s %8s %8s %8s %10s %12s\n", stream, "recipe", "B/param",
              "ns/param", "GB/s", "/stream", "in cache", "Mparams/s");
  for (const Recipe& recipe : recipes) {
    Training large(*backend, recipe, Shape{rows, cols}), small(*backend, recipe, Shape{8, 512});
    const auto repeat_small = [&] {
      for (int i = 0; i < 64; ++i) small.run();
    };
    const std::vector<double> seconds = bench::interleaved({[&] { large.run(); }, repeat_small}, 0.4);
    const double n = static_cast<double>(large.elements), ns = 1e9 * seconds[0] / n;
    const double moved = 2 * large.stored_bytes() / n + 4;  // and the gradient, read once
    std::printf("%-28s %8.3f %8.3f %8.1f %7.0f%% %7.3f ns %12.0f\n", recipe.name, large.stored_bytes() / n, ns,
                moved / ns, 100 * moved / ns / stream, 1e9 * seconds[1] / 64 / static_cast<double>(small.elements),
                1e3 / ns);
  }
  return 0;
}
