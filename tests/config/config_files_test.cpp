// Several documents: extends and --set.
#include "config/config_support.h"

using namespace bittern;
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;

TEST_CASE("config: extends merges objects, replaces everything else, and is relative to the file that says it") {
  const TemporaryFolder folder("config_extends");
  folder.write("bases/far/a.json", R"({"train": {"steps": 5, "z_loss": 0.5}, "optimizer": {"betas": [0.1, 0.2]}})");
  folder.write("bases/b.json", R"({"extends": "far/a.json", "train": {"steps": 6}, "run": {"seed": 9}})");
  const std::string top = folder.write(
      "mine/c.json", R"({"extends": "../bases/b.json", "optimizer": {"betas": [0.3, 0.4]}, "run": {"name": "c"}})");
  const RunConfig config = load_config(top);
  CHECK(config.train.steps == 6);
  CHECK(config.train.z_loss == 0.5);
  CHECK(config.run.seed == 9);
  CHECK(config.run.name == "c");
  CHECK(config.optimizer.beta1 == 0.3);
  const std::string absolute = folder.write("d.json", "{\"extends\": \"" + (folder / "bases/b.json") + "\"}");
  CHECK(load_config(absolute).train.steps == 6);
}

TEST_CASE("config: extends of a list lays the later over the earlier, whatever their own bases say") {
  const TemporaryFolder folder("config_list");
  folder.write("recipe.json", R"({"train": {"steps": 5}, "optimizer": {"eps": 1e-9}})");
  folder.write("size.json", R"({"extends": "recipe.json", "train": {"steps": 6}})");
  folder.write("treatment.json",
               R"({"optimizer": {"betas": [0.1, 0.2]}, "weights": {"block_linear": {"codec": "bf16"}}})");
  const RunConfig config =
      load_config(folder.write("row.json", R"({"extends": ["size.json", "treatment.json"], "run": {"name": "row"}})"));
  CHECK(config.train.steps == 6);
  CHECK(config.optimizer.eps == 1e-9);
  CHECK(config.optimizer.beta1 == 0.1);
  CHECK(config.weights[Role::mlp_linear].storage == WeightStorage::bf16);
  CHECK(config.run.name == "row");
  const std::string twice = folder.write("twice.json", R"({"extends": ["size.json", "recipe.json"]})");
  CHECK(load_config(twice).train.steps == 5);  // a base of both is no circle, and the last that speaks is heard
  CHECK(load_config(folder.write("none.json", R"({"extends": []})")).train.steps == 1000);
  folder.write("wide0.json", "{}");
  for (int i = 1; i < 8; ++i) {
    const std::string name = "\"wide" + std::to_string(i - 1) + ".json\"";
    folder.write("wide" + std::to_string(i) + ".json", "{\"extends\": [" + name + ", " + name + "]}");
  }
  CHECK_THAT(file_refusal(folder / "wide7.json"), Contains("expected a chain of at most 16 files, and 64 in all"));
}

TEST_CASE("config: a message names the file of the chain that is wrong") {
  const TemporaryFolder folder("config_blame");
  const std::string base = folder.write("base.json", R"({"train": {"steps": -1}})");
  const std::string top = folder.write("top.json", R"({"extends": "base.json", "train": {"steps": 5}})");
  CHECK_THAT(file_refusal(top), StartsWith(base + ": train.steps is -1"));
  const std::string lost = folder.write("lost.json", R"({"extends": "nowhere.json"})");
  CHECK_THAT(file_refusal(lost), StartsWith((folder / "nowhere.json") + ": cannot open"));
  CHECK_THAT(file_refusal(lost), Contains("(named by " + lost + ": extends)"));
  CHECK_THAT(file_refusal(folder / "none.json"), StartsWith((folder / "none.json") + ": cannot open"));
  CHECK_THAT(file_refusal(folder / ""), Contains("not a folder"));
  const std::string huge = folder.write("huge.json", std::string(2 << 20, ' '));
  CHECK_THAT(file_refusal(huge), Contains("expected a config of at most 1048576 bytes"));
}

TEST_CASE("config: extends that is no path, goes in a circle or has no end is refused") {
  const TemporaryFolder folder("config_circle");
  CHECK_THAT(refusal(R"({"extends": 3})"), Contains("extends is 3; expected the path of a config"));
  CHECK_THAT(refusal(R"({"extends": ""})"), Contains("extends is \"\"; expected the path of a config"));
  CHECK_THAT(refusal(R"({"extends": ["b.json", 3]})"), Contains("extends is [\"b.json\",3]; expected the path"));
  const std::string self = folder.write("self.json", R"({"extends": "./x/../self.json"})");
  CHECK_THAT(file_refusal(self), Contains("which extends this file in turn (" + self + " -> " + self + ")"));
  folder.write("b.json", R"({"extends": "c.json"})");
  folder.write("c.json", R"({"extends": "a.json"})");
  const std::string a = folder.write("a.json", R"({"extends": "b.json"})");
  const std::string message = file_refusal(a);
  CHECK_THAT(message, StartsWith((folder / "c.json") + ": extends is \"a.json\""));
  CHECK_THAT(message, Contains(a + " -> " + (folder / "b.json") + " -> " + (folder / "c.json") + " -> " + a));
  for (int i = 0; i < 20; ++i)
    folder.write("chain" + std::to_string(i) + ".json", "{\"extends\": \"chain" + std::to_string(i + 1) + ".json\"}");
  folder.write("chain20.json", "{}");
  CHECK_THAT(file_refusal(folder / "chain0.json"), Contains("expected a chain of at most 16 files"));
  CHECK(file_refusal(folder / "chain6.json") == "accepted");
}

TEST_CASE("config: --set comes last and later ones win") {
  const std::string text = R"({"train": {"steps": 5}})";
  const auto with = [&](const std::vector<std::string>& settings) { return parse_config(text, "a.json", settings); };
  CHECK(with({"train.steps=7"}).train.steps == 7);
  CHECK(with({"train.steps=7", "train.steps=8"}).train.steps == 8);
  CHECK(with({"train.steps=1e3"}).train.steps == 1000);
  CHECK(with({"optimizer.betas=[0.5, 0.6]"}).optimizer.beta2 == 0.6);
  CHECK(with({"optimizer={\"betas\": [0.5, 0.6]}"}).optimizer.beta1 == 0.5);
  CHECK(with({"data.shuffle=false"}).data.shuffle == false);
  CHECK(with({"schedule.shape=linear"}).schedule.shape == "linear");
  CHECK(with({"schedule.shape=\"linear\""}).schedule.shape == "linear");
  CHECK(with({"weights.head.codec=bf16"}).weights[Role::head].storage == WeightStorage::bf16);
}

TEST_CASE("config: --set takes a text as it stands, also where it looks like a number or holds an equals sign") {
  const auto path = [](const std::string& setting) { return parse_config("{}", "a.json", {{setting}}).data.path; };
  CHECK(path("data.path=123") == "123");
  CHECK(path("data.path=true") == "true");
  CHECK(path("data.path=a=b c") == "a=b c");
  CHECK(path("data.path=\"q\"") == "q");
  CHECK(path("data.path={x}") == "{x}");
  CHECK(path("data.path=") == "");
}

TEST_CASE("config: a --set that means nothing is refused with what is expected") {
  const auto [setting, hint] = GENERATE(table<std::string, std::string>({
      {"foo", "--set \"foo\": expected path.to.key=value, for example train.steps=100"},
      {"=5", "expected path.to.key=value"},
      {"a..b=1", "has an empty name in its path"},
      {".train=1", "has an empty name in its path"},
      {"train.=1", "has an empty name in its path"},
      {"train.stps=1", "--set: train.stps is not a known key (its value is 1); did you mean train.steps?"},
      {"train.steps=x", "--set: train.steps is \"x\"; expected a whole number"},
      {"train.steps=", "--set: train.steps is \"\"; expected a whole number"},
      {"train.steps.x=1", "--set: train.steps is {\"x\":1}; expected a whole number"},
      {"train=5", "--set: train is 5; expected an object with keys of: steps"},
      {"optimizer.betas=[0.9", "--set optimizer.betas:1:5: not JSON: it ends in the middle"},
      {"extends=b.json", "--set extends=b.json: a file is extended from a file"},
      {"a.b.c.d.e.f.g.h.i.j.k=1", "is no key"},
      {"data.path=\xff", "is not UTF-8"},
      {"model=", "model.from is \"\"; expected the path"},
  }));
  CAPTURE(setting);
  CHECK_THAT(refusal("{}", {setting}), Contains(hint));
}

TEST_CASE("config: a group sets its roles; within a document the role wins, between documents the later") {
  const auto codec = [](const std::string& text, const std::vector<std::string>& settings = {}) {
    const WeightsSection weights = parse_config(text, "a.json", settings).weights;
    return std::pair(weights[Role::attention_linear], weights[Role::mlp_linear]);
  };
  const auto [attention, mlp] = codec(R"({"weights": {"block_linear": {"codec": "bf16", "rounding": "stochastic"},
                                                      "mlp_linear": {"rounding": "nearest", "master": "f32"}}})");
  CHECK(attention.storage == WeightStorage::bf16);
  CHECK(attention.rounding == Rounding::stochastic);
  CHECK(attention.master == Master::none);
  CHECK(mlp.storage == WeightStorage::bf16);
  CHECK(mlp.rounding == Rounding::nearest);
  CHECK(mlp.master == Master::f32);
  const auto later = codec(R"({"weights": {"mlp_linear": {"codec": "f32"}}})", {"weights.block_linear.codec=bf16"});
  CHECK(later.second.storage == WeightStorage::bf16);
  CHECK_THAT(
      refusal(R"({"weights": {"block_linear": {"codec": "int4"}}})"),
      Contains("a.json: weights.block_linear.codec is \"int4\"; expected one of f32, bf16, fp8_e4m3, int, ternary"));
}

TEST_CASE("config: $schema is for editors") {
  CHECK(refusal(R"({"$schema": "bittern.json"})") == "accepted");
}
