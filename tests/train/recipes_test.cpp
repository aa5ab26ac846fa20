// What every recipe must do, over all files of configs/mini and all codecs that a config may name, on a tiny model: it
// resumes bit for bit, takes and saves the bytes that are planned, starts from any weights, and runs.
#include <cmath>
#include <map>

#include "bittern/checkpoint.h"
#include "bittern/file.h"
#include "bittern/trainer.h"
#include "config/weight_codecs.h"
#include "source_dir.h"
#include "store/stored_codes.h"
#include "train/session/initialize_from.h"
#include "train/tiny_corpus.h"
#include "train/trained_model.h"

using namespace bittern;
namespace fs = std::filesystem;

namespace {

const fs::path mini = fs::path(bittern::source_dir()) / "configs" / "mini";

/// The file's recipe on a tiny model and the tiny corpus. Blocks of 16: the tensors have many, and short ones.
RunConfig tiny(const fs::path& file, std::vector<std::string> settings = {}) {
  settings.insert(settings.end(), {"run.threads=2",
                                   "data.path=" + corpus(),
                                   "data.sequence_length=24",
                                   "model.hidden_size=40",
                                   "model.num_hidden_layers=1",
                                   "model.num_attention_heads=2",
                                   "model.intermediate_size=56",
                                   "model.max_position_embeddings=32",
                                   "train.steps=4",
                                   "train.batch_sequences=2",
                                   "train.evaluate_every=4",
                                   "train.evaluate_sequences=2",
                                   "train.checkpoint_every=2",
                                   "train.keep_checkpoints=0",
                                   "train.statistics_every=2",
                                   "train.sample_every=0",
                                   "schedule.warmup_fraction=0",
                                   "schedule.warmup_steps=1",
                                   "optimizer.states.block=16",
                                   "optimizer.states.min_elements=0"});
  return load_config(file.string(), settings);
}

/// One file for each recipe: those that differ in their name alone are one.
std::map<std::string, fs::path> recipes() {
  std::map<std::string, fs::path> distinct;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(mini)) {
    const std::string name = entry.path().filename();
    if (entry.path().extension() != ".json" || name == "base.json" || name == "size.json") continue;
    RunConfig config = tiny(entry.path());
    config.run.name = "run";
    fs::path& file = distinct[config_json(config)];
    if (file.empty() || entry.path() < file) file = entry.path();
  }
  return distinct;
}

std::string checkpoint_file(const std::string& run, std::int64_t step, const char* file) {
  return run + "/checkpoints/" + checkpoint_name(step) + "/" + file;
}
std::string bytes_of(const std::string& path) {
  return read_whole_file(path, std::int64_t{1} << 30, "a checkpoint's file");
}
std::int64_t stored_bytes(const std::string& path) {
  std::int64_t bytes = 0;
  const SafetensorsFile file = SafetensorsFile::open(path);
  for (const SafetensorsEntry& tensor : file.tensors()) bytes += tensor.bytes;
  return bytes;
}

}  // namespace

TEST_CASE("recipes: every one of configs/mini resumes bit for bit, and saves and takes the bytes that are planned") {
  const std::map<std::string, fs::path> all = recipes();
  CHECK(all.size() >= 50);
  for (const auto& [json, file] : all) {
    CAPTURE(file.string());
    const Scratch scratch("recipes");
    const std::string whole = scratch.path + "/whole", resumed = scratch.path + "/resumed";
    REQUIRE(train(tiny(file), {.out = whole}) == ExitCode::ok);
    fs::copy(whole, resumed, fs::copy_options::recursive);
    fs::remove_all(resumed + "/checkpoints/" + checkpoint_name(4));
    REQUIRE(train(tiny(file, {}), {.out = resumed}) == ExitCode::ok);
    for (const char* name : {"model.safetensors", "optimizer.safetensors"})
      CHECK(bytes_of(checkpoint_file(whole, 4, name)) == bytes_of(checkpoint_file(resumed, 4, name)));
    CHECK(bytes_of(checkpoint_file(whole, 4, "optimizer.safetensors")) !=
          bytes_of(checkpoint_file(whole, 2, "optimizer.safetensors")));

    RunConfig config = tiny(file);
    config.model.vocab_size = 320;
    const auto run = Session::for_training(config, 0);
    run->allocate();
    CHECK(run->backend->allocated_bytes() == run->plan.arena_bytes());
    CHECK(stored_bytes(checkpoint_file(whole, 4, "model.safetensors")) == run->plan.whole_run_bytes(Category::weights));
    CHECK(stored_bytes(checkpoint_file(whole, 4, "optimizer.safetensors")) ==
          run->plan.whole_run_bytes(Category::masters) + run->plan.whole_run_bytes(Category::optimizer_states));
  }
}

TEST_CASE("recipes: packed, rank-1, factored and logarithmic tensors take the bytes that their shapes say") {
  // One linear of 40 x 40: rows of codes end at a byte, blocks of 16 have a short one of 8.
  const auto bytes = [](const std::vector<std::string>& settings, const std::string& prefix) {
    RunConfig config = tiny(mini / "solo" / "states_32.json", settings);
    config.model.vocab_size = 320;
    const auto run = Session::for_training(config, 0);
    std::int64_t sum = 0;
    for (const PlannedTensor& tensor : run->plan.tensors())
      if (tensor.name.starts_with(prefix + "model.layers.0.self_attn.o_proj.weight")) sum += tensor.bytes();
    return sum;
  };
  const auto states = [&](const char* m, const char* v) {
    const std::vector<std::string> settings = {std::string("optimizer.states.m=") + m,
                                               std::string("optimizer.states.v=") + v};
    return std::pair(bytes(settings, "m."), bytes(settings, "v."));
  };
  CHECK(states("f32", "f32") == std::pair<std::int64_t, std::int64_t>(40 * 40 * 4, 40 * 40 * 4));
  CHECK(states("de4", "log2") == std::pair<std::int64_t, std::int64_t>(40 * (20 + 3 * 4), 40 * (10 + 3 * 8)));
  CHECK(states("de3", "log3") == std::pair<std::int64_t, std::int64_t>(40 * (15 + 3 * 4), 40 * (15 + 3 * 8)));
  CHECK(states("dynamic8", "rank1_linear4") ==
        std::pair<std::int64_t, std::int64_t>(40 * (40 + 3 * 4), 40 * 20 + 2 * 160));
  CHECK(states("fp8", "factored") == std::pair<std::int64_t, std::int64_t>(40 * (40 + 3 * 4), 2 * 160));
  const auto weight = [&](const std::string& codec) { return bytes({"weights.block_linear=" + codec}, ""); };
  CHECK(weight(R"({"codec":"int","bits":3,"range":"full"})") == 40 * (15 + 4));
  CHECK(weight(R"({"codec":"ternary"})") == 40 * (10 + 4));
  CHECK(weight(R"({"codec":"fp8_e4m3"})") == 40 * (40 + 4));
  CHECK(bytes({R"(weights.block_linear={"codec":"ternary","master":"fp8_e4m3"})"}, "master.") == 40 * (40 + 4));
}

TEST_CASE("recipes: --init from f32 weights gives any codec the codes that its values have") {
  const Scratch scratch("recipes_init");
  const std::string source = scratch.path + "/source";
  REQUIRE(train(tiny(mini / "solo" / "states_32.json"), {.out = source}) == ExitCode::ok);
  const SafetensorsFile weights = SafetensorsFile::open(checkpoint_file(source, 4, "model.safetensors"));
  for (
      const std::string codec :
      {R"({"codec":"bf16"})", R"({"codec":"fp8_e4m3"})", R"({"codec":"fp8_e4m3","scale_per":"tensor"})",
       R"({"codec":"fp8_e4m3","master":"f32","rounding":"stochastic"})", R"({"codec":"int"})",
       R"({"codec":"int","bits":4,"scale_per":"tensor","error_feedback":"eco"})", R"({"codec":"int","bits":7})",
       R"({"codec":"int","bits":3,"range":"full","scale_per":"tensor","scale_from":"absmean","rounding":"stochastic"})",
       R"({"codec":"ternary","rounding":"stochastic"})", R"({"codec":"ternary","master":"fp8_e4m3"})"}) {
    CAPTURE(codec);
    RunConfig config = tiny(mini / "solo" / "states_32.json", {"weights.block_linear=" + codec});
    config.model.vocab_size = 320;
    const auto run = Session::for_training(config, 0);
    run->allocate();
    initialize_from(*run, source + "/checkpoints/" + checkpoint_name(4));
    for (const Parameter& parameter : run->model->parameters()) {
      if (!is_linear(parameter)) continue;
      const Shape shape = parameter.spec.shape;
      std::vector<float> values(static_cast<std::size_t>(shape.elements()));
      weights.read(parameter.spec.name, std::as_writable_bytes(std::span(values)));
      const auto check_encoded = [&](TensorId id, TensorId scale, const WeightCodec& of) {
        Backend& backend = *run->backend;
        const Tensor stored = run->arena->view(id);
        const DeviceMemory codes(backend, stored.bytes()), scales(backend, shape[0] * size_of(DType::f32));
        Tensor own(codes.data(), of.dtype(), shape);
        own.scales = static_cast<float*>(scales.data());
        backend.encode_weight({.weight = own, .values = values, .codec = of});
        CHECK(read_device<std::byte>(backend, own) == read_device<std::byte>(backend, stored));
        if (!of.quantized()) return;
        const Tensor own_scales(scales.data(), DType::f32, Shape{shape[0]});
        CHECK(read_device<float>(backend, own_scales) == read_device<float>(backend, run->arena->view(scale)));
      };
      check_encoded(parameter.weight, parameter.scale, parameter.codec);
      if (parameter.master) check_encoded(parameter.master, parameter.master_scale, master_codec(parameter.codec));
    }
  }
}

TEST_CASE("recipes: every weight codec that a config accepts trains, and what it then holds could be loaded") {
  // What the products' other operand is goes by turns: all six meet every storage of codes.
  constexpr const char* activations[] = {"compute", "int8_token", "fp8_e4m3_row"};
  constexpr const char* computes[] = {"f32", "bf16"};
  std::size_t accepted = 0;
  for (const std::int64_t bits : {8, 2, 3, 4, 5, 6, 7})
    for_every_weight_codec([&](const std::string& members) {
      const std::string codec = fmt::format(R"("block_linear":{{"bits":{},{}}})", bits, members);
      RunConfig config;
      try {
        config = with_weights(codec, {"model.num_hidden_layers=1", "model.hidden_size=16", "model.intermediate_size=24",
                                      fmt::format("precision.activations={}", activations[accepted % 3]),
                                      fmt::format("precision.compute={}", computes[accepted / 3 % 2])});
      } catch (const Error&) {
        return;  // refused: tests/config
      }
      ++accepted;
      CAPTURE(codec);
      Trained model(config);
      double first = 0, last = 0;
      for (std::uint32_t step = 1; step <= 4; ++step) {
        last = model.compute(1);
        if (step == 1) first = last;
        model.update(step);
      }
      // Two bits are rough, and nearest rounding may not move at all; none may diverge.
      if (!(last < first + 0.2)) FAIL_CHECK("loss " << first << ", then " << last);
      for (const Parameter& parameter : model.run->model->parameters()) {
        if (!is_linear(parameter)) continue;
        const auto bytes = [&](TensorId id) {
          return read_device<std::byte>(*model.run->backend, model.run->arena->view(id));
        };
        const std::int64_t cols = parameter.spec.shape.elements() / parameter.spec.shape[0];
        check_elements(bytes(parameter.weight), stored_range(parameter.codec), cols, codec);
        if (parameter.scale) check_scales(bytes(parameter.scale), ScaleKind::weights, codec);
      }
    });
  // At 8 bits 174 (config_codecs_test). Of each other width, for each range: 24 without master, 3 * 8 with.
  CHECK(accepted == 174 + 6 * 2 * (24 + 3 * 8));
}
