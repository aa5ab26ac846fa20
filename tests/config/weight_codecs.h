// Every weight codec that a config can spell, accepted or not; its width aside.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

#include "bittern/quant/weight_codec.h"

namespace bittern {

/// f(members): those of a group of `weights`, such as "codec":"int","range":"full",...
template <class F>
void for_every_weight_codec(F f) {
  for (const std::string_view codec : weight_storage_names)
    for (const std::string_view range : integer_range_names)
      for (const std::string_view per : scale_per_names)
        for (const std::string_view from : scale_from_names)
          for (const std::string_view update : scale_update_names)
            for (const std::string_view master : master_names)
              for (const std::string_view rounding : rounding_names)
                for (const std::string_view feedback : error_feedback_names)
                  f(fmt::format(R"("codec":"{}","range":"{}","scale_per":"{}","scale_from":"{}","scale_update":"{}",)"
                                R"("master":"{}","rounding":"{}","error_feedback":"{}")",
                                codec, range, per, from, update, master, rounding, feedback));
}

}  // namespace bittern
