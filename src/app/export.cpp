// bittern export: a checkpoint as a folder that Hugging Face `transformers` opens.
#include <memory>

#include "app/app.h"
#include "bittern/trainer.h"

namespace bittern::app {

void add_export(CLI::App& program, Action& action) {
  auto options = std::make_shared<ExportOptions>();
  CLI::App* command = program.add_subcommand("export", "Write a folder that Hugging Face `transformers` opens.");
  command->add_option("CHECKPOINT", options->checkpoint, "a checkpoint, or a RUN (its newest)")->required();
  command->add_option("--out", options->out, "the folder to make")->required()->type_name("DIR");
  command->add_option("--dtype", options->dtype, "of the weights; auto: as they are stored, f32 for codes")
      ->capture_default_str()
      ->type_name("auto|f32|bf16")
      ->check(one_of({"auto", "f32", "bf16"}));
  add_weights_option(*command, options->weights);
  command->footer("Example:\n  bittern export runs/quickstart --out exported --dtype bf16");
  command->callback([options, &action] {
    action = [options] {
      export_checkpoint(*options);
      return ExitCode::ok;
    };
  });
}

}  // namespace bittern::app
