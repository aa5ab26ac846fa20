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
    bool json = false, reference = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand("report", "Compare runs: a table here, and a page of curves.");
  command->add_option("RUN", arguments->runs, "folders of runs");
  command->add_option("--out", arguments->out, "also write the page, one self-contained HTML file")->type_name("FILE");
  command->add_flag("--json", arguments->json, "the table as JSON");
  command->add_flag("--reference", arguments->reference,
                    "print what each key of metrics.jsonl means instead; needs no RUN");
  command->footer("Example:\n  bittern report runs/quickstart runs/book --out report.html");
  command->callback([arguments, &action] {
    action = [arguments] {
      if (arguments->reference) {
        if (!arguments->runs.empty() || !arguments->out.empty() || arguments->json)
          throw input_error("report --reference takes no RUN, no --out and no --json; leave them out");
        std::cout << metrics_reference();
        return ExitCode::ok;
      }
      if (arguments->runs.empty())
        throw input_error(
            "report: RUN is missing; expected one folder or more, for example runs/mini; see `bittern report --help`");
      const Report report(arguments->runs);
      if (!arguments->out.empty()) report.write(arguments->out);
      std::cout << (arguments->json ? report.json() : report.table());
      if (!arguments->out.empty() && !arguments->json) std::cout << "curves: " << arguments->out << "\n";
      return ExitCode::ok;
    };
  });
}

}  // namespace bittern::app
