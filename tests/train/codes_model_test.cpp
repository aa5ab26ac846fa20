// Forward and backward compute with the codes: a model whose linears are stored in codes has the loss and the gradients
// of one whose linears are f32 numbers, the codes' values. With int8 activations the one multiplies integers, the other
// the numbers they stand for.
#include <fmt/format.h>

#include <cmath>

#include "catch.h"
#include "train/trained_model.h"

using namespace bittern;

namespace {

struct Linear {
  const char* name;
  const char* weights;
  std::vector<std::string> precision;
};
const Linear linears[] = {
    {"DQT ternary",
     R"("block_linear": {"codec": "ternary", "rounding": "stochastic"})",
     {"precision.activations=int8_token"}},
    {"DQT 8 bit",
     R"("block_linear": {"codec": "int", "range": "full", "scale_per": "tensor", "scale_from": "absmean", "rounding": "stochastic"})",
     {"precision.activations=int8_token"}},
    {"DQT 3 bit",
     R"("block_linear": {"codec": "int", "bits": 3, "range": "full", "scale_per": "tensor", "scale_from": "absmean", "rounding": "stochastic"})",
     {"precision.activations=int8_token"}},
    {"BitNet", R"("block_linear": {"codec": "ternary", "master": "f32"})", {"precision.activations=int8_token"}},
    {"int8 by row", R"("block_linear": {"codec": "int"})", {"precision.activations=int8_token"}},
    {"int4 by row", R"("block_linear": {"codec": "int", "bits": 4})", {"precision.activations=int8_token"}},
    {"E4M3 by row", R"("block_linear": {"codec": "fp8_e4m3"})", {"precision.activations=fp8_e4m3_row"}},
    {"5 bits, activations as they are", R"("block_linear": {"codec": "int", "bits": 5})", {}},
    {"all but norms",
     R"("block_linear": {"codec": "int", "bits": 4}, "embedding": {"codec": "int", "bits": 6}, "head": {"codec": "fp8_e4m3"})",
     {}}};

double size_of_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    size += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(difference / std::max(size, 1e-30));
}

void check_alike_but_for_dtype(const PlannedTensor& a, const PlannedTensor& b) {
  CHECK(a.name == b.name);
  CHECK(a.shape == b.shape);
  CHECK(a.category == b.category);
  CHECK(a.lifetime.first == b.lifetime.first);
  CHECK(a.lifetime.last == b.lifetime.last);
}

}  // namespace

TEST_CASE("codes in a model: loss and gradients are those of the numbers that the codes stand for") {
  for (const auto& [name, weights, precision] : linears) {
    CAPTURE(name);
    Trained coded(with_weights(weights, precision)), plain(with_weights("", precision));
    // A sum in another order (each instruction set has its own) may round an activation to its other neighbour: one level
    // of 127. That is rare, and then the loss of one token moves by some 1e-4 of it, the gradients by more.
    int steps_with_other_roundings = 0;
    for (std::uint32_t step = 1; step <= 6; ++step) {
      for (std::size_t i = 0; i < coded.run->model->parameters().size(); ++i)
        plain.run->model->load_parameter(plain.run->model->parameters()[i],
                                         coded.weight(coded.run->model->parameters()[i]));
      const double loss = coded.compute(step), of_plain = plain.compute(step);
      const double off = std::fabs(loss / of_plain - 1);
      steps_with_other_roundings += off > 1e-5;
      CHECK(off < (precision.empty() ? 1e-5 : 2e-4));
      const std::vector<Tensor> a = coded.run->model->gradients(), b = plain.run->model->gradients();
      for (std::size_t i = 0; i < a.size(); ++i) {
        CAPTURE(coded.run->model->parameters()[i].spec.name);
        const auto numbers = [&](const Tensor& x) { return read_device<float>(*coded.run->backend, x); };
        CHECK(size_of_difference(numbers(a[i]), numbers(b[i])) < (precision.empty() ? 1e-5 : 2e-2));
      }
      coded.update(step);
    }
    CHECK(steps_with_other_roundings <= 1);
  }
}

TEST_CASE("codes in a model: inference holds the codes, and no other copy of the weights") {
  // bf16 products: what is not quantized is then held as bf16, and nothing as f32 but norms and scales.
  for (const auto& [name, weights, precision] : linears) {
    CAPTURE(name);
    const RunConfig config = with_weights(weights, {"precision.compute=bf16"});
    const auto run = Session::for_inference(config, 2, 16, 0);
    std::int64_t expected = 0;
    for (const Parameter& parameter : run->model->parameters()) {
      const PlannedTensor& weight = run->plan[parameter.weight];
      const WeightCodec& codec = parameter.codec;
      const std::int64_t elements = parameter.spec.shape.elements(), rows = parameter.spec.shape[0],
                         cols = elements / rows;
      CAPTURE(parameter.spec.name);
      if (config.weights[parameter.spec.role].quantized()) {
        CHECK(weight.dtype == config.weights[parameter.spec.role].dtype());
        CHECK(weight.bytes() == rows * ((cols * bits_of(weight.dtype) + 7) / 8));
        expected += weight.bytes() + 4 * rows;
      } else {
        expected += weight.bytes();
        CHECK(weight.bytes() == elements * (codec.storage == WeightStorage::bf16 ? 2 : 4));
      }
      CHECK_FALSE(parameter.master);
      CHECK_FALSE(parameter.gradient);
    }
    CHECK(run->plan.whole_run_bytes(Category::weights) == expected);
    for (const Category category :
         {Category::masters, Category::optimizer_states, Category::gradients, Category::snapshot})
      CHECK(run->plan.whole_run_bytes(category) == 0);
  }
}

TEST_CASE("codes in a model: the plan of ECO differs from BF16's by the weights and their scales alone") {
  const auto f32 = Session::for_training(with_weights(""), 0);
  for (const char* const eco :
       {R"("block_linear": {"codec": "fp8_e4m3", "rounding": "stochastic", "error_feedback": "eco"})",
        R"("block_linear": {"codec": "int", "bits": 4, "scale_per": "tensor", "error_feedback": "eco"})"}) {
    const auto run = Session::for_training(with_weights(eco), 0);
    std::vector<PlannedTensor> without_scales;
    std::int64_t saved = 0;
    for (const PlannedTensor& tensor : run->plan.tensors())
      if (tensor.name.ends_with("_scale") && tensor.category == Category::weights) {
        CHECK(tensor.dtype == DType::f32);
        CHECK(tensor.shape.rank == 1);
        saved -= tensor.bytes();
      } else {
        without_scales.push_back(tensor);
      }
    REQUIRE(without_scales.size() == f32->plan.tensors().size());
    for (std::size_t i = 0; i < without_scales.size(); ++i) {
      const PlannedTensor &a = without_scales[i], &b = f32->plan.tensors()[i];
      CAPTURE(b.name);
      check_alike_but_for_dtype(a, b);
      const bool linear = b.category == Category::weights && b.name.find("_proj.weight") != std::string::npos;
      if (linear)
        CHECK(bits_of(a.dtype) < 32);
      else
        CHECK(a.dtype == b.dtype);
      if (linear) saved += b.bytes() - a.bytes();
    }
    // So no tensor of the run could hold decoded weights, or a parameter's worth of anything else.
    CHECK(f32->plan.whole_run_bytes(Category::weights) - run->plan.whole_run_bytes(Category::weights) == saved);
    CHECK(saved > 0);
    CHECK(f32->plan.shared_bytes() == run->plan.shared_bytes());
    CHECK(run->plan[run->workspace].bytes() == f32->plan[f32->workspace].bytes());
  }
}

TEST_CASE("codes in a model: the plan of low-bit states differs from that of f32 states by the moments alone") {
  const auto others = [](const Session& run) {
    std::vector<PlannedTensor> tensors;
    for (const PlannedTensor& tensor : run.plan.tensors())
      if (tensor.category != Category::optimizer_states) tensors.push_back(tensor);
    return tensors;
  };
  const auto f32 = Session::for_training(with_weights(""), 0);
  for (const auto& [m, v] : {std::pair{"de4", "log2"},
                             {"de4", "rank1_linear4"},
                             {"dynamic8", "factored"},
                             {"fp8", "bf16"},
                             {"de2", "linear4"}}) {
    CAPTURE(m, v);
    const auto run = Session::for_training(
        with_weights("", {fmt::format("optimizer.states.m={}", m), fmt::format("optimizer.states.v={}", v),
                          "optimizer.states.on=all", "optimizer.states.min_elements=0",
                          fmt::format("optimizer.states.head_m={}", m)}),
        0);
    const std::vector<PlannedTensor> a = others(*run), b = others(*f32);
    REQUIRE(a.size() == b.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
      CAPTURE(b[i].name);
      check_alike_but_for_dtype(a[i], b[i]);
      CHECK(a[i].dtype == b[i].dtype);
    }
    // So no tensor of the run could hold decoded moments.
    CHECK(run->plan.shared_bytes() == f32->plan.shared_bytes());
    CHECK(2 * run->plan.whole_run_bytes(Category::optimizer_states) <
          f32->plan.whole_run_bytes(Category::optimizer_states));
  }
}
