#include "source_dir.h"

namespace bittern {

std::string source_dir() {
  return BITTERN_SOURCE_DIR;
}

}  // namespace bittern
