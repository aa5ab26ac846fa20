// Whole runs and their data: resumed across shards and epochs, and stopped by what is damaged, changed or out of range.
#include <filesystem>
#include <fstream>

#include "bittern/prepare.h"
#include "bittern/sampler.h"
#include "bittern/token_file.h"
#include "train/tiny_run.h"

using namespace bittern;
using namespace bittern::tiny_run;

namespace {

/// A corpus of `sentences` beside `corpus()`, with its tokenizer. Returns what its config needs.
std::string prepare_beside(const std::string& folder, unsigned sentences, std::int64_t shard_tokens) {
  write_sentences(folder + "/text.txt", sentences);
  PrepareOptions options;
  options.inputs = {folder + "/text.txt"};
  options.out = folder + "/corpus";
  options.tokenizer = corpus() + "/tokenizer.model";
  options.valid_fraction = 0.1;
  options.shard_tokens = shard_tokens;
  prepare(options, {});
  return R"({"data":{"path":")" + options.out + R"("}})";
}

}  // namespace

TEST_CASE("training: resumed after every single step across shards and epochs, the run is the undisturbed one") {
  const Scratch scratch("training_resume");
  nlohmann::json extra = nlohmann::json::parse(prepare_beside(scratch.path, 36, 180));
  extra["train"] = {{"checkpoint_every", 1}};
  const RunConfig every = config(extra.dump());
  const TokenStream stream = TokenStream::open(every.data.path);
  const Sampler sampler(stream.token_count(), 24, 3, true);
  const std::int64_t samples = every.train.steps * every.train.batch_sequences;
  REQUIRE(stream.parts().size() >= 3);
  REQUIRE(samples >= 2 * sampler.sequences_per_epoch());
  REQUIRE(sampler.sequences_per_epoch() % every.train.batch_sequences != 0);  // a step that is part of two epochs

  const std::string reference = scratch.path + "/reference";
  REQUIRE(train(every, {.out = reference}) == ExitCode::ok);
  for (std::int64_t step = 1; step < 12; ++step) {
    INFO("resumed at " << step);
    const std::string run = scratch.path + "/run" + std::to_string(step);
    fs::copy(reference, run, fs::copy_options::recursive);
    for (std::int64_t later = step + 1; later <= 12; ++later)
      fs::remove_all(run + "/checkpoints/" + checkpoint_name(later));
    REQUIRE(train(every, {.out = run}) == ExitCode::ok);
    check_same_weights(reference, run, 12);
    CHECK(metrics(run) == metrics(reference));
  }
}

TEST_CASE("training: a shard with one flipped bit stops train and eval, and nothing is saved") {
  const Scratch scratch("training_flipped");
  const std::string data = scratch.path + "/corpus", run = scratch.path + "/run",
                    extra = R"({"data":{"path":")" + data + R"("}})";
  fs::copy(corpus(), data, fs::copy_options::recursive);
  REQUIRE(train(config(extra), {.out = run}) == ExitCode::ok);
  fs::remove_all(run + "/checkpoints/" + checkpoint_name(12));
  const std::string nine = bytes_of(run + "/checkpoints/" + checkpoint_name(9) + "/model.safetensors");
  for (const std::string shard : {"train_00000.bin", "valid_00000.bin"}) {
    INFO(shard);
    const std::string path = data + "/" + shard, whole = bytes_of(path);
    std::string flipped = whole;
    flipped[64] = static_cast<char>(flipped[64] ^ 1);  // the first id: below the vocabulary as it was before
    const auto write = [&](const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; };
    write(flipped);
    const std::string fresh = scratch.path + "/fresh_" + shard;
    for (const std::string& out : {fresh, run}) check_refused(out, extra, path + ": checksum is ");
    check_refused(fresh, extra, "the file is damaged, run `bittern prepare` again");
    CHECK_FALSE(fs::exists(fresh + "/checkpoints"));
    CHECK_FALSE(fs::exists(run + "/checkpoints/" + checkpoint_name(12)));
    CHECK(bytes_of(run + "/checkpoints/" + checkpoint_name(9) + "/model.safetensors") == nine);
    check_refused([&] { evaluate({.checkpoint = reference_run(), .data = path}); }, path + ": checksum is ");
    write(whole);
  }
  REQUIRE(train(config(extra), {.out = run}) == ExitCode::ok);
  check_same_weights(reference_run(), run, 12);
}

TEST_CASE("training: a run does not go on with other data") {
  const Scratch scratch("training_other_data");
  const std::string run = scratch.path + "/run";
  fs::copy(reference_run(), run, fs::copy_options::recursive);
  fs::remove_all(run + "/checkpoints/" + checkpoint_name(12));
  const std::string other = prepare_beside(scratch.path, 400, 100000);
  check_refused(run, other, "the run was trained on other data than " + scratch.path + "/corpus now holds; give it");
  CHECK_FALSE(fs::exists(run + "/checkpoints/" + checkpoint_name(12)));
  // The same files in another place are the same data.
  fs::remove_all(scratch.path + "/corpus");
  fs::copy(corpus(), scratch.path + "/corpus");
  REQUIRE(train(config(other), {.out = run}) == ExitCode::ok);
  check_same_weights(reference_run(), run, 12);
}

TEST_CASE(
    "training: an id out of range in a later window stops the run before it is there, and the last step is saved") {
  const Scratch scratch("training_bad_id");
  const std::string path = scratch.path + "/ids.bin", run = scratch.path + "/run";
  const auto write = [&](std::uint16_t last) {
    std::string bytes(1024, '\0');  // llm.c: magic, version, count in a header of 256 words
    const std::int32_t header[] = {20240520, 1, 12 * 4 * 24 + 1};
    std::memcpy(bytes.data(), header, sizeof header);
    for (std::int32_t i = 0; i < header[2]; ++i) {
      const auto id = i == 5 * 4 * 24 + 30 ? last : static_cast<std::uint16_t>(i * i % 320);
      bytes.append(reinterpret_cast<const char*>(&id), sizeof id);
    }
    std::ofstream(path, std::ios::binary) << bytes;
  };
  const std::string extra = R"({"data":{"path":")" + path + R"(","shuffle":false},"model":{"vocab_size":320},
                                "train":{"checkpoint_every":0,"evaluate_every":0,"sample_every":0}})";
  write(320);
  for (int again = 0; again < 2; ++again) {
    check_refused(run, extra,
                  path + ": token 510 is 320; expected an id below the vocabulary size 320; the file is damaged");
    CHECK(find_latest(run).step <= 5);  // how soon it is found is chance: -1 where no step was done
  }
  write(319);
  nlohmann::json undisturbed = nlohmann::json::parse(extra);
  undisturbed["train"]["checkpoint_every"] = 1;
  REQUIRE(train(config(undisturbed.dump()), {.out = scratch.path + "/undisturbed"}) == ExitCode::ok);
  if (const std::int64_t saved = find_latest(run).step; saved > 0)
    check_same_weights(run, scratch.path + "/undisturbed", saved);
}

TEST_CASE("belongs together: data of another tokenizer are refused for validation and eval, and told of for --init") {
  const Scratch scratch("training_tokenizers");
  const std::string other = prepare_sentences(scratch.path, 1000, 310, 0.1), run = scratch.path + "/run";
  const auto refused = [&](const auto& action, const std::string& text) { tiny_run::check_refused(action, text); };
  refused([&] { train(config(R"({"data":{"valid_path":")" + other + R"("}})"), {.out = run}); },
          "data.valid_path " + other + ": it was made with another tokenizer than data.path " + corpus());
  refused([&] { evaluate({.checkpoint = reference_run(), .data = other}); },
          "--data " + other + ": it was made with another tokenizer than " + reference_run());
  CHECK_NOTHROW(evaluate({.checkpoint = reference_run(), .data = corpus(), .max_sequences = 2}));
  const auto begun = [&](const std::string& name, const std::string& data) {
    const std::string out = scratch.path + "/" + name;
    const std::string extra = R"({"data":{"path":")" + data + R"("},"model":{"vocab_size":320},"train":{"steps":2}})";
    REQUIRE(train(config(extra), {.out = out, .init = reference_run()}) == ExitCode::ok);
    return bytes_of(out + "/log.txt");
  };
  const std::string told = "its tokenizer.model is not the one that data.path";
  CHECK_THAT(begun("told", other), Catch::Contains(told));
  CHECK_THAT(begun("same", corpus()), !Catch::Contains(told));
}

TEST_CASE("belongs together: special ids beyond the vocabulary are refused, with their file") {
  const Scratch scratch("training_special_ids");
  const std::string model = scratch.path + "/model";
  export_checkpoint({.checkpoint = reference_run(), .out = model});
  const nlohmann::json whole = nlohmann::json::parse(bytes_of(model + "/config.json"));
  for (const auto& [key, value] : std::vector<std::pair<std::string, nlohmann::json>>{
           {"bos_token_id", 320}, {"eos_token_id", 4096}, {"eos_token_id", nlohmann::json::array({2, 320})}}) {
    nlohmann::json wrong = whole;
    wrong[key] = value;
    std::ofstream(model + "/config.json") << wrong.dump();
    const std::string expected = model + "/config.json: " + key + " is ";
    tiny_run::check_refused([&] { generate({.checkpoint = model, .prompt = "the"}); }, expected);
    tiny_run::check_refused([&] { evaluate({.checkpoint = model, .data = corpus()}); }, expected);
  }
  std::ofstream(model + "/config.json") << whole.dump();
  CHECK_NOTHROW(evaluate({.checkpoint = model, .data = corpus(), .max_sequences = 2}));
}
