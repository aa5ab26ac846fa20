// background_thread: work beside training that must not slow it down.
#pragma once

#include <functional>
#include <string_view>
#include <thread>

namespace bittern {

/// Starts a thread of the lowest priority that takes no signals: those are for the main thread. `work` throws nothing.
/// Where no thread can be started, the Error begins with `what`.
std::thread background_thread(std::string_view what, std::function<void()> work);

}  // namespace bittern
