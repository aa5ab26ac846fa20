// bittern report: the curves of one run or of several.
#include "bittern/report.h"

#include <iostream>
#include <memory>

#include "app/app.h"

namespace bittern::app {

void add_report(CLI::App& program, Action& action) {
  struct Arguments {
    std::vector<std::string> runs;
    std::string out;
    bool json = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand("report", "Compare runs: a table here, and a page of curves.");
  command->add_option("RUN", arguments->runs, "folders of runs")->required();
  command->add_option("--out", arguments->out, "also write the page, one self-contained HTML file")->type_name("FILE");
  command->add_flag("--json", arguments->json, "the table as JSON");
  command->footer("Example:\n  bittern report runs/quickstart runs/book --out report.html");
  command->callback([arguments, &action] {
    action = [arguments] {
      const Report report(arguments->runs);
      if (!arguments->out.empty()) report.write(arguments->out);
      std::cout << (arguments->json ? report.json() : report.table());
      if (!arguments->out.empty() && !arguments->json) std::cout << "curves: " << arguments->out << "\n";
      return ExitCode::ok;
    };
  });
}

}  // namespace bittern::app
