// bittern prepare: text files to token shards.
#include "bittern/prepare.h"

#include <unistd.h>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>

#include "app/app.h"
#include "base/signals.h"
#include "bittern/progress.h"

namespace bittern::app {
namespace {

// One bar per stage; a line in the end for a stage that never said how far it is.
class StageBars {
 public:
  void show(const PrepareProgress& progress) {
    if (progress.stage != stage_) {
      finish();
      stage_ = progress.stage;
      started_at_ = steady_seconds();
      bar_.emplace(console_, stage_, progress.of,
                   stage_ == "training the tokenizer" ? ProgressBar::Unit::items : ProgressBar::Unit::bytes);
      console_.status(stage_ + " ...");
    }
    done_ = progress.done;
    if (done_ > 0) bar_->update(done_);
  }
  void finish() {
    if (done_ > 0)
      bar_->finish();
    else if (bar_)
      console_.print(fmt::format("{}: {}", stage_, short_duration(steady_seconds() - started_at_)));
    bar_.reset();
    done_ = 0;
    stage_.clear();
  }
  Console& console() { return console_; }

 private:
  Console console_{STDERR_FILENO};
  std::string stage_;
  double started_at_ = 0;
  std::int64_t done_ = 0;
  std::optional<ProgressBar> bar_;
};

void print_summary(const PrepareOptions& options, const PrepareSummary& summary) {
  std::cout << fmt::format("{}: {} tokens to train on, {} to validate, vocabulary {}\n", options.out,
                           with_commas(summary.train_tokens), with_commas(summary.valid_tokens),
                           with_commas(summary.vocab_size));
  const double tokens = static_cast<double>(summary.train_tokens + summary.valid_tokens);
  std::cout << fmt::format("from {} of text in {} file{} ({} documents), {:.2f} bytes per token\n",
                           short_bytes(static_cast<double>(summary.text_bytes)), with_commas(summary.files),
                           summary.files == 1 ? "" : "s",
                           with_commas(summary.train_documents + summary.valid_documents),
                           tokens > 0 ? static_cast<double>(summary.text_bytes) / tokens : 0.0);
  std::cout << fmt::format("next: bittern train configs/quickstart.json --set data.path={}\n", options.out);
}

}  // namespace

void add_prepare(CLI::App& program, Action& action) {
  auto options = std::make_shared<PrepareOptions>();
  CLI::App* command = program.add_subcommand("prepare", "Turn text into token shards, and train a tokenizer on it.");
  command
      ->add_option(
          "TEXT", options->inputs,
          "files or folders: UTF-8 text, or JSON lines with a \"text\" each; .gz and .zst too; -: standard input")
      ->required();
  command->add_option("--out", options->out, "the folder to make")->required()->type_name("DIR");
  auto* vocabulary = command->add_option("--vocab-size", options->vocab_size, "of the tokenizer to train [4096]")
                         ->type_name("N")
                         ->check(whole_number(260, 1 << 24));
  command->add_option("--tokenizer", options->tokenizer, "use this SentencePiece model instead of training one")
      ->type_name("FILE.model")
      ->excludes(vocabulary);
  command->add_option("--valid-fraction", options->valid_fraction, "part of the text that is kept for validation")
      ->type_name("X")
      ->capture_default_str()
      ->check(number(0, 0.999));
  command->add_option("--text-field", options->text_field, "the member of a JSON line that holds the text; a.b: b in a")
      ->type_name("NAME")
      ->capture_default_str();
  command->add_flag("--skip-bad-lines", options->skip_bad_lines, "skip and count JSON lines that hold no text");
  command->add_option("--threads", options->threads, "CPU threads [all]; the result does not depend on them")
      ->type_name("N")
      ->check(whole_number(0, 4096));
  command->add_flag("--overwrite", options->overwrite, "replace the prepared data that is in DIR");
  command->add_flag("--verbose", options->verbose, "show what the tokenizer's training says");
  command->footer(
      "Examples:\n"
      "  bittern prepare book.txt --out data/book --vocab-size 4096\n"
      "  bittern prepare c4/*.jsonl.zst --tokenizer llama2/tokenizer.model --out data/c4\n"
      "  xz -dc pile.jsonl.xz | bittern prepare - --out data/pile --vocab-size 32000");
  command->callback([options, &action] {
    action = [options] {
      if (options->tokenizer.empty() && options->vocab_size == 0) options->vocab_size = 4096;
      const StopSignals signals;
      options->stop = stop_requested;
      StageBars bars;
      const PrepareSummary summary = prepare(*options, [&](const PrepareProgress& progress) { bars.show(progress); });
      bars.finish();
      for (const std::string& warning : summary.warnings)
        bars.console().print("warning: " + warning, Console::Style::warning);
      print_summary(*options, summary);
      return ExitCode::ok;
    };
  });
}

}  // namespace bittern::app
