// bittern plan: every byte and every FLOP of a run, without allocating it.
#include <memory>

#include "app/app.h"
#include "bittern/config.h"
#include "bittern/trainer.h"

namespace bittern::app {

void add_plan(CLI::App& program, Action& action) {
  struct Arguments : ConfigArguments {
    bool json = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand("plan", "Print the memory and the work of a run, without starting it.");
  add_config_arguments(*command, *arguments);
  command->get_option("CONFIG")->required();
  command->add_flag("--json", arguments->json, "as JSON");
  command->footer("Example:\n  bittern plan configs/base/llama_30m.json --set train.micro_batch_sequences=2");
  command->callback([arguments, &action] {
    action = [arguments] {
      print_plan(load_config(arguments->file, arguments->settings), arguments->json);
      return ExitCode::ok;
    };
  });
}

}  // namespace bittern::app
