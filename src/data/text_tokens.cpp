// A text file -> ids in memory: for a text that is evaluated as it is.
#include "base/utf8.h"
#include "bittern/error.h"
#include "bittern/prepare.h"
#include "bittern/strict_json.h"
#include "bittern/tokenizer.h"
#include "data/block_text.h"
#include "data/corpus.h"
#include "data/text_blocks.h"

namespace bittern {

TextTokens read_text_tokens(const std::string& path, const Tokenizer& tokenizer, std::int64_t most_bytes) {
  const PrepareOptions defaults;
  const std::vector<TextFile> files = find_text_files({path});
  const JsonOptions json = json_options(defaults);
  TextTokens tokens;
  TextEncoder encoder(tokenizer);
  BlockReader reader(files, block_limits(defaults));
  std::int64_t replaced = 0;
  std::string first_replaced, repaired;
  std::size_t document = 0;  // where the open one begins in `ids`
  while (auto block = reader.next()) {
    const BlockText text = read_block(std::move(*block), files.front(), json);
    if (text.replaced > 0 && replaced == 0) first_replaced = fmt::format("byte {}", text.first_replaced);
    replaced += text.replaced;
    tokens.text_bytes += text.text_bytes;
    if (tokens.text_bytes > most_bytes)
      throw input_error(
          "{}: has more than {} bytes of text; make a folder of it with `bittern prepare {} --tokenizer "
          "CHECKPOINT/tokenizer.model --out DIR`",
          path, most_bytes, path);
    for (const TextRange& range : text.ranges) {
      repaired.clear();
      utf8_repair(std::string_view(text.text).substr(range.begin, range.end - range.begin), repaired);
      encoder.add(repaired, tokens.ids);
      if (!range.ends_document) continue;
      encoder.end(tokens.ids);
      if (tokens.ids.size() > document && tokenizer.eos() >= 0) tokens.ids.push_back(tokenizer.eos());
      document = tokens.ids.size();
    }
  }
  if (!tokens.ids.empty() && tokenizer.eos() >= 0) tokens.ids.pop_back();  // between documents, not behind the last
  if (replaced > 0)
    tokens.warnings.push_back(fmt::format("{}: {} bytes are not UTF-8 and were replaced by U+FFFD; the first is {}",
                                          path, replaced, first_replaced));
  if (const std::string named = warning_of_json_in_plain_text(files); !named.empty()) tokens.warnings.push_back(named);
  if (const std::string example = encoder.take_unknown_example(); !example.empty())
    tokens.warnings.push_back(fmt::format(
        "{}: some of its text becomes <unk>, for the tokenizer has no piece and no bytes for it (the first: {}); bits per "
        "byte count it all the same",
        path, in_quotes(example)));
  return tokens;
}

}  // namespace bittern
