// The console: lines above, a status line below, and text made fit for a terminal.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <clocale>
#include <cstdlib>
#include <string>

#include "base/printable.h"
#include "base/utf8.h"
#include "bittern/progress.h"

namespace bittern {
namespace {

bool environment_has(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0';
}

// The locale that decides about characters: the first of these that is set.
bool locale_is_utf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"})
    if (environment_has(name)) {
      const std::string value = std::getenv(name);
      return value.find("UTF-8") != std::string::npos || value.find("utf8") != std::string::npos;
    }
  return false;
}

// The first `width` columns; escape sequences take none and are all kept, so that colours are always switched off.
std::string cut_to_width(std::string_view text, int width) {
  std::string result;
  for (int column = 0; !text.empty();) {
    std::size_t length = 1;
    if (text.starts_with("\x1b[")) {
      length = std::min(text.find('m'), text.size() - 1) + 1;
    } else {
      length = std::max<std::size_t>(utf8_character(text), 1);
      if (column++ >= width) {
        text.remove_prefix(length);
        continue;
      }
    }
    result += text.substr(0, length);
    text.remove_prefix(length);
  }
  return result;
}

const char* style_code(Console::Style style) {
  switch (style) {
    case Console::Style::strong:
      return "\x1b[1m";
    case Console::Style::faint:
      return "\x1b[2m";
    case Console::Style::warning:
      return "\x1b[33m";
    case Console::Style::error:
      return "\x1b[31m";
    case Console::Style::plain:
      break;
  }
  return "";
}

}  // namespace

TerminalTraits terminal_traits(int descriptor) {
  TerminalTraits traits;
  const char* term = std::getenv("TERM");
  traits.live = ::isatty(descriptor) == 1 && term != nullptr && std::string_view(term) != "dumb";
  traits.colour = traits.live && !environment_has("NO_COLOR");  // https://no-color.org
  traits.unicode = traits.live && locale_is_utf8();
  return traits;
}

int Console::width() const {
  if (traits_.width > 0) return traits_.width;
  winsize size{};
  if (::ioctl(descriptor_, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

void Console::write(std::string_view bytes) {
  // A reader that went away (a closed pipe, a vanished terminal) must not stop a run: what it would have seen is in the
  // run's files as well.
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
}

void Console::print(std::string_view text, Style style) {
  const std::lock_guard lock(mutex_);
  const char* code = traits_.colour ? style_code(style) : "";
  std::string bytes = status_.empty() ? "" : "\r\x1b[K";
  bytes += code + printable(text) + (*code != '\0' ? "\x1b[0m\n" : "\n");
  write(bytes + status_);
}

void Console::status(std::string_view text) {
  if (!traits_.live) return;
  const std::lock_guard lock(mutex_);
  // One column stays free: a full line makes some terminals wrap.
  std::string cut = cut_to_width(text, width() - 1);
  if (cut == status_) return;
  status_ = std::move(cut);
  write("\r" + status_ + "\x1b[K");
}

void Console::clear_status() {
  const std::lock_guard lock(mutex_);
  if (status_.empty()) return;
  status_.clear();
  write("\r\x1b[K");
}

}  // namespace bittern
