// bittern train: makes a run, or goes on with it.
#include <memory>
#include <utility>

#include "app/app.h"
#include "bittern/config.h"
#include "bittern/trainer.h"

namespace bittern::app {

void add_train(CLI::App& program, Action& action) {
  struct Arguments : ConfigArguments {
    TrainOptions options;
  };
  auto arguments = std::make_shared<Arguments>();
  TrainOptions& options = arguments->options;
  CLI::App* command = program.add_subcommand(
      "train", "Train; go on where the run stopped. Ctrl-C saves and stops, twice stops at once.");
  add_config_arguments(*command, *arguments);
  command->get_option("CONFIG")->required();
  command->add_option("--out", options.out, "the run's folder [runs/NAME, where run.name is NAME]")->type_name("RUN");
  command
      ->add_option("--resume", options.resume,
                   "auto: go on if RUN has a checkpoint; never: RUN must be new; or a checkpoint's folder [auto]")
      ->type_name("auto|never|CHECKPOINT");
  command
      ->add_option(
          "--init", options.init,
          "start a new run from these weights: a checkpoint, or a Hugging Face folder (llama, mistral, qwen2, qwen3, bitnet)")
      ->type_name("CHECKPOINT");
  command
      ->add_option("--fork", options.fork,
                   "start a new run from a checkpoint, with its weights, moments and step, under another config")
      ->type_name("CHECKPOINT");
  command->add_option("--profile", options.profile_steps, "print what each op costs over N steps, then stop")
      ->type_name("N")
      ->check(whole_number(1, 1000000));
  command->footer(
      "Examples:\n"
      "  bittern train configs/quickstart.json --out runs/quickstart\n"
      "  bittern train configs/quickstart.json --set data.path=data/book --set train.steps=500 --out runs/book\n"
      "  bittern train configs/quickstart.json --fork runs/quickstart --set train.steps=5000 --out runs/longer");
  command->callback([arguments, &action] {
    action = [arguments] {
      RunConfig config = load_config(arguments->file, arguments->settings);
      if (config.data.path.empty())
        throw input_error(
            "{}: data.path is not given; expected a folder made by `bittern prepare`, a llm.c .bin or a Megatron "
            "prefix; add it, or use --set data.path=FOLDER",
            arguments->file);
      if (arguments->options.out.empty()) arguments->options.out = "runs/" + config.run.name;
      return train(std::move(config), arguments->options);
    };
  });
}

}  // namespace bittern::app
