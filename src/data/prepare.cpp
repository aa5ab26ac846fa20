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
#include "bittern/tokenizer.h"
#include "data/block_text.h"
#include "data/encode_block.h"
#include "data/manifest.h"
#include "data/ordered_parallel.h"
#include "data/output_folder.h"
#include "data/shard.h"
#include "data/split_plan.h"
#include "data/text_blocks.h"
#include "data/text_sample.h"

namespace bittern {
namespace {

// More threads than this wait for the disk and only cost memory.
constexpr int most_threads = 32;
constexpr std::int64_t most_bytes_under_way = std::int64_t{128} << 20;

// What the first pass finds out about the whole text.
struct Corpus {
  std::vector<TextFile> files;
  std::int64_t input_bytes = 0;
  std::vector<BlockPlace> places;  ///< of every block
  BlockPlace total;
  std::int64_t replaced = 0;
  std::string first_replaced;  ///< "FILE, byte N"
  std::vector<std::string> sample;
};

struct Job {
  const PrepareOptions& options;
  const PrepareCallback& progress;
  int threads;

  void tell(std::string_view stage, std::int64_t bytes, std::int64_t of, std::int64_t tokens = 0) const {
    if (options.stop && options.stop->load())
      throw Error(
          ExitCode::interrupted,
          fmt::format("stopped before {} was complete; nothing was put there; run again to start over", options.out));
    if (progress) progress({.stage = stage, .bytes = bytes, .of = of, .tokens = tokens});
  }
  BlockLimits limits() const { return {options.block_bytes, options.longest_json_line}; }
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

Corpus scan(const Job& job, bool sampling) {
  Corpus corpus;
  corpus.files = find_text_files(job.options.inputs);
  for (const TextFile& file : corpus.files) corpus.input_bytes += file.bytes;
  struct Scanned {
    std::size_t file;
    BlockText text;
  };
  TextSample sample(job.options.sample_bytes);
  BlockReader reader(corpus.files, job.limits());
  ordered_parallel<TextBlock, Scanned>(
      job.threads, most_bytes_under_way,
      [&] {
        job.tell("reading", reader.consumed(), corpus.input_bytes);
        return reader.next();
      },
      [](const TextBlock& block) { return static_cast<std::int64_t>(block.bytes.size()); },
      [&](TextBlock&& block, int) {
        const std::size_t file = block.file;
        return Scanned{file, read_block(std::move(block), corpus.files[file], job.options.text_field)};
      },
      [&](Scanned&& scanned) {
        corpus.places.push_back(corpus.total);
        if (scanned.text.replaced > 0 && corpus.replaced == 0)
          corpus.first_replaced =
              fmt::format("{}, byte {}", corpus.files[scanned.file].path, scanned.text.first_replaced);
        corpus.replaced += scanned.text.replaced;
        if (sampling) {
          std::int64_t position = corpus.total.text_bytes;
          for (const TextRange& range : scanned.text.ranges)
            for_each_line(std::string_view(scanned.text.text).substr(range.begin, range.end - range.begin),
                          [&](std::string_view line) {
                            sample.add(position, line);
                            position += static_cast<std::int64_t>(line.size());
                          });
        }
        corpus.total.documents += scanned.text.documents;
        corpus.total.text_bytes += scanned.text.text_bytes;
      });
  if (corpus.total.text_bytes == 0)
    throw input_error("{}: holds no text; give a file with text", corpus.files.front().path);
  corpus.sample = sample.take();
  return corpus;
}

// Where a document ends, or the other split begins, EOS is written: to the split whose document is open.
class SplitWriter {
 public:
  SplitWriter(const std::string& folder, const Tokenizer& tokenizer, std::int64_t shard_tokens)
      : train_(folder, "train", tokenizer.vocab_size(), tokenizer.eos(), shard_tokens),
        valid_(folder, "valid", tokenizer.vocab_size(), tokenizer.eos(), shard_tokens) {}

  void write(const Encoded& encoded) {
    std::size_t at = 0;
    for (const Encoded::Run& run : encoded.runs) {
      const auto ids = std::span(encoded.ids).subspan(at, run.ids_end - at);
      at = run.ids_end;
      if (!ids.empty()) {
        writer(run.split == Split::train ? Split::valid : Split::train).end_document();
        writer(run.split).append(ids);
      }
      text_bytes_[run.split == Split::valid] += run.text_bytes;
      if (run.ends_document) {
        train_.end_document();
        valid_.end_document();
      }
    }
  }
  std::int64_t tokens() const { return train_.tokens() + valid_.tokens(); }
  SplitInfo finish(Split split) {
    ShardWriter& of = writer(split);
    const auto& shards = of.finish();
    return {of.tokens(), of.documents(), text_bytes_[split == Split::valid], shards};
  }

 private:
  ShardWriter& writer(Split split) { return split == Split::train ? train_ : valid_; }
  ShardWriter train_, valid_;
  std::int64_t text_bytes_[2] = {};
};

void encode(const Job& job, const Corpus& corpus, const Tokenizer& tokenizer, const SplitPlan& plan,
            SplitWriter& writer) {
  struct Placed {
    TextBlock block;
    BlockPlace place;
  };
  std::vector<std::unique_ptr<LineEncoder>> encoders(static_cast<std::size_t>(job.threads));
  BlockReader reader(corpus.files, job.limits());
  std::size_t index = 0;
  std::int64_t text_bytes = 0;
  const auto changed = [] {
    return input_error("the text changed while it was read; keep the files as they are and run again");
  };
  ordered_parallel<Placed, Encoded>(
      job.threads, most_bytes_under_way,
      [&]() -> std::optional<Placed> {
        job.tell("encoding", reader.consumed(), corpus.input_bytes, writer.tokens());
        std::optional<TextBlock> block = reader.next();
        if (!block) return std::nullopt;
        if (index >= corpus.places.size()) throw changed();
        return Placed{std::move(*block), corpus.places[index++]};
      },
      [](const Placed& placed) { return static_cast<std::int64_t>(placed.block.bytes.size()); },
      [&](Placed&& placed, int worker) {
        auto& encoder = encoders[static_cast<std::size_t>(worker)];
        if (!encoder) encoder = std::make_unique<LineEncoder>(tokenizer);
        const std::size_t file = placed.block.file;
        const BlockText text = read_block(std::move(placed.block), corpus.files[file], job.options.text_field);
        return encode_block(text, placed.place, plan, *encoder);
      },
      [&](Encoded&& encoded) {
        writer.write(encoded);
        text_bytes += encoded.text_bytes;
      });
  if (text_bytes != corpus.total.text_bytes) throw changed();
}

Tokenizer tokenizer_for(const Job& job, Corpus& corpus) {
  const PrepareOptions& options = job.options;
  if (!options.tokenizer.empty()) {
    Tokenizer tokenizer = Tokenizer::load(options.tokenizer);
    if (tokenizer.eos() < 0)
      throw input_error("{}: has no EOS piece, which ends every document; use a model that has one", options.tokenizer);
    return tokenizer;
  }
  job.tell("training the tokenizer", 0, corpus.input_bytes);
  const std::vector<std::string> sample = std::move(corpus.sample);
  std::string bytes = train_tokenizer(sample, {.vocab_size = options.vocab_size, .verbose = options.verbose});
  return Tokenizer::from_bytes(std::move(bytes), "the trained tokenizer");
}

std::vector<std::string> warnings_about(const PrepareOptions& options, const Corpus& corpus, const SplitInfo& valid) {
  std::vector<std::string> warnings;
  if (corpus.replaced > 0)
    warnings.push_back(fmt::format("{} bytes are not UTF-8 and were replaced by U+FFFD; the first is in {}",
                                   corpus.replaced, corpus.first_replaced));
  if (options.valid_fraction > 0 && valid.tokens == 0)
    warnings.push_back(
        fmt::format("no text was left for validation: {} of {} bytes is less than one line; give more text "
                    "or a larger valid fraction",
                    options.valid_fraction, corpus.total.text_bytes));
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
  Corpus corpus = scan(job, !given);
  const Tokenizer tokenizer = given ? std::move(*given) : tokenizer_for(job, corpus);
  const SplitPlan plan(options.valid_fraction, corpus.total.documents, corpus.total.text_bytes);
  SplitWriter writer(folder.working(), tokenizer, options.shard_tokens);
  encode(job, corpus, tokenizer, plan, writer);

  DataManifest manifest{.vocab_size = tokenizer.vocab_size(),
                        .bos = tokenizer.bos(),
                        .eos = tokenizer.eos(),
                        .tokenizer_checksum = checksum(as_bytes(tokenizer.file_bytes())),
                        .train = writer.finish(Split::train),
                        .valid = writer.finish(Split::valid),
                        .sources = {},
                        .valid_fraction = options.valid_fraction,
                        .replaced_bytes = corpus.replaced};
  for (const TextFile& file : corpus.files)
    manifest.sources.push_back({std::filesystem::path(file.path).filename().string(), file.bytes});
  if (manifest.train.tokens == 0)
    throw input_error("{}: the text gives no training tokens; give more text, or a smaller valid fraction",
                      corpus.files.front().path);

  std::vector<std::string> names = {tokenizer_name};
  for (const SplitInfo* split : {&manifest.train, &manifest.valid})
    for (const auto& shard : split->shards) names.push_back(shard.file);
  write_file_atomically(folder.working() + "/" + tokenizer_name, tokenizer.file_bytes());
  write_file_atomically(folder.working() + "/" + manifest_name, data_manifest_text(manifest));
  job.tell("encoding", corpus.input_bytes, corpus.input_bytes, writer.tokens());
  folder.commit(names, manifest_name);

  return {.vocab_size = manifest.vocab_size,
          .train_tokens = manifest.train.tokens,
          .valid_tokens = manifest.valid.tokens,
          .train_documents = manifest.train.documents,
          .valid_documents = manifest.valid.documents,
          .files = static_cast<std::int64_t>(corpus.files.size()),
          .input_bytes = corpus.input_bytes,
          .text_bytes = corpus.total.text_bytes,
          .replaced_bytes = corpus.replaced,
          .warnings = warnings_about(options, corpus, manifest.valid)};
}

}  // namespace bittern
