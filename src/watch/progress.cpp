// Writes numbers in words, and draws the progress of training and of other long work on the terminal.
#include "bittern/progress.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>

#include "base/printable.h"
#include "bittern/error.h"

namespace bittern {
namespace {

std::string bar(double fraction, int width, const TerminalTraits& traits) {
  const int filled = static_cast<int>(std::lround(std::clamp(fraction, 0.0, 1.0) * width));
  const auto repeat = [](std::string_view piece, int count) {
    std::string text;
    for (int i = 0; i < count; ++i) text += piece;
    return text;
  };
  const std::string done = repeat(traits.unicode ? "\u2501" : "=", filled);
  const std::string rest = repeat(traits.unicode ? "\u2500" : "-", width - filled);
  if (traits.colour) return "\x1b[36m" + done + "\x1b[0m\x1b[2m" + rest + "\x1b[0m";
  return traits.unicode ? done + rest : "[" + done + rest + "]";
}

// The status line of a given width: the pieces in order of importance are kept while they fit, in their own order, and
// the bar takes what is left, up to 32 columns.
struct Piece {
  std::string text;
  int importance;  // 0 stays always
};
std::string fit(const std::string& head, double fraction, std::vector<Piece> pieces, const Console& console) {
  const auto columns = [&] {
    std::size_t sum = head.size() + 1;
    for (const Piece& piece : pieces) sum += piece.text.empty() ? 0 : piece.text.size() + 2;
    return static_cast<int>(sum);
  };
  const int width = console.width();
  while (columns() > width) {
    const auto least = std::max_element(pieces.begin(), pieces.end(),
                                        [](const Piece& a, const Piece& b) { return a.importance < b.importance; });
    if (least == pieces.end() || least->importance == 0) break;
    pieces.erase(least);
  }
  std::string line = head;
  const int free = std::min(width - columns() - 4, 32);
  if (fraction >= 0 && free >= 8) line += "  " + bar(fraction, free, console.traits());
  for (const Piece& piece : pieces)
    if (!piece.text.empty()) line += "  " + piece.text;
  return line;
}

std::string time_left(double seconds) {
  return seconds < 0 ? "" : short_duration(seconds) + " left";
}

}  // namespace

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string with_commas(std::int64_t value) {
  std::string digits = std::to_string(value);
  const std::size_t sign = value < 0 ? 1 : 0;
  for (std::size_t at = digits.size(); at > sign + 3; at -= 3) digits.insert(at - 3, ",");
  return digits;
}

std::string short_number(double value) {
  if (!std::isfinite(value)) return "?";
  constexpr std::array<const char*, 5> units{"", "k", "M", "G", "T"};
  std::size_t unit = 0;
  for (; std::abs(value) >= 999.5 && unit + 1 < units.size(); ++unit) value /= 1000;
  if (unit == 0 && value == std::floor(value)) return fmt::format("{:.0f}", value);
  const double size = std::abs(value);
  return fmt::format("{:.{}f}{}", value, size < 9.995 ? 2 : size < 99.95 ? 1 : 0, units[unit]);
}

std::string short_bytes(double bytes) {
  constexpr std::array<const char*, 5> units{"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  for (; bytes >= 1023.5 && unit + 1 < units.size(); ++unit) bytes /= 1024;
  return fmt::format("{:.{}f} {}", bytes, unit == 0 || bytes >= 99.95 ? 0 : bytes < 9.995 ? 2 : 1, units[unit]);
}

std::string short_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  if (seconds < 9.95) return fmt::format("{:.1f}s", seconds);
  const auto s = static_cast<std::int64_t>(std::llround(std::min(seconds, 3e11)));
  if (s < 60) return fmt::format("{}s", s);
  if (s < 3600) return fmt::format("{}m {:02d}s", s / 60, s % 60);
  if (s < 86400) return fmt::format("{}h {:02d}m", s / 3600, s / 60 % 60);
  return fmt::format("{}d {:02d}h", s / 86400, s / 3600 % 24);
}

void RateMeter::add(double now, double done) {
  ++calls_;
  if (calls_ == 1) started_at_ = now;
  const double elapsed = now - started_at_;
  // At most a few hundred marks: one that is close to its neighbour is moved instead. The first three are the start,
  // the first step and the second, which takes the start's place away.
  const bool close = calls_ > 3 && marks_.size() >= 2 && now - marks_[marks_.size() - 2].time < elapsed / 256;
  if (close) marks_.pop_back();
  marks_.push_back({now, done});
  if (calls_ == 3) marks_.pop_front();
  const double window = std::max(60.0, elapsed / 4);
  while (marks_.size() > 2 && now - marks_[1].time > window) marks_.pop_front();
}

double RateMeter::rate() const {
  if (marks_.size() < 2) return 0;
  const double time = marks_.back().time - marks_.front().time;
  return time > 0 ? (marks_.back().done - marks_.front().done) / time : 0;
}

double RateMeter::seconds_left(double total) const {
  const double speed = rate();
  return speed > 0 ? std::max(0.0, total - marks_.back().done) / speed : -1;
}

TrainProgress::TrainProgress(Console& console, const TrainProgressOptions& options, Clock clock)
    : console_(console),
      options_(options),
      clock_(std::move(clock)),
      best_valid_loss_(options.best_valid_loss),
      drawn_at_(clock_()) {
  steps_.add(drawn_at_, static_cast<double>(options_.first_step));
}

void TrainProgress::step(const StepMetrics& metrics) {
  const double now = clock_();
  steps_.add(now, static_cast<double>(metrics.step));
  last_ = metrics;
  ++steps_seen_;
  activity_.clear();
  // The first step's speed is replaced, not averaged in: it pays for caches and page faults.
  const double speed = metrics.tokens_per_second;
  tokens_per_second_ = steps_seen_ <= 2 ? speed : tokens_per_second_ + 0.1 * (speed - tokens_per_second_);
  const bool live = console_.traits().live;
  const double interval = live ? options_.redraw_interval : options_.plain_interval;
  if (steps_seen_ == 1 || now - drawn_at_ >= interval || metrics.step == options_.total_steps) {
    drawn_at_ = now;
    draw();
  }
}

void TrainProgress::draw() {
  if (console_.traits().live) {
    console_.status(live_line());
  } else {
    console_.print(plain_line());
  }
}

std::string TrainProgress::live_line() const {
  const double total = static_cast<double>(options_.total_steps);
  const double fraction = total > 0 ? static_cast<double>(last_.step) / total : -1;
  const double peak = options_.peak_flops > 0 ? tokens_per_second_ * options_.flops_per_token / options_.peak_flops : 0;
  const std::string head = fmt::format("step {}/{}", with_commas(last_.step), with_commas(options_.total_steps));
  return fit(head, fraction,
             {{fraction >= 0 ? fmt::format("{:.0f}%", std::floor(100 * fraction)) : "", 5},
              {fmt::format("loss {:.4f}", last_.loss), 0},
              {best_valid_loss_ > 0 ? fmt::format("best valid {:.4f}", best_valid_loss_) : "", 4},
              {last_.skipped_steps > 0 ? fmt::format("{} skipped", last_.skipped_steps) : "", 1},
              {short_number(tokens_per_second_) + " tok/s", 2},
              {peak > 0 ? fmt::format("{:.0f}% of peak", 100 * peak) : "", 3},
              {!activity_.empty() ? activity_ : time_left(steps_.seconds_left(total)), 1}},
             console_);
}

std::string TrainProgress::plain_line() const {
  const double peak = options_.peak_flops > 0 ? tokens_per_second_ * options_.flops_per_token / options_.peak_flops : 0;
  std::string line = fmt::format("step {}/{}  loss {:.4f}  lr {:.3g}  grad {:.3g}  {} tok/s", with_commas(last_.step),
                                 with_commas(options_.total_steps), last_.loss, last_.lr, last_.grad_norm,
                                 short_number(tokens_per_second_));
  if (peak > 0) line += fmt::format("  {:.0f}% of peak", 100 * peak);
  if (last_.skipped_steps > 0) line += fmt::format("  {} skipped", last_.skipped_steps);
  const std::string left = time_left(steps_.seconds_left(static_cast<double>(options_.total_steps)));
  return left.empty() || last_.step >= options_.total_steps ? line : line + "  " + left;
}

void TrainProgress::evaluation(const EvalMetrics& metrics) {
  const bool best =
      std::isfinite(metrics.valid_loss) && (best_valid_loss_ <= 0 || metrics.valid_loss < best_valid_loss_);
  if (best) best_valid_loss_ = metrics.valid_loss;
  spdlog::info("step {}  valid loss {:.4f}  perplexity {:.2f}{}", with_commas(metrics.step), metrics.valid_loss,
               std::exp(metrics.valid_loss), best ? "  (best so far)" : "");
}

void TrainProgress::sample(const Sample& sample) {
  spdlog::info("step {}  sample: {}", with_commas(sample.step), printable(sample.text));
}

void TrainProgress::activity(std::string_view what) {
  activity_ = what;
  if (console_.traits().live && steps_seen_ > 0) console_.status(live_line());
}

void TrainProgress::finish() {
  console_.clear_status();
  if (console_.traits().live && steps_seen_ > 0) console_.print(plain_line());
}

ProgressBar::ProgressBar(Console& console, std::string label, std::int64_t total, Unit unit, Clock clock)
    : console_(console),
      label_(printable(label)),
      total_(total),
      unit_(unit),
      clock_(std::move(clock)),
      started_at_(clock_()),
      drawn_at_(started_at_) {
  meter_.add(started_at_, 0);
}

std::string ProgressBar::amount(double value) const {
  return unit_ == Unit::bytes ? short_bytes(value) : short_number(value);
}

void ProgressBar::update(std::int64_t done) {
  const double now = clock_();
  done_ = done;
  meter_.add(now, static_cast<double>(done));
  const bool live = console_.traits().live;
  if (now - drawn_at_ < (live ? 0.1 : 10.0)) return;
  drawn_at_ = now;
  const double fraction = total_ > 0 ? static_cast<double>(done) / static_cast<double>(total_) : -1;
  const std::string of_total = total_ > 0 ? " of " + amount(static_cast<double>(total_)) : "";
  const std::string percent = total_ > 0 ? fmt::format("{:.0f}%", std::floor(100 * std::min(fraction, 1.0))) : "";
  const std::string line = fit(label_, live ? fraction : -1,
                               {{percent, 1},
                                {amount(static_cast<double>(done)) + of_total, 3},
                                {meter_.rate() > 0 ? amount(meter_.rate()) + "/s" : "", 2},
                                {total_ > 0 ? time_left(meter_.seconds_left(static_cast<double>(total_))) : "", 1}},
                               console_);
  if (live) {
    console_.status(line);
  } else {
    console_.print(line);
  }
}

void ProgressBar::finish() {
  console_.clear_status();
  const double seconds = clock_() - started_at_;
  const std::string rate = seconds > 0.05 ? fmt::format(" ({}/s)", amount(static_cast<double>(done_) / seconds)) : "";
  console_.print(
      fmt::format("{}: {} in {}{}", label_, amount(static_cast<double>(done_)), short_duration(seconds), rate));
}

}  // namespace bittern
