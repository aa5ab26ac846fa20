// bittern config: what a run would use, or everything that a config may say.
#include "bittern/config.h"

#include <cstdio>
#include <iostream>
#include <memory>

#include "app/app.h"

namespace bittern::app {

void add_config_arguments(CLI::App& command, ConfigArguments& arguments) {
  command.add_option("CONFIG", arguments.file, "the run's config, a JSON file");
  command
      .add_option("--set", arguments.settings,
                  "path.to.key=value: a key's value, over what the config says; may be given many times")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
}

void add_config(CLI::App& program, Action& action) {
  struct Arguments : ConfigArguments {
    bool schema = false, reference = false, json = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand(
      "config", "Print the effective config (defaults, extends and --set applied), its schema, or its reference.");
  add_config_arguments(*command, *arguments);
  auto* schema = command->add_flag("--schema", arguments->schema, "print the JSON Schema instead; needs no CONFIG");
  auto* reference =
      command->add_flag("--reference", arguments->reference, "print the reference page instead; needs no CONFIG");
  schema->excludes(reference);
  command->add_flag("--json", arguments->json, "JSON alone, as it always is: no note about ignored keys");
  command->footer("Example:\n  bittern config configs/quickstart.json --set train.steps=1000");
  command->callback([arguments, &action] {
    action = [arguments] {
      if (arguments->schema || arguments->reference) {
        if (!arguments->file.empty() || !arguments->settings.empty())
          throw input_error("config --{} takes no CONFIG and no --set; leave them out",
                            arguments->schema ? "schema" : "reference");
        std::cout << (arguments->schema ? config_schema() : config_reference());
        return ExitCode::ok;
      }
      if (arguments->file.empty()) throw input_error("config: CONFIG is missing; see `bittern config --help`");
      const RunConfig config = load_config(arguments->file, arguments->settings);
      std::cout << config_json(config);
      if (!arguments->json)
        for (const std::string& key : config.ignored_keys)
          std::cerr << "ignored, changes nothing here: " << key << "\n";
      return ExitCode::ok;
    };
  });
}

}  // namespace bittern::app
