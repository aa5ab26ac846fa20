// Which moments are stored how, and what they take: the published bytes per parameter, against the plan.
#include "bittern/optimizer.h"
#include "catch.h"
#include "ops/cpu/optimizer/optimizer_pieces.h"

using namespace bittern;

namespace {

double state_bytes(const StatesSection& states, Shape shape, Role role = Role::mlp_linear,
                   UpdateRule rule = UpdateRule::adamw, double beta1 = 0.9) {
  RunConfig config;
  config.optimizer.rule = rule;
  config.optimizer.beta1 = beta1;
  config.optimizer.states = states;
  std::vector<Parameter> parameters(1);
  parameters[0].spec = {.name = "w", .shape = shape, .role = role};
  Plan plan;
  const auto backend = make_cpu_backend(1);
  const Optimizer optimizer(*backend, config, parameters, plan);
  plan.lay_out();
  return static_cast<double>(plan.whole_run_bytes(Category::optimizer_states));
}

Parameter decided(Role role, Shape shape, const OptimizerSection& config) {
  Parameter parameter;
  parameter.spec = {.name = "w", .shape = shape, .role = role};
  decide_update(parameter, config);
  return parameter;
}

double per_parameter(const char* m, const char* v, Shape shape, std::int64_t block = 128) {
  return state_bytes({.m = m, .v = v, .block = block}, shape) / static_cast<double>(shape.elements());
}

}  // namespace

TEST_CASE("optimizer: bytes per parameter are the published ones") {
  const Shape large{4096, 4096};
  CHECK(per_parameter("f32", "f32", large) == 8.0);
  CHECK(per_parameter("de4", "linear4", large) == 1.0625);
  CHECK(per_parameter("de4", "rank1_linear4", large) == Approx(1.03320).margin(5e-6));
  CHECK(per_parameter("de4", "rank1_linear4", Shape{768, 3072}) == Approx(1.03776).margin(5e-6));
  CHECK(per_parameter("de4", "rank1_linear4", Shape{50257, 768}) == Approx(1.03654).margin(5e-6));
  CHECK(per_parameter("de4", "factored", large) == Approx(0.53320).margin(5e-6));
  CHECK(per_parameter("de4", "row_mean", large) == Approx(0.53125 + 4.0 / 4096).margin(1e-9));
  CHECK(per_parameter("de4", "log2", large) == 0.84375);
  CHECK(per_parameter("de2", "log2", large) == 0.59375);
  CHECK(per_parameter("de3", "log3", large) == 0.84375);  // three bits take three bits
  CHECK(per_parameter("de2", "linear2", large) == 0.5625);
  CHECK(per_parameter("dynamic8", "dynamic8", large, 256) == 2.03125);
  CHECK(per_parameter("dynamic8", "dynamic8", large, 2048) == Approx(2.00391).margin(5e-6));
}

TEST_CASE("optimizer: a rule keeps only the moments it has") {
  const Shape shape{64, 128};
  CHECK(state_bytes({}, shape, Role::mlp_linear, UpdateRule::sgdm) == 4 * 64 * 128);
  CHECK(state_bytes({}, shape, Role::mlp_linear, UpdateRule::sgdm, 0.0) == 0);
  CHECK(state_bytes({.v = "factored"}, shape, Role::mlp_linear, UpdateRule::adafactor, 0.0) == 4 * (64 + 128));
}

TEST_CASE("optimizer: muon updates the blocks' matrices and keeps no second moment there; its beta is its own") {
  OptimizerSection config;
  config.rule = UpdateRule::muon;
  const auto rule = [&](Role role) { return decided(role, Shape{64, 128}, config).rule; };
  CHECK(rule(Role::attention_linear) == UpdateRule::muon);
  CHECK(rule(Role::mlp_linear) == UpdateRule::muon);
  for (const Role role : {Role::embedding, Role::head, Role::norm}) CHECK(rule(role) == UpdateRule::adamw);
  config.others = UpdateRule::sgdm;
  CHECK(rule(Role::embedding) == UpdateRule::sgdm);
  const Shape shape{64, 128};
  CHECK(state_bytes({}, shape, Role::mlp_linear, UpdateRule::muon) == 4 * 64 * 128);
  CHECK(state_bytes({}, shape, Role::mlp_linear, UpdateRule::muon, 0.0) == 4 * 64 * 128);
  CHECK(state_bytes({}, shape, Role::head, UpdateRule::muon) == 8 * 64 * 128);
  CHECK(state_bytes({.m = "linear8", .block = 2048}, Shape{64, 2048}, Role::mlp_linear, UpdateRule::muon) ==
        64 * 2048 + 4 * 64);
}

TEST_CASE("optimizer: states.on, min_elements and head_m say whose moments are in few bits") {
  OptimizerSection config;
  config.states = {.m = "de4", .v = "rank1_linear4", .on = StatesOn::matrices, .min_elements = 4096};
  const auto m = [&](Role role, Shape shape) { return decided(role, shape, config).m.codec.info->name; };
  const auto v = [&](Role role, Shape shape) { return decided(role, shape, config).v.codec.info->name; };
  const Shape matrix{128, 64}, small{64, 64}, vector{8192};
  CHECK(m(Role::mlp_linear, matrix) == "de4");
  CHECK(m(Role::mlp_linear, small) == "f32");  // 4096 elements are not more than 4096
  CHECK(m(Role::embedding, matrix) == "de4");
  CHECK(m(Role::head, matrix) == "f32");
  CHECK(v(Role::head, matrix) == "rank1_linear4");
  CHECK(m(Role::norm, vector) == "f32");
  config.states.on = StatesOn::linears;
  CHECK(m(Role::embedding, matrix) == "f32");
  CHECK(v(Role::head, matrix) == "f32");
  CHECK(v(Role::attention_linear, matrix) == "rank1_linear4");
  config.states.on = StatesOn::all;
  config.states.head_m = "dynamic8";
  CHECK(m(Role::norm, vector) == "de4");
  CHECK(v(Role::norm, vector) == "linear4");  // a vector has no rows and columns
  CHECK(m(Role::head, matrix) == "dynamic8");
}

TEST_CASE("optimizer: states of a role store all its tensors, however few elements they have") {
  OptimizerSection config;
  config.states = {.m = "de4", .v = "log2", .block = 64, .on = StatesOn::linears};
  config.states.roles[Role::norm] = {.m = "bf16", .v = "factored"};
  config.states.roles[Role::embedding] = {.m = "dynamic8", .block = 32};
  const Shape matrix{128, 64}, vector{64};
  const Parameter norm = decided(Role::norm, vector, config), embedding = decided(Role::embedding, matrix, config);
  CHECK(norm.m.codec.info->name == "bf16");
  CHECK(norm.v.codec.info->name == "linear4");  // a vector has no rows and columns
  CHECK(embedding.m.codec.info->name == "dynamic8");
  CHECK(embedding.m.codec.block == 32);
  CHECK(embedding.v.codec.info->name == "f32");
  const Parameter linear = decided(Role::mlp_linear, matrix, config);
  CHECK(linear.m.codec.info->name == "de4");
  CHECK(linear.m.codec.block == 64);
}

TEST_CASE("optimizer: what is said of every role one by one is the same as what is said of all") {
  OptimizerSection all, each;
  all.states = {.m = "de4",
                .v = "log2",
                .block = 64,
                .v_rounding = Rounding::stochastic,
                .on = StatesOn::all,
                .min_elements = 0,
                .head_m = "de4"};
  for (RoleStates& role : each.states.roles.values) role = {.m = "de4", .v = "log2", .block = 64};
  for (const RoleInfo& row : role_table) {
    const Parameter a = decided(row.role, Shape{128, 64}, all), b = decided(row.role, Shape{128, 64}, each);
    for (const auto& [x, y] : {std::pair(a.m.codec, b.m.codec), std::pair(a.v.codec, b.v.codec)}) {
      CHECK(x.info == y.info);
      CHECK(x.block == y.block);
      CHECK(x.rounding == y.rounding);
    }
  }
}

TEST_CASE("optimizer: a moment's codec has the config's block, quantile, and its own rounding") {
  OptimizerSection config;
  config.states = {.m = "de4",
                   .v = "log2",
                   .block = 64,
                   .m_rounding = Rounding::stochastic,
                   .v_rounding = Rounding::nearest,
                   .quantile = 0.25,
                   .min_elements = 0,
                   .head_m = "de3"};
  for (const Rounding m : {Rounding::stochastic, Rounding::nearest})
    for (const Role role : {Role::mlp_linear, Role::head}) {
      config.states.m_rounding = m;
      config.states.v_rounding = m == Rounding::nearest ? Rounding::stochastic : Rounding::nearest;
      const Parameter parameter = decided(role, Shape{128, 64}, config);
      const StateCodec &first = parameter.m.codec, &second = parameter.v.codec;
      CHECK(first.rounding == m);
      CHECK(second.rounding != m);
      CHECK(first.block == 64);
      CHECK(second.block == 64);
      CHECK(second.quantile == 0.25f);
    }
}

TEST_CASE("optimizer: weight decay applies where decay_on says") {
  OptimizerSection config;
  const auto decays = [&](Role role) { return decided(role, Shape{4}, config).decayed; };
  config.decay_on = "all";
  CHECK((decays(Role::norm) && decays(Role::mlp_linear) && decays(Role::embedding)));
  config.decay_on = "matrices";
  CHECK((!decays(Role::norm) && decays(Role::mlp_linear) && decays(Role::embedding) && decays(Role::head)));
  config.decay_on = "linears";
  CHECK((!decays(Role::norm) && decays(Role::attention_linear) && !decays(Role::embedding) && !decays(Role::head)));
}

TEST_CASE("optimizer: statistics of a step, by role") {
  RunConfig config;
  std::vector<Parameter> parameters(2);
  parameters[0].spec = {.name = "a", .shape = Shape{4, 32}, .role = Role::mlp_linear};
  parameters[1].spec = {.name = "b", .shape = Shape{32}, .role = Role::norm};
  parameters[1].id = 1;
  parameters[0].codec = {.storage = WeightStorage::integer, .bits = 4};
  Plan plan;
  const auto backend = make_cpu_backend(1);
  Optimizer optimizer(*backend, config, parameters, plan);
  for (Parameter& parameter : parameters) {
    const Tensor view(nullptr, DType::f32, parameter.spec.shape);
    parameter.weight = plan.add(parameter.spec.name, parameter.spec.shape, parameter.codec.dtype(), Category::weights);
    if (parameter.codec.quantized())
      parameter.scale = plan.add(parameter.spec.name + "_scale", Shape{view.rows()}, DType::f32, Category::weights);
    parameter.gradient = plan.add("d" + parameter.spec.name, parameter.spec.shape, DType::f32, Category::gradients);
  }
  const TensorId workspace =
      plan.add("workspace", Shape{backend->workspace_bytes({}) + (1 << 20)}, DType::u8, Category::scratch);
  plan.lay_out();
  const Arena arena(*backend, plan);
  backend->bind_workspace(arena.view(workspace));
  std::vector<float> values(128, 0.1f);
  values[5] = -0.35f;
  backend->encode_weight({.weight = scaled(arena, parameters[0].weight, parameters[0].scale),
                          .values = values,
                          .codec = parameters[0].codec});
  std::vector<Tensor> gradients = {arena.view(parameters[0].gradient), arena.view(parameters[1].gradient)};
  gradients[0].as<float>()[7] = 2.0f;
  optimizer.set_record(arena, {.sums = {.loss = 1, .lse_squared = 1, .targets = 1}});
  optimizer.square_parts(arena, parameters);
  optimizer.decide(arena);
  optimizer.step(arena, parameters, 0.5, 0.0, 1, 1, true);
  const auto roles = optimizer.statistics(arena, parameters);
  const RoleStatistics& linear = roles[Role::mlp_linear];
  CHECK(linear.elements == 128);
  // Element 7 moves by -0.5 and becomes the largest of its row: all of the first row's other codes shrink.
  CHECK(linear.changed >= 1);
  CHECK(linear.saturated >= 4);
  CHECK(linear.error_squared > 0);
  CHECK(linear.value_squared == Approx(126 * 0.01 + 0.35 * 0.35 + 0.4 * 0.4).epsilon(0.01));
  CHECK(linear.m_absmax == Approx(0.1 * 1.0));  // clipped to norm 1
  CHECK(linear.v_max == Approx(0.05));
  CHECK(roles[Role::norm].elements == 32);
  CHECK(roles[Role::norm].changed == 0);
  CHECK(roles[Role::head].elements == 0);
}

TEST_CASE("optimizer: what a step works in is a small part of a parameter, and no statistic needs more") {
  const auto backend = make_cpu_backend(2);
  const std::int64_t n = 4096;
  const auto tensor = [](DType dtype, const Shape& shape) {
    return Tensor(reinterpret_cast<void*>(4096), dtype, shape);  // only shapes are looked at
  };
  const auto scratch = [&](const StateCodec& v, const Tensor& statistics) {
    const Tensor matrix = tensor(DType::f32, Shape{n, n});
    StoredMoment m, second;
    m.codes = matrix;
    second.codec = v;
    second.codes = tensor(v.info->dtype, Shape{n, n});
    second.row = second.column = tensor(DType::f32, Shape{n});
    const OptimizerStep step{.weight = matrix,
                             .master = {},
                             .m = m,
                             .v = second,
                             .gradient = matrix,
                             .record = {},
                             .statistics = statistics,
                             .constants = RuleConstants{}};
    return backend->scratch_bytes(step);
  };
  for (const char* codec : {"f32", "linear4", "rank1_linear4"}) {
    const StateCodec v{.info = find_state_codec(codec)};
    CHECK(scratch(v, {}) > 0);
    CHECK(scratch(v, {}) < n * n * 4 / 16);
    CHECK(scratch(v, tensor(DType::f32, Shape{static_cast<int>(StepStatistic::count)})) == scratch(v, {}));
  }
}
