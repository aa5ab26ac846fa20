// Writes and reads `quantization_config`, the part of a checkpoint's config.json that says how the codes are to be read.
#include "store/quantization_config.h"

#include <algorithm>

#include "bittern/error.h"
#include "bittern/strict_json.h"

namespace bittern {
namespace {

constexpr std::int64_t quantization_version = 1;

using nlohmann::json;

constexpr std::string_view note =
    "the weights are codes with scales (NAME_scale); `bittern export` makes a folder of numbers that transformers "
    "opens";

template <std::size_t n, typename Enum>
void read_choice(const json& object, const char* key, const std::array<std::string_view, n>& names, Enum& value,
                 const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end()) return;
  const auto at = found->is_string() ? std::ranges::find(names, found->get<std::string>()) : names.end();
  if (at == names.end())
    throw input_error("{}.{} is {}; expected one that bittern writes; use the file that belongs to the weights", where,
                      key, excerpt(*found));
  value = static_cast<Enum>(at - names.begin());
}

WeightCodec parse_codec(const json& object, const std::string& where) {
  if (!object.is_object())
    throw input_error("{} is {}; expected an object with a codec; use the file that belongs to the weights", where,
                      excerpt(object));
  WeightCodec codec;
  read_choice(object, "codec", weight_storage_names, codec.storage, where);
  read_choice(object, "range", integer_range_names, codec.range, where);
  read_choice(object, "scale_per", scale_per_names, codec.scale_per, where);
  read_choice(object, "scale_from", scale_from_names, codec.scale_from, where);
  if (const auto bits = object.find("bits"); bits != object.end()) {
    const auto count = json_count(*bits);
    if (!count || *count < 2 || *count > 8)
      throw input_error("{}.bits is {}; expected a whole number from 2 to 8; use the file that belongs to the weights",
                        where, excerpt(*bits));
    codec.bits = *count;
  }
  return codec;
}

}  // namespace

bool same_codes(const WeightCodec& a, const WeightCodec& b) {
  return a.storage == b.storage && a.bits == b.bits && a.range == b.range && a.scale_per == b.scale_per &&
         a.scale_from == b.scale_from;
}

nlohmann::ordered_json quantization_config(const WeightsSection& codecs) {
  if (std::ranges::none_of(codecs.values, &WeightCodec::quantized)) return nullptr;
  nlohmann::ordered_json weights;
  for (const RoleInfo& role : role_table) {
    const WeightCodec& codec = codecs[role.role];
    nlohmann::ordered_json& row = weights[std::string(role.name)];
    row["codec"] = weight_storage_names[static_cast<std::size_t>(codec.storage)];
    if (codec.storage == WeightStorage::integer) {
      row["bits"] = codec.bits;
      row["range"] = integer_range_names[static_cast<std::size_t>(codec.range)];
    }
    if (codec.quantized()) {
      row["scale_per"] = scale_per_names[static_cast<std::size_t>(codec.scale_per)];
      row["scale_from"] = scale_from_names[static_cast<std::size_t>(codec.scale_from)];
    }
  }
  return {{"format", "bittern"}, {"version", quantization_version}, {"note", note}, {"weights", weights}};
}

WeightsSection parse_quantization_config(const json& config, std::string_view path) {
  WeightsSection codecs;
  const auto found = config.find("quantization_config");
  if (found == config.end() || found->is_null()) return codecs;
  if (!found->is_object() || found->value("format", json()) != "bittern")
    throw input_error(
        "{}: quantization_config is {}; expected null or bittern's own: quantized weights of other programs must be "
        "dequantized first; choose another model",
        path, excerpt(*found));
  if (found->value("version", json()) != quantization_version)
    throw input_error("{}: quantization_config.version is {}; this bittern reads version {}; use the one that wrote it",
                      path, excerpt(found->value("version", json())), quantization_version);
  const json weights = found->value("weights", json::object());
  if (!weights.is_object())
    throw input_error(
        "{}: quantization_config.weights is {}; expected an object; use the file that belongs to the "
        "weights",
        path, excerpt(weights));
  for (const auto& [name, value] : weights.items()) {
    const std::optional<Role> role = find_role(name);
    const std::string where = fmt::format("{}: quantization_config.weights.{}", path, name);
    if (!role)
      throw input_error(
          "{} is no role of weights; expected those that bittern writes; use the file that belongs to the "
          "weights",
          where);
    const WeightCodec codec = parse_codec(value, where);
    if (codec.quantized() && !info(*role).takes_codec)
      throw input_error("{} is {}; {}s are never codes; use the file that belongs to the weights", where,
                        excerpt(value), name);
    codecs[*role] = codec;
  }
  return codecs;
}

}  // namespace bittern
