// prepare: two passes over the text. The first checks it, counts it and samples it for the tokenizer; the second, which
// then knows where every block lies in the whole, encodes blocks in parallel and writes them in order.
#include "bittern/prepare.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <thread>

#include "bittern/error.h"
#include "bittern/file.h"
#include "bittern/strict_json.h"
#include "bittern/tokenizer.h"
#include "data/corpus.h"
#include "data/encode_block.h"
#include "data/manifest.h"
#include "data/ordered_parallel.h"
#include "data/output_folder.h"
#include "data/split_plan.h"
#include "data/split_writer.h"
#include "data/spool.h"
#include "data/text_blocks.h"

namespace bittern {
namespace {

// More threads than this wait for the disk and only cost memory.
constexpr int most_threads = 32;

struct Job {
  const PrepareOptions& options;
  const PrepareCallback& progress;
  int threads;

  void tell(std::string_view stage, std::int64_t done, std::int64_t of, std::int64_t tokens = 0) const {
    if (options.stop && options.stop())
      throw Error(
          ExitCode::interrupted,
          fmt::format("stopped before {} was complete; nothing was put there; run again to start over", options.out));
    if (progress) progress({.stage = stage, .done = done, .of = of, .tokens = tokens});
  }
};

void check_options(const PrepareOptions& options) {
  if (options.tokenizer.empty() && options.vocab_size == 0)
    throw input_error("no tokenizer is given; pass a vocab size to train one, or a SentencePiece .model file");
  if (!options.tokenizer.empty() && options.vocab_size != 0)
    throw input_error(
        "both a vocab size and a tokenizer are given; a .model file has its own vocabulary: pass one of them");
  if (!(options.valid_fraction >= 0 && options.valid_fraction < 1))
    throw input_error("valid fraction is {}; expected 0 or more and less than 1", options.valid_fraction);
  if (options.threads < 0) throw input_error("threads is {}; expected 0 (all) or more", options.threads);
  if (options.shard_tokens < 1) throw input_error("shard tokens is {}; expected at least 1", options.shard_tokens);
  if (options.sample_bytes < 1) throw input_error("sample bytes is {}; expected at least 1", options.sample_bytes);
}

// The input as files that can be read twice: a pipe is copied into `folder`.
std::vector<TextFile> files_of(const Job& job, const std::string& folder) {
  std::vector<TextFile> files;
  std::vector<std::string> named;  // since the last pipe
  const auto take_named = [&] {
    if (named.empty()) return;
    for (TextFile& file : find_text_files(named)) files.push_back(std::move(file));
    named.clear();
  };
  for (const std::string& input : job.options.inputs) {
    if (!is_stream(input)) {
      named.push_back(input);
      continue;
    }
    take_named();
    files.push_back(spool(input, fmt::format("{}/input_{:05}.zst", folder, files.size()),
                          [&] { job.tell("copying the input", 0, 0); }));
  }
  if (files.empty()) return find_text_files(named);
  take_named();
  check_named_once(files);
  return files;
}

// Returns how often text had to be cut without a border between pieces.
std::int64_t encode(const Job& job, const Corpus& corpus, const Tokenizer& tokenizer, const SplitPlan& plan,
                    SplitWriter& writer) {
  struct Placed {
    TextBlock block;
    std::size_t index;
  };
  const JsonOptions json = json_options(job.options);
  std::vector<std::unique_ptr<TextEncoder>> encoders(static_cast<std::size_t>(job.threads));
  BlockReader reader(corpus.files, block_limits(job.options));
  std::size_t index = 0;
  std::int64_t text_bytes = 0, cuts = 0;
  const auto changed = [] {
    return input_error("the text changed while it was read; keep the files as they are and run again");
  };
  ordered_parallel<Placed, Encoded>(
      job.threads, most_bytes_under_way,
      [&]() -> std::optional<Placed> {
        job.tell("encoding", reader.consumed(), corpus.input_bytes, writer.tokens());
        std::optional<TextBlock> block = reader.next();
        if (!block) return std::nullopt;
        if (index + 1 >= corpus.places.size()) throw changed();
        return Placed{std::move(*block), index++};
      },
      [](const Placed& placed) { return static_cast<std::int64_t>(placed.block.bytes.size()); },
      [&](Placed&& placed, int worker) {
        auto& encoder = encoders[static_cast<std::size_t>(worker)];
        if (!encoder) encoder = std::make_unique<TextEncoder>(tokenizer);
        const std::size_t file = placed.block.file;
        const BlockText text = read_block(std::move(placed.block), corpus.files[file], json);
        return encode_block(text, corpus.places[placed.index], corpus.places[placed.index + 1].open_document, plan,
                            tokenizer, *encoder);
      },
      [&](Encoded&& encoded) {
        writer.write(encoded);
        text_bytes += encoded.text_bytes;
      });
  if (text_bytes != corpus.text_bytes) throw changed();
  cuts = writer.forced_cuts();
  for (const auto& encoder : encoders) cuts += encoder ? encoder->forced_cuts() : 0;
  return cuts;
}

Tokenizer tokenizer_for(const Job& job, Corpus& corpus) {
  const PrepareOptions& options = job.options;
  if (!options.tokenizer.empty()) {
    Tokenizer tokenizer = Tokenizer::load(options.tokenizer);
    if (tokenizer.eos() < 0)
      throw input_error("{}: has no EOS piece, which ends every document; use a model that has one", options.tokenizer);
    return tokenizer;
  }
  job.tell("training the tokenizer", 0, options.vocab_size);
  const std::vector<std::string> sample = std::move(corpus.sample);
  std::string bytes = train_tokenizer(
      sample, {.vocab_size = options.vocab_size, .verbose = options.verbose, .progress = [&](std::int64_t ids) {
                 job.tell("training the tokenizer", ids, options.vocab_size);
               }});
  return Tokenizer::from_bytes(std::move(bytes), "the trained tokenizer");
}

std::vector<std::string> warnings_about(const PrepareOptions& options, const Corpus& corpus,
                                        const DataManifest& manifest, const SplitWriter& writer, std::int64_t cuts) {
  std::vector<std::string> warnings;
  if (corpus.replaced > 0)
    warnings.push_back(fmt::format("{} bytes are not UTF-8 and were replaced by U+FFFD; the first is in {}",
                                   corpus.replaced, corpus.first_replaced));
  if (corpus.skipped > 0)
    warnings.push_back(fmt::format("{} lines were skipped; the first: {}", corpus.skipped, corpus.first_skipped));
  if (const std::string json = warning_of_json_in_plain_text(corpus.files); !json.empty()) warnings.push_back(json);
  if (manifest.unknown_tokens > 0)
    warnings.push_back(fmt::format(
        "{} of {} tokens are <unk>: the tokenizer has no piece and no bytes for that text, and it is lost (the first: "
        "{}); use a tokenizer with byte fallback, such as `bittern prepare --vocab-size N` trains",
        manifest.unknown_tokens, manifest.train.tokens + manifest.valid.tokens, in_quotes(writer.unknown_example())));
  if (cuts > 0)
    warnings.push_back(
        fmt::format("text was cut {} times inside a stretch of more than 1 MiB in which the tokenizer could merge "
                    "everywhere; at the cuts the ids may differ from those of the whole text",
                    cuts));
  if (options.valid_fraction > 0 && manifest.valid.tokens == 0)
    warnings.push_back(
        SplitPlan::by_document(options.valid_fraction, corpus.documents)
            ? fmt::format(
                  "no text was left for validation: the {} documents are copies of few texts, and copies stay in "
                  "one split; remove the copies or give a larger valid fraction",
                  corpus.documents)
            : fmt::format("no text was left for validation: {} of {} bytes is less than one line; give more text "
                          "or a larger valid fraction",
                          options.valid_fraction, corpus.text_bytes));
  if (corpus.copies > 0 && manifest.valid.tokens > 0)
    warnings.push_back(fmt::format(
        "{} of {} documents are duplicates of another, and validation is a part of so few documents, cut by its place: "
        "validation text may occur in the training text twice over; remove the duplicates",
        corpus.copies, corpus.documents));
  return warnings;
}

}  // namespace

PrepareSummary prepare(const PrepareOptions& options, const PrepareCallback& progress) {
  check_options(options);
  const int machine = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  const Job job{options, progress, std::min(options.threads > 0 ? options.threads : machine, most_threads)};
  OutputFolder folder(options.out, options.overwrite);
  std::optional<Tokenizer> given;
  if (!options.tokenizer.empty()) {  // before an hour of reading
    Corpus none;
    given = tokenizer_for(job, none);
  }
  Corpus corpus;
  corpus.files = files_of(job, folder.working());
  scan(corpus, options, job.threads, !given,
       [&](std::int64_t bytes, std::int64_t of) { job.tell("reading", bytes, of); });
  const Tokenizer tokenizer = given ? std::move(*given) : tokenizer_for(job, corpus);
  const SplitPlan plan(options.valid_fraction, corpus.documents, corpus.text_bytes);
  SplitWriter writer(folder.working(), tokenizer, options.shard_tokens);
  const std::int64_t cuts = encode(job, corpus, tokenizer, plan, writer);

  DataManifest manifest{.vocab_size = tokenizer.vocab_size(),
                        .bos = tokenizer.bos(),
                        .eos = tokenizer.eos(),
                        .unknown = tokenizer.unknown(),
                        .pad = tokenizer.pad(),
                        .tokenizer_kind = std::string(tokenizer_kind_names[static_cast<std::size_t>(tokenizer.kind())]),
                        .tokenizer_checksum = checksum(as_bytes(tokenizer.file_bytes())),
                        .train = writer.finish(Split::train),
                        .valid = writer.finish(Split::valid),
                        .sources = {},
                        .valid_fraction = options.valid_fraction,
                        .split_by_text = plan.by_document(),
                        .replaced_bytes = corpus.replaced,
                        .skipped_lines = corpus.skipped};
  for (const TextFile& file : corpus.files)
    manifest.sources.push_back({std::filesystem::path(file.shown()).filename().string(), file.bytes});
  manifest.unknown_tokens = writer.unknown_tokens();
  if (manifest.train.tokens == 0)
    throw input_error("{}: the text gives no training tokens; give more text, or a smaller valid fraction",
                      corpus.files.front().shown());

  std::vector<std::string> names = {tokenizer_name};
  for (const SplitInfo* split : {&manifest.train, &manifest.valid})
    for (const auto& shard : split->shards) names.push_back(shard.file);
  write_file_atomically(folder.working() + "/" + tokenizer_name, tokenizer.file_bytes());
  write_file_atomically(folder.working() + "/" + manifest_name, data_manifest_text(manifest));
  const std::vector<std::string> warnings = warnings_about(options, corpus, manifest, writer, cuts);
  job.tell("encoding", corpus.input_bytes, corpus.input_bytes, writer.tokens());
  folder.commit(names, manifest_name);

  return {.vocab_size = manifest.vocab_size,
          .train_tokens = manifest.train.tokens,
          .valid_tokens = manifest.valid.tokens,
          .train_documents = manifest.train.documents,
          .valid_documents = manifest.valid.documents,
          .files = static_cast<std::int64_t>(corpus.files.size()),
          .input_bytes = corpus.input_bytes,
          .text_bytes = corpus.text_bytes,
          .replaced_bytes = corpus.replaced,
          .skipped_lines = corpus.skipped,
          .unknown_tokens = manifest.unknown_tokens,
          .warnings = warnings};
}

}  // namespace bittern
