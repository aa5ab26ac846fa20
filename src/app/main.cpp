// bittern: finds the subcommand, runs it, and turns whatever goes wrong into one sentence and an exit code.
#include <poll.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "app/app.h"
#include "app/version.h"
#include "base/printable.h"
#include "base/signals.h"
#include "bittern/progress.h"
#include "bittern/trainer.h"
#include "bittern/world.h"

namespace bittern::app {
namespace {

constexpr std::size_t longest_unexpected = 500;  // of what a library says

/// What a report of a defect should begin with. The first line is for programs, the rest for people.
std::string version() {
  std::string compiler = "g++ " __VERSION__;
#ifdef __clang__
  compiler = __VERSION__;  // "Clang 14.0.6"
#endif
  return fmt::format("bittern " BITTERN_VERSION "\ncommit    {}\ncompiler  {}, {}\ndevice    {}", built_from_commit,
                     compiler, build_type, device_description());
}

int run(int argc, char** argv) {
  CLI::App program("bittern pretrains language models.", "bittern");
  program.set_version_flag("-v,--version", version,
                           "Print the version, the commit, the compiler and the instruction set");
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

  // `bittern help` and `bittern help COMMAND` are what --help is.
  std::vector<const char*> words(argv, argv + argc);
  if (argc > 1 && std::string_view(argv[1]) == "help") {
    words = {argv[0]};
    if (argc > 2) words.push_back(argv[2]);
    words.push_back("--help");
  }
  // Of a wrong word in the place of the command the parser would only say that a subcommand is missing.
  const std::string_view first = words.size() > 1 ? words[1] : "";
  if (first.starts_with('-') && first != "-h" && first != "--help" && first != "-v" && first != "--version")
    throw input_error(
        "{} is no option of bittern itself; expected a command, --help or --version; see `bittern --help`", first);
  if (!first.empty() && !first.starts_with('-')) {
    std::string names;
    bool known = false;
    for (const CLI::App* command : program.get_subcommands([](CLI::App*) { return true; })) {
      known = known || command->get_name() == first;
      names += (names.empty() ? "" : ", ") + command->get_name();
    }
    if (!known) throw input_error("{} is not a command; expected one of {}; see `bittern --help`", first, names);
  }
  try {
    program.parse(static_cast<int>(words.size()), words.data());
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {  // --help and --version
      program.exit(error);
      return 0;
    }
    const auto chosen = program.get_subcommands();
    std::cerr << "bittern: " << printable(error.what()) << "; see `bittern"
              << (chosen.empty() ? "" : " " + chosen.front()->get_name()) << " --help`\n";
    return static_cast<int>(ExitCode::bad_input);
  }
  const std::string command = program.get_subcommands().front()->get_name();
  if (command != "train") refuse_ranks(command);
  return static_cast<int>(action());
}

// Standard output is a pipe that nobody reads any more, as in `bittern generate RUN | head -1`.
bool reader_is_gone() {
  pollfd output{.fd = STDOUT_FILENO, .events = POLLOUT, .revents = 0};
  return poll(&output, 1, 0) > 0 && (output.revents & POLLERR) != 0;
}

// Output that went nowhere (a full disk behind `>`) is a failure, however well everything else went; a reader that has
// seen enough is none.
int finish(int code) {
  std::cout.flush();
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0 || !std::cout) {
    if (reader_is_gone()) return code;
    std::cerr << "bittern: cannot write to standard output; free some space or write elsewhere\n";
    return code == 0 ? static_cast<int>(ExitCode::failure) : code;
  }
  return code;
}

int guarded(int argc, char** argv) {
  Console console(STDERR_FILENO);  // warnings go there, made fit for a terminal; standard output is for results
  setup_logging(console, "");
  struct StopLogging {
    ~StopLogging() { stop_logging(); }
  } stop_logging_at_end;
  try {
    return finish(run(argc, argv));
  } catch (const Error& error) {
    // What many ranks meet together, one of them says.
    if (launched_rank() == 0) std::cerr << "bittern: " << printable(error.what()) << "\n";
    return static_cast<int>(error.exit_code());
  } catch (const std::bad_alloc&) {
    std::cerr << "bittern: out of memory; `bittern plan CONFIG` shows what a run needs: lower "
                 "train.micro_batch_sequences or data.sequence_length, or set train.recompute to block\n";
  } catch (const std::system_error& error) {  // how fmt::print says that it could not write
    if (error.code() == std::errc::broken_pipe && reader_is_gone()) return static_cast<int>(ExitCode::ok);
    std::cerr << "bittern: unexpected failure: " << printable(error.what(), longest_unexpected)
              << "; is there space left where output goes?\n";
  } catch (const std::exception& error) {
    std::cerr << "bittern: unexpected failure: " << printable(error.what(), longest_unexpected)
              << "; this is a defect of bittern: please report it\n";
  }
  return static_cast<int>(ExitCode::failure);
}

}  // namespace

void add_weights_option(CLI::App& command, std::string& weights) {
  command
      .add_option("--weights", weights,
                  "stored: as they are; ternary: block linears become -1, 0 and 1 times their mean magnitude (for "
                  "models that DQT trained in 8 bits)")
      ->capture_default_str()
      ->type_name("stored|ternary")
      ->check(one_of({"stored", "ternary"}));
}

CLI::Validator number(double least, double most) {
  const auto check = [least, most](std::string& text) -> std::string {
    char* end = nullptr;
    const double number = std::strtod(text.c_str(), &end);
    const bool is_number = end != text.c_str() && *end == '\0';
    if (is_number && number >= least && number <= most) return "";
    return fmt::format("is {}; expected a number from {} to {}", text, least, most);
  };
  return CLI::Validator(check, "", "number");
}

CLI::Validator whole_number(std::int64_t least, std::int64_t most) {
  const auto check = [least, most](std::string& text) -> std::string {
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    const bool is_whole = error == std::errc() && end == text.data() + text.size();
    if (is_whole && number >= least && number <= most) return "";
    return fmt::format("is {}; expected a whole number from {} to {}, in digits", text, least, most);
  };
  return CLI::Validator(check, "", "whole_number");
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
  // A terminal or a pipe that goes away must not end a run: what it would have shown is in the run's files as well.
  bittern::ignore_write_signals();
  return bittern::app::guarded(argc, argv);
}
