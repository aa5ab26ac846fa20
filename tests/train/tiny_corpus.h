// What tests of whole runs share: a folder that goes with the test, and a corpus that a tiny model can learn.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <string>
#include <system_error>

#include "bittern/prepare.h"
#include "temporary_folder.h"

namespace bittern {

using Scratch = TemporaryFolder;

/// Sentences with structure that a tiny model can learn.
inline void write_sentences(const std::string& path, unsigned count) {
  std::ofstream text(path);
  const char* subjects[] = {"the heron", "a bittern", "the warbler", "one grebe", "the old otter"};
  const char* verbs[] = {"waits for", "looks at", "finds", "forgets", "calls"};
  const char* objects[] = {"the reeds", "a small fish", "the evening", "its mate", "the still water"};
  for (unsigned i = 0; i < count; ++i)
    text << subjects[i * 7 % 5] << ' ' << verbs[i * i % 5] << ' ' << objects[(i / 3) % 5] << (i % 4 ? ", and " : ".\n");
}

/// So many of them as a folder of data in `folder`; returns it.
inline std::string prepare_sentences(const std::string& folder, unsigned count, std::int64_t vocab_size,
                                     double valid_fraction) {
  write_sentences(folder + "/text.txt", count);
  PrepareOptions options;
  options.inputs = {folder + "/text.txt"};
  options.out = folder + "/corpus";
  options.vocab_size = vocab_size;
  options.valid_fraction = valid_fraction;
  prepare(options, {});
  return options.out;
}

/// A small corpus of them, prepared once for all tests of a program.
inline const std::string& corpus() {
  static const Scratch scratch("training_corpus");
  static const std::string out = prepare_sentences(scratch.path, 3000, 320, 0.05);
  return out;
}

}  // namespace bittern
