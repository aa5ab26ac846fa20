// One config, one file: JSON, names, types, ranges, and what a person is told.
#include <functional>

#include "config/config_support.h"
#include "config/table.h"

using namespace bittern;
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;

TEST_CASE("config: an empty object is the defaults of config.h, completed") {
  const RunConfig config = parse_config("{}", "a.json");
  const RunConfig plain;
  CHECK(config.train.steps == plain.train.steps);
  CHECK(config.schedule.lr == plain.schedule.lr);
  CHECK(config.optimizer.beta2 == plain.optimizer.beta2);
  CHECK(config.model.num_key_value_heads == plain.model.num_attention_heads);
  CHECK(config.model.head_dim == plain.model.hidden_size / plain.model.num_attention_heads);
  CHECK(config.micro_batch() == plain.train.batch_sequences);
  CHECK(config.ignored_keys.empty());
}

TEST_CASE("config: a value of every type reaches its field") {
  const RunConfig config = parse_config(R"({
    "run": {"name": "x-1.a_b", "seed": 4294967295, "device": "cpu", "threads": 3},
    "model": {"hidden_size": 96, "num_attention_heads": 6, "num_key_value_heads": 2, "rope_theta": 5e5, "tie_word_embeddings": true},
    "data": {"path": "d", "valid_path": "v", "sequence_length": 1e2, "shuffle": false},
    "train": {"steps": 2.0, "batch_sequences": 6, "micro_batch_sequences": 3, "sample_prompt": "Once \"upon\"\n", "recompute": "block"},
    "schedule": {"shape": "wsd", "lr": 1, "warmup_steps": 1, "decay_fraction": 0.5},
    "optimizer": {"betas": [0, 0.999], "states": {"m": "bf16"}},
    "precision": {"compute": "f32"},
    "weights": {"embedding": {"codec": "bf16", "master": "f32"}, "mlp_linear": {"codec": "bf16", "rounding": "stochastic"}}
  })",
                                        "a.json");
  CHECK(config.run.seed == 4294967295);
  CHECK(config.run.name == "x-1.a_b");
  CHECK(config.model.head_dim == 16);
  CHECK(config.model.rope_theta == 5e5);
  CHECK(config.model.tie_word_embeddings);
  CHECK(config.data.sequence_length == 100);
  CHECK_FALSE(config.data.shuffle);
  CHECK(config.train.steps == 2);
  CHECK(config.micro_batch() == 3);
  CHECK(config.train.sample_prompt == "Once \"upon\"\n");
  CHECK(config.optimizer.beta1 == 0.0);
  CHECK(config.optimizer.beta2 == 0.999);
  CHECK(config.optimizer.states.m == "bf16");
  CHECK(config.optimizer.states.v == "f32");
  CHECK(config.precision.residual == DType::f32);  // follows compute
  CHECK(config.weights[Role::embedding].master == Master::f32);
  CHECK(config.weights[Role::mlp_linear].rounding == Rounding::stochastic);
  CHECK(config.weights[Role::attention_linear].storage == WeightStorage::f32);
}

TEST_CASE("config: text that is not JSON is refused with line, column and what to do") {
  const auto [text, place, hint] = GENERATE(table<std::string, std::string, std::string>({
      {"", "a.json:1:1: ", "it is empty"},
      {" \n\t", "a.json:", "it is empty"},
      {"{", "a.json:1:2: ", "it ends in the middle"},
      {"{\"run\": {\"seed\": 1}", "a.json:1:20: ", "it ends in the middle"},
      {"{\"run\": \"abc", "a.json:1:", "it ends in the middle"},
      {"{\n  \"run\": {\"seed\": 1,}\n}", "a.json:2:21: ", "remove the comma before it"},
      {"{\n  // mine\n  \"run\": {}\n}", "a.json:2:3: ", "no comments"},
      {"{\"run\": {} /* mine */}", "a.json:1:12: ", "no comments"},
      {"{\"run\": {}} # mine", "a.json:1:13: ", "no comments"},
      {"{'run': {}}", "a.json:1:2: ", "double quotes"},
      {"{run: {}}", "a.json:1:2: ", "double quotes"},
      {"{\"schedule\": {\"lr\": NaN}}", "a.json:1:21: ", "expected true, false, null, a number"},
      {"{\"schedule\": {\"lr\": nan}}", "a.json:1:21: ", "expected true, false, null, a number"},
      {"{\"schedule\": {\"lr\": Infinity}}", "a.json:1:21: ", "expected true, false, null, a number"},
      {"{\"schedule\": {\"lr\": .5}}", "a.json:1:21: ", "numbers are written like"},
      {"{\"run\": {\"seed\": 01}}", "a.json:1:19: ", "numbers are written like"},
      {"{\"run\": {}\n\"data\": {}}", "a.json:2:1: ", "a comma, a colon or a bracket is missing before it"},
      {"{\"run\" {}}", "a.json:1:8: ", "a comma, a colon or a bracket is missing before it"},
      {"{\"schedule\": {\"lr\": 1e999}}", "a.json:1:21: ", "the number 1e999 is too large"},
      {"{\"run\": {\"name\": \"\xff\xfe\"}}", "a.json:1:19: ", "not UTF-8"},
      {"{\"run\": {\"name\": \"a\nb\"}}", "a.json:1:", "control character"},
      {std::string("{\"run\"\0: {}}", 12), "a.json:1:7: ", "not JSON"},
  }));
  const std::string message = refusal(text);
  CAPTURE(text);
  CHECK_THAT(message, StartsWith(place));
  CHECK_THAT(message, Contains(hint));
}

TEST_CASE("config: what is no object, is given twice or is nested too deeply is refused") {
  CHECK_THAT(refusal("[1]"), StartsWith("a.json: is [1]; expected an object"));
  CHECK_THAT(refusal("3"), StartsWith("a.json: is 3; expected an object"));
  CHECK_THAT(refusal(R"({"train": {"steps": 1, "steps": 2}})"), StartsWith("a.json: has the key \"steps\" twice"));
  CHECK_THAT(refusal(R"({"train": {}, "train": {}})"), StartsWith("a.json: has the key \"train\" twice"));
  for (const char* bracket : {"[", "{\"a\":"}) {
    std::string deep;
    for (int i = 0; i < 20000; ++i) deep += bracket;
    CHECK_THAT(refusal(deep), Contains("nested deeper than 32 levels"));
  }
}

TEST_CASE("config: an unknown key is refused with its path, its value, the nearest name and what is allowed") {
  const auto [text, path, meant] = GENERATE(table<std::string, std::string, std::string>({
      {R"({"train": {"stps": 5}})", "train.stps is not a known key (its value is 5)", "did you mean train.steps?"},
      {R"({"trian": {"steps": 5}})", "trian is not a known key (its value is {\"steps\":5})", "did you mean train?"},
      {R"({"train": {"lr": 1e-3}})", "train.lr is not a known key", "did you mean schedule.lr?"},
      {R"({"learning_rate": 1})", "learning_rate is not a known key", "did you mean schedule.lr?"},
      {R"({"optimizer": {"learning_rate": 1}})", "optimizer.learning_rate", "did you mean schedule.lr?"},
      {R"({"optimizer": {"states": {"w": "f32"}}})", "optimizer.states.w is not",
       "allowed in optimizer.states: block_linear, embedding"},
      {R"({"optimizer": {"weight-decay": 0}})", "optimizer.weight-decay", "did you mean optimizer.weight_decay?"},
      {R"({"train": {"Steps": 5}})", "train.Steps", "did you mean train.steps?"},
      {R"({"train": {"step_count_of_the_whole_thing": 5}})", "its value is 5",
       "allowed in train: steps, batch_sequences"},
      {R"({"weights": {"block_linaer": {}}})", "weights.block_linaer", "did you mean weights.block_linear?"},
      {R"({"weights": {"head": {"code": "f32"}}})", "weights.head.code", "did you mean weights.head.codec?"},
      {R"({"data": {"a b\u0001": 5}})", "data.\"a b\\u0001\" is not", "allowed in data: path"},
      {R"({"": 5})", "\"\" is not a known key", "allowed here: run, model"},
      {R"({"run": {"": 5}})", "run.\"\" is not a known key", "allowed in run: name"},
      {R"({"train.steps": 5})", "train.steps is one name with a dot in it", "write {\"train\": {\"steps\": 5}}"},
      {R"({"optimizer": {"states.m": "f32"}})", "optimizer.states.m is one name",
       "write {\"optimizer\": {\"states\": {\"m\": \"f32\"}}}"},
      {R"({"model": {"hidden_sizes": 5}})", "model.hidden_sizes", "did you mean model.hidden_size?"},
      {R"({"run": {"thread": 5}})", "run.thread is", "did you mean run.threads?"},
  }));
  const std::string message = refusal(text);
  CAPTURE(text);
  CHECK_THAT(message, StartsWith("a.json: "));
  CHECK_THAT(message, Contains(path));
  CHECK_THAT(message, Contains(meant));
  const std::string far = refusal(R"({"train": {"xyzzy": 5}})");
  CHECK(far.find("did you mean") == std::string::npos);
}

TEST_CASE("config: a wrong type or range is refused with path, value and what is allowed") {
  const auto [section, key, value, allowed] = GENERATE(table<std::string, std::string, std::string, std::string>({
      {"train", "steps", "0", "a whole number from 1 to 4294967295"},
      {"train", "steps", "-3", "a whole number from 1 to 4294967295"},
      {"train", "steps", "1.5", "a whole number from 1"},
      {"train", "steps", "1e300", "a whole number from 1"},
      {"train", "steps", "18446744073709551615", "a whole number from 1"},
      {"train", "steps", "true", "a whole number from 1"},
      {"train", "steps", "null", "a whole number from 1"},
      {"train", "steps", "[5]", "a whole number from 1"},
      {"train", "steps", "{\"a\":5}", "a whole number from 1"},
      {"train", "steps", "\"5\"", "write it without quotes"},
      {"train", "z_loss", "\"0\"", "a number of at least 0 and at most 1; write it without quotes"},
      {"train", "z_loss", "false", "a number of at least 0 and at most 1"},
      {"train", "recompute", "\"blocks\"", "one of none, block; did you mean \"block\"?"},
      {"train", "recompute", "true", "one of none, block"},
      {"run", "seed", "4294967296", "a whole number from 0 to 4294967295"},
      {"run", "device", "\"gpu\"", "one of auto, cpu, cuda; did you mean \"cuda\"?"},
      {"run", "name", "7", "a text of 1 to 128 bytes; write it in double quotes"},
      {"run", "name", "\"\"", "a text of 1 to 128 bytes"},
      {"data", "path", "\"a\\u0000b\"", "a text of 0 to 4096 bytes without a zero byte"},
      {"data", "shuffle", "1", "true or false"},
      {"data", "shuffle", "\"true\"", "true or false; write it without quotes"},
      {"data", "shuffle", "\"True\"", "a truth value is written as true"},
      {"schedule", "lr", "\".001\"", "a number is written as 0.001"},
      {"optimizer", "betas", "\"0.9,0.95\"", "a list is written as [0.9,0.95]"},
      {"schedule", "lr", "0", "a number above 0 and at most 100"},
      {"schedule", "lr", "-1e-3", "a number above 0"},
      {"schedule", "shape", "\"cosin\"", "one of constant, linear, cosine, wsd, two_stage; did you mean \"cosine\"?"},
      {"schedule", "final_factor", "1.1", "a number of at least 0 and at most 1"},
      {"optimizer", "betas", "0.9", "an array of two numbers, each of at least 0 and below 1"},
      {"optimizer", "betas", "[0.9]", "an array of two numbers"},
      {"optimizer", "betas", "[0.9,1]", "each of at least 0 and below 1"},
      {"optimizer", "betas", "[-0.1,0.9]", "each of at least 0 and below 1"},
      {"optimizer", "betas", "[\"a\",0.9]", "an array of two numbers"},
      {"optimizer", "eps", "0", "a number of at least 1e-30"},
      {"optimizer", "rule", "\"adam\"", "one of adamw, sgdm, adafactor, muon; did you mean \"adamw\"?"},
      {"optimizer", "states", "\"f32\"", "an object with keys of: block_linear, embedding"},
      {"precision", "compute", "\"bfloat16\"", "one of f32, bf16; did you mean \"bf16\"?"},
      {"precision", "compute", "\"f16\"", "one of f32, bf16"},
      {"model", "hidden_size", "0", "a whole number from 1"},
      {"model", "num_hidden_layers", "9223372036854775807", "a whole number from 1 to 4096"},
      {"model", "intermediate_size", "-1", "a whole number from 1"},
      {"model", "head_dim", "512", "a whole number from 2 to 256"},
      {"model", "rope_theta", "0", "a number above 0"},
      {"weights", "head", "\"bf16\"", "an object with keys of: codec, bits, range"},
  }));
  const std::string message = refusal("{\"" + section + "\": {\"" + key + "\": " + value + "}}");
  CAPTURE(message);
  CHECK_THAT(message, StartsWith("a.json: " + section + "." + key + " is "));
  CHECK_THAT(message, Contains("expected " + allowed) || Contains(allowed));
  if (value.size() < 5 && value.find('e') == std::string::npos)
    CHECK_THAT(message, Contains(" is " + value + "; expected"));
}

TEST_CASE("config: a long value is cut in the message") {
  const std::string message = refusal(R"({"train": {"steps": ")" + std::string(100000, 'x') + "\"}}");
  CHECK(message.size() < 400);
}

TEST_CASE("config: every key of the table takes its least and its most value and refuses what is beyond") {
  for (const config::Key& key : config::keys()) {
    const RunConfig plain;
    const config::Field where = field(key, plain);
    const bool whole = std::holds_alternative<std::int64_t*>(where);
    if (!whole && !std::holds_alternative<double*>(where)) continue;
    CAPTURE(key.path);
    const auto with = [&](double value) {  // "a.b.c" becomes {"a": {"b": {"c": value}}}
      std::string text = fmt::format("{}", value);
      std::string_view path = key.path;
      for (std::size_t dot = path.rfind('.'); dot != path.npos; dot = path.rfind('.')) {
        text = fmt::format("{{\"{}\": {}}}", path.substr(dot + 1), text);
        path = path.substr(0, dot);
      }
      return refusal(fmt::format("{{\"{}\": {}}}", path, text));
    };
    // In range, a combination may still be refused, but not for the value itself.
    const auto range_refused = [&](double value) {
      return with(value).find("; expected " + expected(key)) != std::string::npos;
    };
    CHECK(range_refused(key.range.least) == key.range.open_least);
    CHECK(range_refused(key.range.most) == key.range.open_most);
    const auto beyond = [&](double value) { return whole ? value + 1 : value * (1 + 1e-9) + 1e-40; };
    CHECK(range_refused(beyond(key.range.most)));
    CHECK(range_refused(-1.0));
  }
}
