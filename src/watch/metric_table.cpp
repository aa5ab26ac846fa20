// The rows of the table of metrics, and the page of the docs that is made from them.
#include "watch/metric_table.h"

#include <array>

#include "bittern/error.h"

namespace bittern {
namespace {

constexpr std::array<Metric<StepMetrics>, 15> step_metrics{{
    {.name = "step", .value = &StepMetrics::step, .meaning = "the number of the step; the first is 1"},
    {.name = "tokens",
     .value = &StepMetrics::tokens,
     .meaning = "tokens trained on since the run began, with this step's"},
    {.name = "loss",
     .value = &StepMetrics::loss,
     .meaning = "mean cross entropy per target, in nats, before the step's update",
     .drawing = {.chart = "Loss", .label = "train", .large = true, .smooth = true, .place = 1}},
    {.name = "z_loss",
     .value = &StepMetrics::z_loss,
     .meaning = "the z-loss that is added to the loss for the gradients, where `train.z_loss` is above 0"},
    {.name = "lr",
     .value = &StepMetrics::lr,
     .meaning = "the learning rate of the step",
     .drawing = {.chart = "Learning rate", .place = 3}},
    {.name = "grad_norm",
     .value = &StepMetrics::grad_norm,
     .meaning = "the norm of all gradients together, before they are clipped",
     .drawing = {.chart = "Gradient norm", .smooth = true, .place = 2}},
    {.name = "clip_scale",
     .value = &StepMetrics::clip_scale,
     .meaning = "the factor that clipping multiplied the gradients by; 1: they were not clipped"},
    {.name = "skipped",
     .value = &StepMetrics::skipped,
     .meaning =
         "true where the step changed no weight: its loss or gradients were not finite, or beyond `train.skip_deviations`"},
    {.name = "left_from_bucket",
     .value = &StepMetrics::left_from_bucket,
     .meaning =
         "with `train.fused_backward`, where gradients were not finite: the first bucket that was not updated, a block's number, one more for the final norm and the head, or two for the embedding; those that backward reached before it were"},
    {.name = "skipped_steps",
     .value = &StepMetrics::skipped_steps,
     .meaning = "how many steps were skipped since the run began, this one included"},
    {.name = "tokens_per_second",
     .value = &StepMetrics::tokens_per_second,
     .meaning = "tokens of the step divided by its time",
     .drawing = {.chart = "Tokens per second", .smooth = true, .place = 4},
     .timing = true},
    {.name = "step_ms",
     .value = &StepMetrics::step_ms,
     .meaning = "the time of the step, in milliseconds",
     .timing = true},
    {.name = "seconds",
     .value = &StepMetrics::seconds,
     .meaning = "time spent in steps since the run began, over all its resumptions",
     .timing = true},
    {.name = "peak_rss",
     .value = &StepMetrics::peak_rss,
     .meaning = "the largest resident memory of the process so far, in bytes",
     .timing = true},
    {.name = "save_ms",
     .value = &StepMetrics::save_ms,
     .meaning = "how long training paused for the checkpoint of the step before, in milliseconds; where one was taken",
     .timing = true},
}};

constexpr std::array<Metric<EvalMetrics>, 6> evaluation_metrics{{
    {.name = "step", .value = &EvalMetrics::step, .meaning = "the step after which the model was evaluated"},
    {.name = "tokens", .value = &EvalMetrics::tokens, .meaning = "tokens trained on since the run began"},
    {.name = "valid_loss",
     .value = &EvalMetrics::valid_loss,
     .meaning = "mean cross entropy per target of the validation text, in nats",
     .drawing = {.chart = "Loss", .label = "valid", .large = true, .dots = true, .place = 1}},
    {.name = "valid_tokens", .value = &EvalMetrics::valid_tokens, .meaning = "how many targets that is the mean of"},
    {.name = "evaluate_ms",
     .value = &EvalMetrics::evaluate_ms,
     .meaning = "the time of the evaluation, in milliseconds",
     .timing = true},
    {.name = "seconds",
     .value = &EvalMetrics::seconds,
     .meaning = "time spent in steps since the run began, over all its resumptions",
     .timing = true},
}};

constexpr std::array<Metric<RoleMetrics>, 10> role_metrics{{
    {.name = "relative_error",
     .value = &RoleMetrics::relative_error,
     .meaning = "norm(w - stored w) / norm(w), w the updated weights; where they are not stored in f32",
     .drawing = {.chart = "Relative rounding error"}},
    {.name = "error_ratio",
     .value = &RoleMetrics::error_ratio,
     .meaning = "norm(e) / norm(e of the step before), e = w - stored w; where there is a master",
     .drawing = {.chart = "Rounding error against the step before: norm"}},
    {.name = "error_cosine",
     .value = &RoleMetrics::error_cosine,
     .meaning = "the cosine of the angle between the two; where there is a master",
     .drawing = {.chart = "Rounding error against the step before: cosine"}},
    {.name = "changed",
     .value = &RoleMetrics::changed,
     .meaning = "the part of the codes that the step changed; where weights are codes",
     .drawing = {.chart = "Weights changed in a step"}},
    {.name = "expected_changed",
     .value = &RoleMetrics::expected_changed,
     .meaning = "the part that the sizes of the updates make likely; for integers rounded stochastically",
     .drawing = {.chart = "Weights expected to change, by their updates"}},
    {.name = "saturated",
     .value = &RoleMetrics::saturated,
     .meaning = "the part of the codes at either end of their grid; where weights are codes",
     .drawing = {.chart = "Codes at an end of the grid"}},
    {.name = "m_absmax",
     .value = &RoleMetrics::m_absmax,
     .meaning = "the largest magnitude of a first moment, before it is stored",
     .drawing = {.chart = "Largest |m|"}},
    {.name = "v_max",
     .value = &RoleMetrics::v_max,
     .meaning = "the largest second moment, before it is stored",
     .drawing = {.chart = "Largest v"}},
    {.name = "m_relative_error",
     .value = &RoleMetrics::m_relative_error,
     .meaning = "norm(m - stored m) / norm(m), m the first moments; where some are not stored in f32",
     .drawing = {.chart = "Relative rounding error of m"}},
    {.name = "v_zeroed",
     .value = &RoleMetrics::v_zeroed,
     .meaning = "the part of the second moments that are above zero and stored as zero; where some are not f32",
     .drawing = {.chart = "v above zero, stored as zero"}},
}};

constexpr MetricTables tables{.step = step_metrics, .evaluation = evaluation_metrics, .role = role_metrics};

/// "a\|b": a bar would end a cell of a Markdown table.
std::string cell(std::string_view text) {
  std::string result;
  for (const char c : text) result += c == '|' ? std::string("\\|") : std::string(1, c);
  return result;
}

template <class Line>
std::string rows(std::span<const Metric<Line>> table) {
  std::string text = "| key | meaning | chart, and TensorBoard event | in equal runs |\n|---|---|---|---|\n";
  for (const Metric<Line>& metric : table)
    text += fmt::format("| `{}` | {} | {} | {} |\n", metric.name, cell(metric.meaning),
                        metric.drawing.chart ? cell(metric.drawing.chart) : "", metric.timing ? "differs" : "equal");
  return text;
}

}  // namespace

const MetricTables& metric_tables() {
  return tables;
}

std::string metrics_reference() {
  return metrics_reference(metric_tables());
}

std::string metrics_reference(const MetricTables& of) {
  return R"(# metrics.jsonl, key by key

This page is made by `bittern report --reference` from the table that the program itself uses.

`RUN/metrics.jsonl` has one JSON object a line, in the order of the steps. The keys of a line tell its kind. A program
that reads the file should pass over keys that it does not know: later versions may add some.

A number that is not finite is `null`, and a flag says so: `{"loss":null,"loss_nonfinite":true}`.

A resumed run first removes the lines of steps after the checkpoint that it starts from. So the file of a run that was
interrupted equals the file of a run that was not, but for the keys that differ in equal runs (last column).

## The run: the first line

`step` (0), `run` (its name) and `parameters` (how many).

## A step

)" + rows(of.step) +
         R"(
## An evaluation, every `train.evaluate_every` steps

)" + rows(of.evaluation) +
         R"(
## Statistics, every `train.statistics_every` steps

`step`, `tokens`, and `statistics`: an object that holds an object for each role of weights (`attention_linear`,
`mlp_linear`, ...). The keys of that object are below. A key is missing where a role has no such number. The event's tag
is `ROLE/KEY`.

)" + rows(of.role) +
         R"(
## A sample, every `train.sample_every` steps

`step`, and `sample`: the text that the model wrote.
)";
}

}  // namespace bittern
