// Where the sources lie: for tests that read golden files and configs.
#pragma once

#include <string>

namespace bittern {

std::string source_dir();

}  // namespace bittern
