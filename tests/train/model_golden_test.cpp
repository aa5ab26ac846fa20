// The whole model against Hugging Face's in double precision (tests/golden/make_model_goldens.py): logits, losses and
// every gradient; and what must not change a bit: threads, recomputation.
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "bittern/quant/philox.h"
#include "catch.h"
#include "model/golden.h"
#include "ops/every_isa.h"
#include "train/one_step.h"

using namespace bittern;
using namespace bittern::golden;

namespace {

constexpr double f32_tolerance = 1e-5;  // PyTorch in f32 is within 2e-6 of the same goldens

/// What one forward and backward gives.
struct Result {
  LossSums sums;
  std::map<std::string, std::vector<float>> gradients;
  bool operator==(const Result& other) const {
    return sums.loss == other.sums.loss && sums.lse_squared == other.sums.lse_squared &&
           sums.targets == other.sums.targets && gradients == other.gradients;
  }
};

struct Case {
  std::string name;
  Golden golden;
  std::vector<std::int32_t> tokens, targets;
  std::int64_t batch, length, valid;

  explicit Case(const std::string& folder_name)
      : name(folder_name),
        golden(name),
        tokens(golden.ints("tokens")),
        targets(golden.ints("targets")),
        batch(golden.shape("tokens").at(0)),
        length(golden.shape("tokens").at(1)),
        valid(std::count_if(targets.begin(), targets.end(), [](std::int32_t target) { return target >= 0; })) {}

  RunConfig config() const { return config_of(name, batch, length); }

  /// The gradients of the whole batch, in micro-batches as large as the config says.
  Result run(const RunConfig& with) const {
    const std::unique_ptr<Session> running = start(with, name);
    const auto part = static_cast<std::size_t>(with.micro_batch() * length);
    Result result;
    for (std::size_t at = 0; at < tokens.size(); at += part) {
      const LossSums sums = forward_backward(*running, std::span(tokens).subspan(at, part),
                                             std::span(targets).subspan(at, part), valid, at == 0);
      result.sums.loss += sums.loss;
      result.sums.lse_squared += sums.lse_squared;
      result.sums.targets += sums.targets;
    }
    for (const Parameter& parameter : running->model->parameters())
      result.gradients[parameter.spec.name] = to_host(*running, parameter.gradient);
    return result;
  }

  void check_gradients(const Result& result, const std::string& prefix, double tolerance) const {
    check_gradients(result, prefix, tolerance, tolerance);
  }
  void check_gradients(const Result& result, const std::string& prefix, double tolerance, double of_scores) const {
    for (const auto& [parameter, gradient] : result.gradients) {
      INFO(name << " " << prefix << parameter);
      const bool scores =
          parameter.find(".q_proj.") != std::string::npos || parameter.find(".k_proj.") != std::string::npos;
      CHECK(relative_error(golden.floats(prefix + parameter), gradient) < (scores ? of_scores : tolerance));
    }
  }
};

const std::vector<std::string> all_cases = {"llama_gqa",
                                            "llama_tied",
                                            "qwen2",
                                            "qwen3",
                                            "gemma2",
                                            "gemma3",
                                            "bitnet",
                                            "llama_fp8_e4m3_row",
                                            "qwen2_fp8_e4m3_row",
                                            "llama_int8_token",
                                            "bitnet_int8_token"};

}  // namespace

TEST_CASE("model: logits, loss and every gradient are Hugging Face's") {
  cpu::on_every_isa([] {
    for (const std::string& name : all_cases) {
      const Case golden_case(name);
      INFO(name);
      const std::unique_ptr<Session> run = start(golden_case.config(), name);
      CHECK(relative_error(golden_case.golden.floats("logits"), run->model->logits(golden_case.tokens)) <
            f32_tolerance);
      const Result result = golden_case.run(golden_case.config());
      CHECK(result.sums.targets == golden_case.valid);
      CHECK(result.sums.loss / static_cast<double>(golden_case.valid) ==
            Approx(golden_case.golden.floats("loss").at(0)).epsilon(1e-6));
      golden_case.check_gradients(result, "grad.", f32_tolerance);
    }
  });
}

TEST_CASE("model: the parameters are Hugging Face's, each with a gradient in the golden file") {
  for (const std::string& name : all_cases) {
    const Case golden_case(name);
    const SafetensorsFile weights = SafetensorsFile::open(folder(name) + "/model.safetensors");
    const std::vector<ParameterSpec> table = parameter_table(golden_case.config().model);
    CHECK(table.size() == weights.tensors().size());
    for (const ParameterSpec& parameter : table) {
      INFO(name << " " << parameter.name);
      REQUIRE(weights.find(parameter.name) != nullptr);
      CHECK(golden_case.golden.shape("grad." + parameter.name) == weights.find(parameter.name)->shape);
    }
  }
}

TEST_CASE("model: the z-loss adds its gradient and reports the squares it is made of") {
  const Case golden_case("llama_gqa");
  RunConfig config = golden_case.config();
  config.train.z_loss = 0.01;
  const Result result = golden_case.run(config);
  const double valid = static_cast<double>(golden_case.valid);
  CHECK(result.sums.loss / valid == Approx(golden_case.golden.floats("loss").at(0)).epsilon(1e-6));
  CHECK((result.sums.loss + 0.01 * result.sums.lse_squared) / valid ==
        Approx(golden_case.golden.floats("loss_z").at(0)).epsilon(1e-6));
  golden_case.check_gradients(result, "grad_z.", f32_tolerance);
}

TEST_CASE("model: a forward alone gives the loss of a forward with backward") {
  for (const std::string& name : all_cases) {
    const Case golden_case(name);
    const std::unique_ptr<Session> run = start(golden_case.config(), name);
    const LossSums with = forward_backward(*run, golden_case.tokens, golden_case.targets, golden_case.valid, true);
    const LossSums without = run->model->forward(golden_case.tokens, golden_case.targets);
    CHECK(without.loss == with.loss);
    CHECK(without.lse_squared == with.lse_squared);
    CHECK(without.targets == with.targets);
  }
}

TEST_CASE("model: recomputing blocks changes no bit") {
  for (const DType compute : {DType::f32, DType::bf16}) {
    for (const std::string& name : all_cases) {
      const Case golden_case(name);
      INFO(name << " " << bittern::name(compute));
      RunConfig config = golden_case.config();
      config.precision.compute = config.precision.residual = compute;
      const Result kept = golden_case.run(config);
      config.train.recompute = "block";
      CHECK(golden_case.run(config) == kept);
    }
  }
}

TEST_CASE("model: the number of threads changes no bit") {
  for (const DType compute : {DType::f32, DType::bf16}) {
    for (const std::string& name : all_cases) {
      const Case golden_case(name);
      RunConfig config = golden_case.config();
      config.precision.compute = config.precision.residual = compute;
      cpu::on_every_isa([&] {
        config.run.threads = 1;
        const Result one = golden_case.run(config);
        for (const std::int64_t threads : {2, 3, 8}) {
          INFO(name << " " << bittern::name(compute) << ", threads: " << threads);
          config.run.threads = threads;
          CHECK(golden_case.run(config) == one);
        }
      });
    }
  }
}

TEST_CASE("model: micro-batches of unequal numbers of targets add up to the batch") {
  for (const std::string& name : all_cases) {
    const Case golden_case(name);
    RunConfig config = golden_case.config();
    config.train.micro_batch_sequences = 1;
    const Result result = golden_case.run(config);
    CHECK(result.sums.targets == golden_case.valid);
    golden_case.check_gradients(result, "grad.", f32_tolerance);
  }
}

TEST_CASE("model: the gradients of 64 micro-batches of one sequence are those of one batch of 64, in f32 and in bf16") {
  const std::string name = "llama_gqa";
  constexpr std::int64_t batch = 64, length = 16;
  for (const DType compute : {DType::f32, DType::bf16}) {
    INFO(bittern::name(compute));
    RunConfig config = config_of(name, batch, length);
    config.precision.compute = config.precision.residual = compute;
    std::vector<std::int32_t> tokens, targets;
    for (std::uint64_t i = 0; i < batch * length; ++i) {
      const PhiloxKey key = philox_key(1, Purpose::test);
      tokens.push_back(static_cast<std::int32_t>(philox(key, i, 0, 0) % 97));
      targets.push_back(i % 11 == 0 ? -1 : static_cast<std::int32_t>(philox(key, i, 1, 0) % 97));
    }
    const std::int64_t valid = std::ranges::count_if(targets, [](std::int32_t target) { return target >= 0; });
    const auto gradients_in = [&](std::int64_t micro_batch) {
      config.train.micro_batch_sequences = micro_batch;
      const std::unique_ptr<Session> run = start(config, name);
      const auto part = static_cast<std::size_t>(micro_batch * length);
      for (std::size_t at = 0; at < tokens.size(); at += part)
        forward_backward(*run, std::span(tokens).subspan(at, part), std::span(targets).subspan(at, part), valid,
                         at == 0);
      std::map<std::string, std::vector<float>> gradients;
      for (const Parameter& parameter : run->model->parameters())
        gradients[parameter.spec.name] = to_host(*run, parameter.gradient);
      return gradients;
    };
    const auto whole = gradients_in(batch), parts = gradients_in(1);
    for (const auto& [parameter, gradient] : whole) {
      INFO(parameter);
      CHECK(relative_error(gradient, parts.at(parameter)) < 1e-5);
    }
  }
}

TEST_CASE("model: the head in chunks of any number of rows gives the same loss and gradients") {
  for (const std::string& name : {std::string("llama_gqa"), std::string("llama_tied")}) {
    const Case golden_case(name);
    const std::int64_t rows = golden_case.batch * golden_case.length;
    for (const std::int64_t head_rows : {std::int64_t{1}, std::int64_t{7}, rows - 1, rows, rows + 5}) {
      INFO(name << ", rows of the head: " << head_rows);
      RunConfig config = golden_case.config();
      config.train.head_rows = head_rows;
      const std::unique_ptr<Session> run = start(config, name);
      CHECK(relative_error(golden_case.golden.floats("logits"), run->model->logits(golden_case.tokens)) <
            f32_tolerance);
      golden_case.check_gradients(golden_case.run(config), "grad.", f32_tolerance);
    }
  }
}

TEST_CASE("model: generation with a cache gives the logits of the whole sequence") {
  for (const std::string& name : all_cases) {
    const Case golden_case(name);
    INFO(name);
    const std::unique_ptr<Session> run = start(golden_case.config(), name, golden_case.length);
    const std::vector<float> expected = golden_case.golden.floats("logits");
    const auto V = static_cast<std::size_t>(run->model->spec().vocab_size);
    const auto T = static_cast<std::size_t>(golden_case.length);
    const std::span<const std::int32_t> sequence = std::span<const std::int32_t>(golden_case.tokens).first(T);
    // A prompt in one piece, a second piece, then one token at a time.
    std::size_t at = 0;
    for (const std::size_t piece : {std::size_t{5}, std::size_t{3}, std::size_t{1}, std::size_t{1}, T - 10}) {
      const std::vector<float> logits =
          run->model->next_logits(sequence.subspan(at, piece), static_cast<std::int64_t>(at));
      at += piece;
      CHECK(relative_error(std::span(expected).subspan((at - 1) * V, V), logits) < f32_tolerance);
    }
  }
}

TEST_CASE("model: bf16 stays as near to the truth as its 8 bits allow") {
  cpu::on_every_isa([] {
    for (const std::string& name : all_cases) {
      const Case golden_case(name);
      INFO(name);
      RunConfig config = golden_case.config();
      config.precision.compute = config.precision.residual = DType::bf16;
      const Result result = golden_case.run(config);
      CHECK(result.sums.loss / static_cast<double>(golden_case.valid) ==
            Approx(golden_case.golden.floats("loss").at(0)).epsilon(0.02));
      // An input that bf16 moves across the middle of two codes takes the other code. The gradients of queries and keys,
      // small differences of large terms, feel it most.
      const bool quantized = config.precision.activations != Activations::compute;
      golden_case.check_gradients(result, "grad.", quantized ? 0.25 : 0.1, quantized ? 0.4 : 0.1);
    }
  });
}

TEST_CASE("model: of inputs that are quantized, codes are kept") {
  RunConfig config = Case("llama_fp8_e4m3_row").config();
  config.precision.compute = config.precision.residual = DType::bf16;
  config.model.num_hidden_layers = 12;
  const auto shared_bytes = [&](Activations activations) {
    config.precision.activations = activations;
    return Session::for_training(config, 0)->plan.shared_bytes();
  };
  CHECK(shared_bytes(Activations::fp8_e4m3_row) < shared_bytes(Activations::compute));
}

TEST_CASE("model: what only linears read does not exist unquantized where activations are quantized") {
  for (const std::string name : {"llama_fp8_e4m3_row", "qwen2_fp8_e4m3_row", "llama_int8_token", "bitnet_int8_token"}) {
    INFO(name);
    const Case golden_case(name);
    const std::unique_ptr<Session> run = start(golden_case.config(), name, golden_case.length);
    int codes = 0;
    for (const PlannedTensor& tensor : run->plan.tensors()) {
      const auto named = [&](const char* end) { return tensor.name.ends_with(end); };
      CHECK_FALSE((named("x0.n") || named("x1.n") || named("o_input") || named("down_input")));
      codes += named("x0.n.codes") || named("x1.n.codes") || named("o_input.codes") || named("down_input.codes");
    }
    CHECK(codes >= 2 * 4);  // of training and of generation
  }
}

TEST_CASE("model: inference holds weights as bf16 where products round them to it, and changes no bit by that") {
  cpu::on_every_isa([] {
    for (const std::string& name : all_cases)
      for (const DType residual : {DType::f32, DType::bf16}) {
        INFO(name << ", residual " << bittern::name(residual));
        const Case golden_case(name);
        RunConfig config = golden_case.config();
        config.precision.compute = DType::bf16;
        config.precision.residual = residual;
        const std::unique_ptr<Session> training = start(config, name);
        const std::unique_ptr<Session> inference =
            Session::for_inference(config, golden_case.batch, golden_case.length, 0);
        inference->allocate();
        initialize_from(*inference, folder(name));
        CHECK(inference->model->logits(golden_case.tokens) == training->model->logits(golden_case.tokens));
        const auto held = [](const Session& run) { return run.plan.whole_run_bytes(Category::weights); };
        CHECK(held(*inference) < held(*training));
      }
  });
}
