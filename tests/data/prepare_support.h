// What the tests of prepare share: archives, a tokenizer that need not be trained each time, folders as maps.
#pragma once

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bittern/prepare.h"
#include "bittern/tokenizer.h"
#include "catch.h"
#include "data/token_files.h"

namespace bittern_test {

inline std::string gzip(std::string_view text) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

// With a checksum, as the command zstd writes: without one, a flipped byte may be another text and no error.
inline std::string zstd(std::string_view text, int window_log = 0, std::string_view dictionary = "") {
  const std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> context(ZSTD_createCCtx(), &ZSTD_freeCCtx);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_checksumFlag, 1);
  if (window_log > 0) {
    ZSTD_CCtx_setParameter(context.get(), ZSTD_c_windowLog, window_log);
    ZSTD_CCtx_setParameter(context.get(), ZSTD_c_contentSizeFlag, 0);
  }
  if (!dictionary.empty()) ZSTD_CCtx_loadDictionary(context.get(), dictionary.data(), dictionary.size());
  std::string out(ZSTD_compressBound(text.size()), '\0');
  ZSTD_inBuffer from{text.data(), text.size(), 0};
  ZSTD_outBuffer to{out.data(), out.size(), 0};
  if (window_log == 0) ZSTD_CCtx_setPledgedSrcSize(context.get(), text.size());
  while (ZSTD_compressStream2(context.get(), &to, &from, window_log == 0 ? ZSTD_e_end : ZSTD_e_flush) != 0) {
  }
  while (window_log > 0 && ZSTD_compressStream2(context.get(), &to, &from, ZSTD_e_end) != 0) {
  }
  out.resize(to.pos);
  return out;
}

// Every file of a folder with its contents.
inline std::map<std::string, std::string> contents(const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) files[entry.path().filename().string()] = read(entry.path().string());
  return files;
}

// A tokenizer file that the tests share, so that each need not train one.
inline const std::string& shared_model() {
  static const std::string bytes = bittern::train_tokenizer({prose(1, 100000)}, {.vocab_size = 500});
  return bytes;
}

inline std::string tokens_as_text(const std::string& folder, bittern::Split split) {
  const bittern::TokenStream stream = bittern::TokenStream::open(folder, split);
  stream.verify_checksums();
  Ids ids(static_cast<std::size_t>(stream.token_count()));
  stream.read(0, ids);
  const bittern::Tokenizer tokenizer = bittern::Tokenizer::load(folder + "/tokenizer.model");
  std::string text;
  for (std::size_t at = 0; at < ids.size();) {  // EOS shown as |
    const auto end = std::find(ids.begin() + static_cast<std::ptrdiff_t>(at), ids.end(), tokenizer.eos()) - ids.begin();
    text += tokenizer.decode(std::span(ids).subspan(at, static_cast<std::size_t>(end) - at));
    if (static_cast<std::size_t>(end) < ids.size()) text += '|';
    at = static_cast<std::size_t>(end) + 1;
  }
  return text;
}

// Prepares `inputs` with the shared tokenizer and gives the training text back.
struct Prepared {
  bittern::PrepareSummary summary;
  std::string train, valid;
};
inline Prepared prepare_text(const Folder& folder, const std::vector<std::string>& inputs,
                             bittern::PrepareOptions options = {.valid_fraction = 0}) {
  options.inputs = inputs;
  options.out = folder / "out";
  if (options.tokenizer.empty()) options.tokenizer = folder.write("shared.model", shared_model());
  options.overwrite = true;
  Prepared prepared;
  prepared.summary = bittern::prepare(options);
  prepared.train = tokens_as_text(options.out, bittern::Split::train);
  prepared.valid = tokens_as_text(options.out, bittern::Split::valid);
  return prepared;
}

inline std::string prepare_error(const Folder& folder, const std::vector<std::string>& inputs) {
  std::filesystem::remove_all(folder / "out");
  const auto [code, message] = error_of([&] { prepare_text(folder, inputs); });
  CHECK(code == 2);
  CHECK_FALSE(std::filesystem::exists(folder / "out"));
  return message;
}

}  // namespace bittern_test
