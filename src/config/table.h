// The table of config keys. For each key it has the path, the type, the default, the range, the meaning, and what a
// changed value means when a run is resumed. No other place has them: the parser, the defaults, the schema, the
// reference page and compare_configs all read this table.
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

/// A pointer to the member of RunConfig that holds a key's value. The pointer's type says how the JSON value is read.
/// std::uint8_t* is an enumeration (see choice): its value is a position in Key::names.
using Field = std::variant<std::int64_t*, double*, bool*, std::string*, DType*, std::uint8_t*, std::array<double*, 2>>;

/// The Field of an enumeration. Its underlying type must be std::uint8_t.
template <typename Enum>
std::uint8_t* choice(Enum& value) {
  static_assert(std::is_same_v<std::underlying_type_t<Enum>, std::uint8_t>);
  return reinterpret_cast<std::uint8_t*>(&value);
}

/// What resume does when the value of a key has changed.
enum class Resume {
  tensors,   ///< refuses: other tensors are stored, or the same ones mean something else; so does --fork
  identity,  ///< refuses: with another value it is another run, of the same tensors
  rates,     ///< goes on and tells the user if the steps already made had the same rates; else refuses as `identity`
  notice,    ///< goes on, and tells the user
  silent     ///< goes on: the key changes nothing that is computed
};

/// The allowed values. A number must be from `least` to `most`; the end itself is forbidden if it is open (open_least,
/// open_most). A text must have at most `most` bytes.
struct Range {
  double least = 0, most = 0;
  bool open_least = false, open_most = false;
};

struct Key {
  std::string path;
  Field (*field)(RunConfig&);
  Range range;
  std::vector<std::string_view> names;  ///< the allowed texts, for a key that is a choice
  Resume resume;
  std::string_view meaning;
  std::string_view derived = {};  ///< the default in words, if it follows from other keys; else empty
  bool group = false;             ///< the key stands for the same key of several roles; it is read, never written
};

std::span<const Key> keys();
/// The roles of a group of the section `weights` (block_linear, ...).
std::vector<Role> roles_of(std::string_view group);
const Key* find_key(std::string_view path);
/// The JSON objects that hold the keys ("model", "optimizer.states", ...), in the table's order.
const std::vector<std::string>& sections();
std::string_view section_meaning(std::string_view section);
/// The names that may stand in a section: those of its keys and of the sections in it, without the section's path.
std::vector<std::string> members(std::string_view section);

/// The allowed values of a key in words: "a whole number from 1 to 256", "one of f32, bf16", ...
std::string expected(const Key& key);

/// The texts with the separator between them: "a, b, c". (fmt::join is in another header from version to version.)
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

/// A member of a config.json that `transformers` writes and that is no key of this table. The section `model` may hold
/// it with a value that changes nothing here.
struct ModelExtra {
  std::string_view name;
  std::string_view allowed;  ///< the JSON values that change nothing, with spaces between; empty: every value
  std::string_view reason;   ///< why another value is refused
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
  /// Norms after the branches too, soft caps, a scale of the scores, layers without a window between those that have one.
  bool gemma = false;
  std::int64_t sliding_window_pattern = 0;
  double rope_local_base_freq = 0, attn_logit_softcapping = 0, final_logit_softcapping = 0;
  std::int64_t max_position_embeddings = 0;  ///< that a config.json means by leaving it out; 0: 2048
};
std::span<const Architecture> architectures();
std::vector<std::string_view> architecture_names();

}  // namespace bittern::config
