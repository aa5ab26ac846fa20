// What a user can do with a run: train it, look at its plan, evaluate, generate from and export a checkpoint.
#pragma once

#include <cstdint>
#include <string>

#include "bittern/config.h"
#include "bittern/error.h"

namespace bittern {

/// The kind of device and the instruction set that a run here takes by itself: "cpu avx2".
std::string device_description();

struct TrainOptions {
  std::string out;  ///< RUN: the folder of the run; made if it is not there
  std::string resume =
      "auto";          ///< auto: go on if RUN holds a checkpoint; never: RUN must be new; else a checkpoint's folder
  std::string init{};  ///< a new run from the weights of a checkpoint or of a Hugging Face folder
  std::string fork{};  ///< a new run from a checkpoint: its weights, moments, step and trainer state
  std::int64_t profile_steps = 0;  ///< print what each op cost over that many steps, then stop
};

/// Trains until train.steps, or until asked to stop (SIGINT, SIGTERM): ok or interrupted.
ExitCode train(RunConfig config, const TrainOptions& options);

/// Prints every category of the run's memory and its FLOPs, without allocating them.
void print_plan(RunConfig config, bool json);

struct EvaluateOptions {
  std::string checkpoint;  ///< a checkpoint, a RUN (its newest), or a Hugging Face folder with --data a prepared folder
  std::string data;  ///< folder made by prepare, .bin, Megatron prefix, or a text file (tokenized by the checkpoint's
                     ///< tokenizer)
  std::int64_t sequence_length = 0;  ///< 0: the model's training length
  std::int64_t max_sequences = 0;    ///< 0: all
  std::int64_t batch = 8;
  std::int64_t threads = 0;
  std::string compute = "auto";    ///< f32, bf16, auto: what the checkpoint was trained with
  std::string weights = "stored";  ///< stored; ternary: block linears as -1, 0, 1 times a scale
  bool json = false;
};
/// Prints loss, perplexity and, where the bytes of the text are known, bits per byte.
void evaluate(const EvaluateOptions& options);

struct GenerateOptions {
  std::string checkpoint;
  std::string prompt;
  std::int64_t tokens = 128;
  double temperature = 0.8;  ///< 0: the most likely token
  std::int64_t top_k = 0;    ///< 0: all
  double top_p = 1.0;
  std::int64_t seed = 1;
  std::int64_t threads = 0;
  std::string compute = "auto";
  std::string weights = "stored";
};
/// Streams text to standard output.
void generate(const GenerateOptions& options);

struct ExportOptions {
  std::string checkpoint;
  std::string out;             ///< a new folder
  std::string dtype = "auto";  ///< f32, bf16, auto: as stored; f32 for codes
  std::string weights = "stored";
};
/// Writes a folder that Hugging Face `transformers` opens.
void export_checkpoint(const ExportOptions& options);

}  // namespace bittern
