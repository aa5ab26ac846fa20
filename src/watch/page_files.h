// The files that report.html is made of. They lie beside this header; cmake/embed.cmake puts their text into the program.
#pragma once

#include <string_view>

namespace bittern {

extern const std::string_view page_css;       ///< the page's look
extern const std::string_view page_chart_js;  ///< the part of the script that draws
extern const std::string_view page_js;        ///< the part that lays out; follows page_chart_js

}  // namespace bittern
