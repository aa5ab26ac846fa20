// The command line: one file per subcommand. Each adds its options to the program and stores what to do in `action`.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "bittern/error.h"

namespace bittern::app {

using Action = std::function<ExitCode()>;

void add_prepare(CLI::App& program, Action& action);
void add_train(CLI::App& program, Action& action);
void add_plan(CLI::App& program, Action& action);
void add_eval(CLI::App& program, Action& action);
void add_generate(CLI::App& program, Action& action);
void add_export(CLI::App& program, Action& action);
void add_report(CLI::App& program, Action& action);
void add_config(CLI::App& program, Action& action);

/// CONFIG and --set, which several subcommands take.
struct ConfigArguments {
  std::string file;
  std::vector<std::string> settings;
};
void add_config_arguments(CLI::App& command, ConfigArguments& arguments);

/// --weights, of what uses a checkpoint.
void add_weights_option(CLI::App& command, std::string& weights);

/// Checks that a number lies between two others, with a fraction or without; the message names the option, what it was
/// given, and the bounds.
CLI::Validator number(double least, double most);
CLI::Validator whole_number(std::int64_t least, std::int64_t most);
/// A check that a text is one of a few.
CLI::Validator one_of(std::vector<std::string> names);

}  // namespace bittern::app
