// One member at a time: is it a key, and is its value allowed?
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "bittern/error.h"
#include "bittern/quant/state_codec.h"
#include "bittern/strict_json.h"
#include "config/document.h"

namespace bittern::config {
namespace {

using nlohmann::json;

// Levenshtein's distance, with swapped neighbours counted once.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

// What other programs call the same.
struct Synonym {
  std::string_view theirs, ours;
};
constexpr std::array<Synonym, 14> synonyms = {{
    {"float32", "f32"},
    {"fp32", "f32"},
    {"bfloat16", "bf16"},
    {"gpu", "cuda"},
    {"sr", "stochastic"},
    {"learning_rate", "schedule.lr"},
    {"max_steps", "train.steps"},
    {"batch_size", "train.batch_sequences"},
    {"micro_batch_size", "train.micro_batch_sequences"},
    {"seq_length", "data.sequence_length"},
    {"grad_clip", "optimizer.clip_grad_norm"},
    {"max_grad_norm", "optimizer.clip_grad_norm"},
    {"save_every", "train.checkpoint_every"},
    {"eval_every", "train.evaluate_every"},
}};

// The key that was most likely meant: a sibling with nearly this name, a key of this name elsewhere, or a synonym.
std::string nearest_key(const std::string& name, const std::string& section, const Origin& origin) {
  const std::string prefix = section.empty() ? "" : section + ".";
  if (const std::string found = nearest_name(name, members(section)); !found.empty())
    return origin.path(prefix + found);
  for (const Key& key : keys())
    if (!key.group && key.path.ends_with("." + name)) return key.path;
  for (const Synonym& row : synonyms)
    if (row.theirs == name) return std::string(row.ours);
  std::vector<std::string> everywhere;
  for (const Key& key : keys())
    if (!key.group) everywhere.push_back(key.path.substr(key.path.rfind('.') + 1));
  const std::string found = nearest_name(name, everywhere);
  for (const Key& key : keys())
    if (!found.empty() && !key.group && key.path.ends_with("." + found)) return key.path;
  return "";
}

// A whole number, however it is written: 1000, 1e3 and 1000.0 are the same.
bool whole(const json& value, double& number) {
  if (!value.is_number()) return false;
  number = value.get<double>();
  return std::isfinite(number) && number == std::floor(number);
}

bool inside(const Range& range, double number) {
  const bool above = range.open_least ? number > range.least : number >= range.least;
  const bool below = range.open_most ? number < range.most : number <= range.most;
  return above && below;  // false for NaN
}

bool read_number(const Key& key, const json& value, double& out) {
  if (!value.is_number() || !inside(key.range, value.get<double>())) return false;
  out = value.get<double>();
  return true;
}

// True if the value is allowed; then it is in the field.
bool read_field(const Key& key, const json& value, RunConfig& config) {
  const Field where = field(key, config);
  if (!key.names.empty()) {
    if (!value.is_string()) return false;
    const auto found = std::ranges::find(key.names, value.get_ref<const std::string&>());
    if (found == key.names.end()) return false;
    const auto index = found - key.names.begin();
    if (auto* const* text = std::get_if<std::string*>(&where)) **text = std::string(*found);
    if (auto* const* choice = std::get_if<std::uint8_t*>(&where)) **choice = static_cast<std::uint8_t>(index);
    if (auto* const* dtype = std::get_if<DType*>(&where))
      **dtype = std::ranges::find(dtype_table, *found, &DTypeInfo::name)->dtype;
    return true;
  }
  if (auto* const* integer = std::get_if<std::int64_t*>(&where)) {
    double number = 0;
    if (!whole(value, number) || !inside(key.range, number)) return false;
    **integer = static_cast<std::int64_t>(number);  // bounds are below 2^53: exact
    return true;
  }
  if (auto* const* number = std::get_if<double*>(&where)) return read_number(key, value, **number);
  if (const auto* pair = std::get_if<std::array<double*, 2>>(&where))
    return value.is_array() && value.size() == 2 && read_number(key, value[0], *(*pair)[0]) &&
           read_number(key, value[1], *(*pair)[1]);
  if (auto* const* flag = std::get_if<bool*>(&where)) {
    if (!value.is_boolean()) return false;
    **flag = value.get<bool>();
    return true;
  }
  if (!value.is_string()) return false;
  const auto& text = value.get_ref<const std::string&>();
  if (!inside(key.range, static_cast<double>(text.size())) || text.find('\0') != std::string::npos) return false;
  *std::get<std::string*>(where) = text;
  return true;
}

// {"train": {"steps": 5}} for train.steps
std::string nested(std::string_view path, const json& value) {
  const std::size_t dot = path.find('.');
  if (dot == std::string_view::npos) return fmt::format("{{\"{}\": {}}}", path, excerpt(value));
  return fmt::format("{{\"{}\": {}}}", path.substr(0, dot), nested(path.substr(dot + 1), value));
}

// How a person should write a text that is meant as a number, a truth value or a list.
std::string how_it_is_written(const std::string& text) {
  if (json::accept(text)) return "; write it without quotes";
  if (text.find(',') != std::string::npos) return "; a list is written as [0.9,0.95]";
  if (text == "True" || text == "False" || text == "TRUE" || text == "FALSE")
    return "; a truth value is written as true";
  return "; a number is written as 0.001 or 1e-3";
}

// What a person should do about a value of the wrong kind.
std::string advice(const Key& key, const json& value) {
  if (!key.names.empty()) {
    if (!value.is_string()) return "";
    const auto& text = value.get_ref<const std::string&>();
    std::string meant = nearest_name(text, {key.names.begin(), key.names.end()});
    for (const Synonym& row : synonyms)
      if (row.theirs == text && std::ranges::find(key.names, row.ours) != key.names.end()) meant = row.ours;
    if (key.path.starts_with("optimizer.states.") && find_state_codec(text))
      return "; it has no codes for negative numbers, which a first moment needs; for v it will do";
    return meant.empty() ? "" : fmt::format("; did you mean \"{}\"?", meant);
  }
  const Field where = field(key, {});
  const bool wants_text = std::holds_alternative<std::string*>(where);
  if (value.is_string() && !wants_text) return how_it_is_written(value.get_ref<const std::string&>());
  if (value.is_number() && wants_text) return "; write it in double quotes";
  if (value.is_string() && wants_text && value.get_ref<const std::string&>().find('\0') != std::string::npos)
    return " without a zero byte";
  return "";
}

}  // namespace

std::string nearest_name(std::string_view name, const std::vector<std::string>& names) {
  if (name.size() > 64) return "";  // nobody's slip
  std::string plain(name);
  for (char& c : plain) c = c == '-' || c == ' ' ? '_' : c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  std::string best;
  std::size_t least = std::max<std::size_t>(plain.size() / 3, 1) + 1;
  for (const std::string& candidate : names) {
    const std::size_t distance = edit_distance(plain, candidate);
    if (distance < least && distance < candidate.size()) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

void read_value(const Key& key, const json& value, const Origin& origin, RunConfig& config) {
  if (!read_field(key, value, config))
    throw input_error("{}: {} is {}; expected {}{}", origin.name, origin.path(key.path), excerpt(value), expected(key),
                      advice(key, value));
}

void check_members(const json& object, const std::string& section, const Origin& origin) {
  RunConfig scratch;
  for (const auto& [name, value] : object.items()) {
    const std::string path = section.empty() ? name : section + "." + name;
    // A dot in a name is part of that name, so it never leads into a section, though its path reads as if it did.
    const bool dotted = name.find('.') != std::string::npos;
    if (const Key* key = find_key(path); key && !dotted) {
      read_value(*key, value, origin, scratch);
    } else if (!dotted && std::ranges::find(sections(), path) != sections().end()) {
      if (!value.is_object())
        throw input_error("{}: {} is {}; expected an object with keys of: {}", origin.name, origin.path(path),
                          excerpt(value), joined(members(path), ", "));
      check_members(value, path, origin);
    } else {
      // A name of odd bytes is shown as JSON would write it; a plain one as it is.
      const bool plain = !name.empty() && name.size() <= 64 &&
                         std::ranges::all_of(name, [](unsigned char c) { return c > ' ' && c < 127; });
      const std::string shown = origin.path(section.empty() ? "" : section + ".") + (plain ? name : in_quotes(name));
      if (find_key(path))
        throw input_error("{}: {} is one name with a dot in it; in a file, write {}", origin.name, shown,
                          nested(path, value));
      const std::string meant = nearest_key(name, section, origin);
      throw input_error("{}: {} is not a known key (its value is {}); {}allowed {}: {}", origin.name, shown,
                        excerpt(value), meant.empty() ? "" : fmt::format("did you mean {}? ", meant),
                        section.empty() ? "here" : "in " + section, joined(members(section), ", "));
    }
  }
}

}  // namespace bittern::config
