// bittern: finds the subcommand, runs it, and turns whatever goes wrong into one sentence and an exit code.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#include "app/app.h"

namespace bittern::app {
namespace {

constexpr const char* version = "bittern " BITTERN_VERSION;

int run(int argc, char** argv) {
  CLI::App program("bittern pretrains language models.", "bittern");
  program.set_version_flag("--version", version);
  program.require_subcommand(1);
  program.get_formatter()->column_width(34);
  program.footer(
      "Start with a text file of your own:\n"
      "  bittern prepare book.txt --out data/book --vocab-size 4096\n"
      "  bittern train configs/quickstart.json --set data.path=data/book --out runs/book\n"
      "  bittern generate runs/book --prompt \"Once upon a time\"\n"
      "\n"
      "Exit codes: 0 done; 2 something given is wrong; 75 stopped on request after saving, run again to go on; 1 "
      "anything else.");

  Action action;
  for (const auto add : {add_prepare, add_train, add_plan, add_eval, add_generate, add_export, add_report, add_config})
    add(program, action);

  // The parser would only say that a subcommand is missing.
  if (argc > 1 && argv[1][0] != '-') {
    std::string names;
    bool known = false;
    for (const CLI::App* command : program.get_subcommands([](CLI::App*) { return true; })) {
      known = known || command->get_name() == argv[1];
      names += (names.empty() ? "" : ", ") + command->get_name();
    }
    if (!known) throw input_error("{} is not a command; expected one of {}; see `bittern --help`", argv[1], names);
  }
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {  // --help and --version
      program.exit(error);
      return 0;
    }
    const auto chosen = program.get_subcommands();
    std::cerr << "bittern: " << error.what() << "; see `bittern"
              << (chosen.empty() ? "" : " " + chosen.front()->get_name()) << " --help`\n";
    return static_cast<int>(ExitCode::bad_input);
  }
  return static_cast<int>(action());
}

// Output that went nowhere (a full disk behind a pipe's `>`) is a failure, however well everything else went.
int finish(int code) {
  std::cout.flush();
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0 || !std::cout) {
    std::cerr << "bittern: cannot write to standard output; free some space or write elsewhere\n";
    return code == 0 ? static_cast<int>(ExitCode::failure) : code;
  }
  return code;
}

int guarded(int argc, char** argv) {
  try {
    return finish(run(argc, argv));
  } catch (const Error& error) {
    std::cerr << "bittern: " << error.what() << "\n";
    return static_cast<int>(error.exit_code());
  } catch (const std::bad_alloc&) {
    std::cerr << "bittern: out of memory; `bittern plan CONFIG` shows what a run needs: lower "
                 "train.micro_batch_sequences or data.sequence_length, or set train.recompute to block\n";
  } catch (const std::exception& error) {
    std::cerr << "bittern: unexpected failure: " << error.what() << "; this is a defect of bittern: please report it\n";
  }
  return static_cast<int>(ExitCode::failure);
}

}  // namespace

CLI::Validator between(double least, double most) {
  const auto check = [least, most](std::string& text) -> std::string {
    char* end = nullptr;
    const double number = std::strtod(text.c_str(), &end);
    const bool is_number = end != text.c_str() && *end == '\0';
    if (is_number && number >= least && number <= most) return "";
    return fmt::format("is {}; expected a number from {} to {}", text, least, most);
  };
  return CLI::Validator(check, "", "between");
}

CLI::Validator one_of(std::vector<std::string> names) {
  const auto check = [names = std::move(names)](std::string& text) -> std::string {
    std::string all;
    for (const std::string& name : names) {
      if (name == text) return "";
      all += (all.empty() ? "" : ", ") + name;
    }
    return fmt::format("is {}; expected one of {}", text, all);
  };
  return CLI::Validator(check, "", "one_of");
}

}  // namespace bittern::app

int main(int argc, char** argv) {
  return bittern::app::guarded(argc, argv);
}
