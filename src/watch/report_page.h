// The texts that the page is put together from.
#pragma once

namespace bittern {

extern const char* const report_style;         // CSS
extern const char* const report_chart_script;  // drawing
extern const char* const report_page_script;   // everything else; uses the former

}  // namespace bittern
