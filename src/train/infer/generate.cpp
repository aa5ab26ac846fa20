// `bittern generate`: text from a checkpoint, streamed as it is made.
#include <unistd.h>

#include <cstdio>

#include "base/printable.h"
#include "base/signals.h"
#include "bittern/progress.h"
#include "bittern/trainer.h"
#include "train/infer/inference.h"
#include "train/infer/text_sampler.h"

namespace bittern {

void generate(const GenerateOptions& options) {
  const StopSignals signals;
  OpenedModel opened = open_model(options.checkpoint, options.compute, options.weights, options.threads);
  if (!opened.tokenizer)
    throw input_error("{}: no tokenizer.model in the folder, so there is no way to read a prompt", opened.folder);
  const std::vector<std::int32_t> prompt = prompt_tokens(*opened.tokenizer, opened.special_ids.bos, options.prompt);
  const std::int64_t positions = static_cast<std::int64_t>(prompt.size()) + options.tokens;
  const ModelSpec& model = opened.config.model;
  if (positions > model.max_position_embeddings)
    throw input_error(
        "the prompt has {} tokens and --tokens is {}, but the model has {} positions (max_position_embeddings); lower --tokens or "
        "shorten the prompt",
        prompt.size(), options.tokens, model.max_position_embeddings);
  const std::unique_ptr<Session> session = load_model(opened, 1, 1, positions);
  const bool terminal = isatty(STDOUT_FILENO) == 1;
  fmt::print("{}", options.prompt);
  std::fflush(stdout);
  generate_text(*session->model, *opened.tokenizer, prompt, options.tokens,
                {.temperature = options.temperature,
                 .top_k = options.top_k,
                 .top_p = options.top_p,
                 .seed = static_cast<std::uint32_t>(options.seed),
                 .ends = opened.special_ids.eos},
                0, [&](const std::string& piece) {
                  const std::string shown =
                      terminal ? printable(piece) : piece;  // a model can write control characters
                  std::fwrite(shown.data(), 1, shown.size(), stdout);
                  std::fflush(stdout);
                  return !stop_requested() && !std::ferror(stdout);  // a reader that went away ends the work
                });
  fmt::print("\n");
}

}  // namespace bittern
