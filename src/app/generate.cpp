// bittern generate: text from a checkpoint, as it is made.
#include <memory>

#include "app/app.h"
#include "bittern/trainer.h"

namespace bittern::app {

void add_generate(CLI::App& program, Action& action) {
  auto options = std::make_shared<GenerateOptions>();
  CLI::App* command = program.add_subcommand("generate", "Write text that goes on from a prompt.");
  command->add_option("CHECKPOINT", options->checkpoint, "a checkpoint, a RUN (its newest), or a Hugging Face folder")
      ->required();
  command->add_option("--prompt", options->prompt, "what the text goes on from")->type_name("TEXT");
  command->add_option("--tokens", options->tokens, "how many tokens to write")
      ->type_name("N")
      ->capture_default_str()
      ->check(whole_number(1, 1 << 22));
  command->add_option("--temperature", options->temperature, "0: always the most likely token; higher: bolder")
      ->type_name("X")
      ->capture_default_str()
      ->check(number(0, 100));
  command->add_option("--top-k", options->top_k, "choose among the K most likely tokens [all]")
      ->type_name("K")
      ->check(whole_number(0, 1 << 24));
  command
      ->add_option("--top-p", options->top_p, "choose among the likeliest tokens that together have this probability")
      ->type_name("P")
      ->capture_default_str()
      ->check(number(0, 1));
  command->add_option("--seed", options->seed, "another seed, another text; the same seed, the same text")
      ->type_name("S")
      ->capture_default_str()
      ->check(whole_number(0, 4294967295));
  command->add_option("--threads", options->threads, "CPU threads [all]")->type_name("N")->check(whole_number(0, 4096));
  command->add_option("--compute", options->compute, "precision; auto: what it was trained with")
      ->capture_default_str()
      ->type_name("auto|f32|bf16")
      ->check(one_of({"auto", "f32", "bf16"}));
  add_weights_option(*command, options->weights);
  command->footer("Example:\n  bittern generate runs/quickstart --prompt \"The file\" --tokens 100 --temperature 0.7");
  command->callback([options, &action] {
    action = [options] {
      generate(*options);
      return ExitCode::ok;
    };
  });
}

}  // namespace bittern::app
