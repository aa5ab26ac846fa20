// The table of config keys: the one place that knows a key's path, type, default, range, meaning, and what a change of
// it means for a resume. The parser, the defaults, the schema, the reference page and compare_for_resume are made from
// it.
#pragma once

#include <array>
#include <cstdint>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

#include "bittern/config.h"

namespace bittern::config {

/// Where a key's value lives. Its type says how the JSON value is read. std::uint8_t: an enumeration (choice), whose
/// values are positions in the key's names.
using Field = std::variant<std::int64_t*, double*, bool*, std::string*, DType*, std::uint8_t*, std::array<double*, 2>>;

/// The field of an enumeration whose underlying type is std::uint8_t.
template <typename Enum>
std::uint8_t* choice(Enum& value) {
  static_assert(std::is_same_v<std::underlying_type_t<Enum>, std::uint8_t>);
  return reinterpret_cast<std::uint8_t*>(&value);
}

/// What a changed value means for a run that is resumed.
enum class Resume {
  identity,  ///< another run: refused
  length,    ///< another run where the learning rates depend on it, which they do unless the schedule ends nowhere
  notice,    ///< the same run goes on, and the change is told
  silent     ///< changes nothing that is computed
};

/// Numbers from `least` to `most`; an open end is not itself allowed. Texts: a length of at most `most` bytes.
struct Range {
  double least = 0, most = 0;
  bool open_least = false, open_most = false;
};

struct Key {
  std::string path;
  Field (*field)(RunConfig&);
  Range range;
  std::vector<std::string_view> names;  ///< of a choice
  Resume resume;
  std::string_view meaning;
  std::string_view derived = {};  ///< the default in words, where it follows from other keys
  bool group = false;             ///< short for the same key of several roles: read, but never written
};

std::span<const Key> keys();
/// The roles that a key of `weights` stands for, if it is a group's.
std::vector<Role> roles_of(std::string_view group);
const Key* find_key(std::string_view path);
/// "model", "optimizer.states", ...: the objects that keys live in, in the table's order.
const std::vector<std::string>& sections();
std::string_view section_meaning(std::string_view section);
/// What may stand in the section: its keys and the sections below it, without their common path.
std::vector<std::string> members(std::string_view section);

/// "a whole number from 1 to 256", "one of f32, bf16", ...
std::string expected(const Key& key);

/// "a, b, c" (fmt::join moves between headers from version to version).
template <typename Texts>
std::string joined(const Texts& texts, std::string_view separator) {
  std::string all;
  for (const auto& text : texts) {
    if (&text != &*std::begin(texts)) all += separator;
    all += text;
  }
  return all;
}

inline Field field(const Key& key, const RunConfig& config) {
  return key.field(const_cast<RunConfig&>(config));
}

/// A member of the model section that `transformers` writes and that has no key here.
struct ModelExtra {
  std::string_view name;
  std::string_view allowed;  ///< JSON values that change nothing, parted by spaces; empty: every value
  std::string_view reason;   ///< why another value cannot be honoured
};
std::span<const ModelExtra> model_extras();

/// Which parts of a block an architecture has.
struct Architecture {
  std::string_view name;        ///< transformers' model_type
  std::string_view class_name;  ///< in transformers' `architectures`
  bool attention_bias, qk_norm, sub_norm;
  // What a config.json of transformers means by leaving them out:
  std::int64_t head_dim;  ///< 0: hidden_size / num_attention_heads
  double rms_norm_eps, rope_theta;
  std::string_view hidden_act;
  std::int64_t num_key_value_heads;  ///< 0: as many as query heads
  std::int64_t sliding_window;       ///< 0: this architecture has none
};
std::span<const Architecture> architectures();
std::vector<std::string_view> architecture_names();

}  // namespace bittern::config
