// What a test executable may do with its arguments before Catch2 reads them.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace bittern {

/// Takes the options that it knows out of `arguments` (the program's name is not among them) and leaves or adds what
/// Catch2 shall do. An exit code: nothing is left to do. Set by a static object of the executable; none by default.
using TakeOptions = std::optional<int> (*)(std::vector<std::string>& arguments);
TakeOptions& take_options();

}  // namespace bittern
