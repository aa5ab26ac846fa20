// bittern eval: how well a checkpoint predicts a text.
#include <memory>

#include "app/app.h"
#include "bittern/trainer.h"

namespace bittern::app {

void add_eval(CLI::App& program, Action& action) {
  auto options = std::make_shared<EvaluateOptions>();
  CLI::App* command = program.add_subcommand("eval", "Print loss, perplexity and bits per byte of a checkpoint.");
  command->add_option("CHECKPOINT", options->checkpoint, "a checkpoint, a RUN (its newest), or a Hugging Face folder")
      ->required();
  command
      ->add_option("--data", options->data, "a folder made by prepare, a llm.c .bin, a Megatron prefix, or a text file")
      ->required()
      ->type_name("DATA");
  command->add_option("--sequence-length", options->sequence_length, "tokens per sequence [what it was trained with]")
      ->type_name("T")
      ->check(whole_number(1, 1 << 22));
  command->add_option("--max-sequences", options->max_sequences, "stop after so many sequences [all]")
      ->type_name("N")
      ->check(whole_number(1, 1000000000));
  command->add_option("--batch", options->batch, "sequences at a time")
      ->type_name("N")
      ->capture_default_str()
      ->check(whole_number(1, 65536));
  command->add_option("--threads", options->threads, "CPU threads [all]")->type_name("N")->check(whole_number(0, 4096));
  command->add_option("--compute", options->compute, "precision; auto: what it was trained with")
      ->capture_default_str()
      ->type_name("auto|f32|bf16")
      ->check(one_of({"auto", "f32", "bf16"}));
  add_weights_option(*command, options->weights);
  command->add_flag("--json", options->json, "as JSON");
  command->footer("Example:\n  bittern eval runs/quickstart --data data/quickstart");
  command->callback([options, &action] {
    action = [options] {
      evaluate(*options);
      return ExitCode::ok;
    };
  });
}

}  // namespace bittern::app
