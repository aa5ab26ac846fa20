// prepare: text -> a folder of token shards, in bounded memory.
//
// Input: UTF-8 text, or JSON lines ({"text": ...}); plain, gzip or zstd (told by the first bytes, several members in a
// row are fine); files, folders (every file below that is not hidden, in the order of their paths), or pipes ("-": the
// standard input), whose text is kept in OUT, compressed, while it is prepared.
//   A file is JSON lines if its name says so (.jsonl .ndjson .json, also before .gz or .zst), or if it has no known
//   ending and its first line is a JSON object. Each line is a document. In plain text a file is one document, unless
//   lines that consist of <|endoftext|> alone divide it.
// Bytes that are not UTF-8 become U+FFFD and are counted; a file with NUL bytes is refused as binary; what is known by
// name (Parquet, zip, ...) by name.
//
// Output: train_00000.bin ..., valid_00000.bin ..., tokenizer.model and data.json (docs/formats.md), written under
// other names and put in place at the end, data.json last: a folder is complete if and only if data.json is in it.
// Every document ends with the tokenizer's EOS; its ids are the tokenizer's of the whole document (bittern/tokenizer.h).
// The result depends on the options and the text alone, not on threads.
//
// Validation: where there are enough documents (16 of them or more to be expected), whole ones, chosen by a hash of
// their text, so that copies are all in one split; otherwise the last part of the text, or of up to 16 equal stretches of
// a long one, each a document of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace bittern {

struct PrepareOptions {
  std::vector<std::string> inputs = {};                ///< files, folders, pipes, "-"
  std::string out = {};                                ///< the folder to make
  std::int64_t vocab_size = 0;                         ///< of the tokenizer to train; 0 where `tokenizer` is given
  std::string tokenizer = {};                          ///< an existing SentencePiece .model instead
  double valid_fraction = 0.01;                        ///< 0 for none; below 1
  std::string text_field = "text";                     ///< of JSON lines; "a.b": the text b in the object a
  bool skip_bad_lines = false;                         ///< leave out JSON lines that hold no text, and count them
  int threads = 0;                                     ///< 0: as many as the machine has
  bool overwrite = false;                              ///< replace the prepared data that is in `out`
  bool verbose = false;                                ///< let SentencePiece log to stderr
  std::int64_t shard_tokens = std::int64_t{1} << 28;   ///< of a full shard: 512 MiB of 16-bit ids
  std::int64_t sample_bytes = std::int64_t{32} << 20;  ///< of text that the tokenizer is trained on
  std::int64_t block_bytes = std::int64_t{1} << 20;    ///< of text that a thread takes at a time
  std::int64_t longest_json_line = std::int64_t{64} << 20;
  std::function<bool()> stop = {};  ///< true: give up, leave nothing, throw with exit code 75
};

struct PrepareProgress {
  std::string_view stage;  ///< "copying the input", "reading", "training the tokenizer", "encoding"
  /// Bytes of input files as they lie on the disk; while the tokenizer is trained, ids of its vocabulary.
  std::int64_t done = 0, of = 0;
  std::int64_t tokens = 0;  ///< encoded so far
};

struct PrepareSummary {
  std::int64_t vocab_size = 0;
  std::int64_t train_tokens = 0, valid_tokens = 0;
  std::int64_t train_documents = 0, valid_documents = 0;
  std::int64_t files = 0, input_bytes = 0;  ///< as they lie on the disk
  std::int64_t text_bytes = 0;              ///< UTF-8, after decompression
  std::int64_t replaced_bytes = 0;          ///< bytes that were not UTF-8
  std::int64_t skipped_lines = 0;           ///< JSON lines without text
  std::int64_t unknown_tokens = 0;          ///< <unk> among the tokens: text that is lost
  std::vector<std::string> warnings = {};   ///< a sentence each, for the user
};

/// Called now and then from the calling thread.
using PrepareCallback = std::function<void(const PrepareProgress&)>;

PrepareSummary prepare(const PrepareOptions& options, const PrepareCallback& progress = {});

/// A text file as `prepare` reads it (JSON lines, archives, separators, byte order marks, bytes that are not UTF-8), as
/// ids in memory, EOS between its documents.
struct TextTokens {
  std::vector<std::int32_t> ids;
  std::int64_t text_bytes = 0;
  std::vector<std::string> warnings = {};  ///< a sentence each, for the user
};

/// Refuses a text of more than `most_bytes`.
TextTokens read_text_tokens(const std::string& path, const class Tokenizer& tokenizer, std::int64_t most_bytes);

}  // namespace bittern
