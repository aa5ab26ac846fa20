// main of every test executable: the executable's own options (catch_main.h), then Catch2.
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_session.hpp>
#else
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#endif

#include "catch_main.h"

namespace bittern {

TakeOptions& take_options() {
  static TakeOptions take = nullptr;
  return take;
}

}  // namespace bittern

int main(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  if (bittern::take_options() != nullptr)
    if (const std::optional<int> code = bittern::take_options()(arguments)) return *code;
  std::vector<const char*> all = {argv[0]};
  for (const std::string& argument : arguments) all.push_back(argument.c_str());
  return Catch::Session().run(static_cast<int>(all.size()), all.data());
}
