// What `bittern --version` says beside the version: which sources, which compiler, which instructions.
#pragma once

namespace bittern::app {

/// The commit of the sources, in 12 digits; `-changed` behind it if files differed from it; `unknown` without git.
extern const char* const built_from_commit;
/// CMake's build type.
extern const char* const build_type;

}  // namespace bittern::app
