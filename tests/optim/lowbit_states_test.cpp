// Moments in few bits: worked examples of the methods, computed in double precision by hand (4-bit AdamW and 4-bit
// Factor, arXiv 2309.01507; SOLO, arXiv 2505.00347), and the memory they take.
#include "optim/step_support.h"

using namespace bittern;

namespace {

const std::vector<float> P0 = {.5f, -.25f, .1f, 0, 1, -1, .3f, -.7f};
const std::vector<std::vector<float>> G = {{.1f, -.2f, .03f, .004f, -.5f, .25f, -.0007f, .06f},
                                           {.08f, .1f, -.05f, .002f, -.45f, .3f, .001f, -.02f},
                                           {-.02f, -.15f, .04f, -.003f, -.3f, .2f, .0005f, .05f}};

void check_close(const std::vector<float>& actual, const std::vector<double>& expected) {
  REQUIRE(actual.size() == expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i)
    CHECK(std::fabs(actual[i] - expected[i]) <= 2e-6 + 1e-5 * std::fabs(expected[i]));
}

StepOptions example(std::string_view m, std::string_view v, double beta1) {
  return {.shape = Shape{1, 8},
          .m = m,
          .v = v,
          .options = {.lr = 1e-2, .beta1 = beta1, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.01}};
}

}  // namespace

TEST_CASE("4-bit AdamW: three steps of the worked example, codes, scales and weights") {
  const TestBackend backend(make_cpu_backend(1));
  StoredParameter p(*backend, example("de4", "linear4", 0.9), P0);
  p.step(G[0], 1);
  check_close(p.weights(), {.489950001, -.239975, .0899900033, -.009999975, 1.0099, -1.0099, .309969857, -.709929998});
  CHECK(p.m_codes() == std::vector<int>{11, 2, 10, 8, 0, 12, 7, 10});
  CHECK(p.v_codes() == std::vector<int>{0, 2, 0, 0, 15, 3, 0, 0});
  CHECK(p.m_scales()[0] == Approx(.05));
  CHECK(p.v_scales()[0] == Approx(2.5e-4));
  p.step(G[1], 2);
  check_close(p.weights(),
              {.481091831, -.236926996, .0908173704, -.0102654751, 1.01919761, -1.0192691, .309879301, -.710733833});
  CHECK(p.m_codes() == std::vector<int>{11, 4, 6, 8, 0, 13, 7, 8});
  CHECK(p.v_codes() == std::vector<int>{0, 1, 0, 0, 15, 4, 0, 0});
  CHECK(p.m_scales()[0] == Approx(.0849375));
  CHECK(p.v_scales()[0] == Approx(4.5225e-4));
  p.step(G[2], 3);
  check_close(p.weights(),
              {.475666615, -.232146853, .0894844853, -.0103102275, 1.02758728, -1.02976913, .309829306, -.712637798});
  CHECK(p.m_codes() == std::vector<int>{11, 3, 9, 7, 0, 13, 7, 10});
  CHECK(p.v_codes() == std::vector<int>{0, 1, 0, 0, 15, 4, 0, 0});
  CHECK(p.m_scales()[0] == Approx(.0978438281));
  CHECK(p.v_scales()[0] == Approx(5.4179775e-4));
}

TEST_CASE("AdamW with f32 states: the worked example") {
  const TestBackend backend(make_cpu_backend(1));
  StoredParameter p(*backend, example("f32", "f32", 0.9), P0);
  for (int t = 1; t <= 3; ++t) p.step(G[static_cast<std::size_t>(t - 1)], t);
  check_close(p.weights(),
              {.473411617, -.231993697, .091162976, -.0217402488, 1.02928919, -1.02950017, .303615827, -.720179885});
}

TEST_CASE("SOLO 4/2 bits: three steps of the worked example, without the random shift of codes") {
  const TestBackend backend(make_cpu_backend(1));
  StoredParameter p(*backend, example("de4", "log2", 0.8), P0);
  p.step(G[0], 1);
  check_close(p.weights(), {.489950001, -.239975, .0899900033, -.009999975, 1.0099, -1.0099, .309969857, -.709929998});
  CHECK(p.m_codes() == std::vector<int>{11, 2, 10, 8, 0, 12, 7, 10});
  CHECK(p.v_codes() == std::vector<int>{1, 1, 2, 3, 0, 0, 3, 1});
  CHECK(p.m_scales()[0] == Approx(.1));
  CHECK(p.v_scales()[0] == Approx(2.5e-4));
  CHECK(p.v_scales()[1] == Approx(.0356708684).epsilon(1e-5));
  p.step(G[1], 2);
  check_close(p.weights(),
              {.47942617, -.235666868, .0927924745, -.0184232101, 1.01920145, -1.01620001, .307702452, -.710754534});
  CHECK(p.m_codes() == std::vector<int>{11, 4, 5, 8, 0, 13, 7, 8});
  CHECK(p.v_codes() == std::vector<int>{1, 1, 1, 3, 0, 0, 3, 1});
  CHECK(p.v_scales()[1] == Approx(.03172142).epsilon(1e-5));
  p.step(G[2], 3);
  check_close(p.weights(),
              {.472547667, -.22825274, .0917112474, -.0192159642, 1.02750046, -1.02243833, .306745516, -.71361155});
  CHECK(p.m_codes() == std::vector<int>{10, 3, 9, 7, 0, 13, 7, 10});
  CHECK(p.v_codes() == std::vector<int>{1, 1, 1, 3, 0, 0, 3, 1});
  CHECK(p.m_scales()[0] == Approx(.17431));
  CHECK(p.v_scales()[0] == Approx(5.4179775e-4));
  CHECK(p.v_scales()[1] == Approx(.0337325405).epsilon(1e-5));
}

TEST_CASE("SOLO 2/2 bits: the worked example") {
  const TestBackend backend(make_cpu_backend(1));
  StoredParameter p(*backend, example("de2", "log2", 0.5), P0);
  p.step(G[0], 1);
  CHECK(p.m_codes() == std::vector<int>{1, 0, 1, 1, 0, 2, 1, 1});
  CHECK(p.v_codes() == std::vector<int>{1, 1, 2, 3, 0, 0, 3, 1});
  CHECK(p.m_scales()[0] == Approx(.25));
  p.step(G[1], 2);
  CHECK(p.m_codes() == std::vector<int>{1, 1, 1, 1, 0, 2, 1, 1});
  CHECK(p.v_codes() == std::vector<int>{1, 1, 1, 3, 0, 0, 3, 1});
  CHECK(p.m_scales()[0] == Approx(.29375));
  p.step(G[2], 3);
  CHECK(p.m_codes() == std::vector<int>{1, 0, 1, 1, 0, 3, 1, 1});
  CHECK(p.v_codes() == std::vector<int>{1, 1, 1, 3, 0, 0, 3, 1});
  CHECK(p.m_scales()[0] == Approx(.23078125));
  check_close(p.weights(),
              {.485388257, -.229624889, .0957144656, -.00867908511, 1.02413486, -1.02187241, .305933106, -.71164685});
}

TEST_CASE("SOLO 3/3 bits: the worked example") {
  const TestBackend backend(make_cpu_backend(1));
  StoredParameter p(*backend, example("de3", "log3", 0.69), P0);
  p.step(G[0], 1);
  CHECK(p.v_codes() == std::vector<int>{2, 1, 4, 7, 0, 1, 7, 3});
  CHECK(p.v_scales()[1] == Approx(.239642039).epsilon(1e-5));
  p.step(G[1], 2);
  CHECK(p.v_codes() == std::vector<int>{2, 1, 3, 7, 0, 1, 7, 3});
  CHECK(p.v_scales()[1] == Approx(.227888574).epsilon(1e-5));
  p.step(G[2], 3);
  CHECK(p.v_codes() == std::vector<int>{2, 1, 3, 7, 0, 1, 7, 3});
  CHECK(p.v_scales()[1] == Approx(.233971995).epsilon(1e-5));
  CHECK(p.m_codes() == std::vector<int>{5, 1, 3, 3, 0, 6, 3, 4});
  check_close(p.weights(),
              {.471404732, -.23615866, .0932486938, -.00931592182, 1.02604413, -1.03094022, .306482854, -.7141607});
}

TEST_CASE("4-bit Factor: row and column means of the squared gradients, and the second moment they make") {
  const TestBackend backend(make_cpu_backend(1));
  StepOptions options{.shape = Shape{2, 4}, .m = "de4", .v = "factored"};
  const std::vector<float> g1 = {.1f, -.2f, .03f, .4f, -.5f, .25f, .07f, .06f},
                           g2 = {.08f, .1f, -.05f, .2f, -.45f, .3f, .01f, -.02f};
  StoredParameter p(*backend, options, std::vector<float>(8, 0.0f));
  p.with_statistics = true;
  p.step(g1, 1);
  check_close(p.v_row(), {5.2725e-5, 8.025e-5});
  check_close(p.v_column(), {1.3e-4, 5.125e-5, 2.9e-6, 8.18e-5});
  CHECK(p.statistic(StepStatistic::v_max) == Approx(1.569092e-4).epsilon(1e-5));
  const std::vector<double> V = {1.030908e-4, 4.064157e-5, 2.299718e-6, 6.486791e-5,
                                 1.569092e-4, 6.185843e-5, 3.500282e-6, 9.873209e-5};
  const std::vector<float> w = p.weights();
  for (std::size_t i = 0; i < 8; ++i)
    CHECK(w[i] == Approx(-1e-2 / 0.1 * (0.1 * g1[i]) / (std::sqrt(V[i]) / std::sqrt(1e-3) + 1e-8)).epsilon(1e-4));
  p.step(g2, 2);
  check_close(p.v_row(), {6.7397275e-5, 1.5341975e-4});
  check_close(p.v_column(), {2.3432e-4, 1.0119875e-4, 4.1971e-6, 1.019182e-4});
  CHECK(p.statistic(StepStatistic::v_max) == Approx(3.256028e-4).epsilon(1e-5));
}

TEST_CASE("rank-1: the scale of an element is the smaller of its row's and its column's maximum") {
  // beta2 = 0, so that v is g^2: the example's matrix.
  const TestBackend backend(make_cpu_backend(1));
  const std::vector<double> X = {.10, .40, .02, .80, .05, .01, .03, .06, .30, 2.0, .09, .50};
  std::vector<float> g;
  for (const double x : X) g.push_back(static_cast<float>(std::sqrt(x)));
  StepOptions options{.shape = Shape{3, 4}, .v = "rank1_linear4"};
  options.options.beta2 = 0;
  StoredParameter p(*backend, options, std::vector<float>(12, 0.0f));
  p.step(g, 1);
  check_close(p.v_row(), {.8, .06, 2.0});
  check_close(p.v_column(), {.3, 2.0, .09, .8});
  CHECK(p.v_codes() == std::vector<int>{4, 7, 3, 15, 12, 2, 7, 15, 15, 15, 15, 9});
}

TEST_CASE("statistics: what storing took of the first moment, and second moments that became zero") {
  // After one step m = 0.1 g and v = 0.001 g^2. Signed DE4 at scale 0.05, by the codes of the worked example above.
  const TestBackend backend(make_cpu_backend(1));
  const std::vector<double> stored = {.2125, -.4375, .0775, .0055, -.8875, .4375, 0, .0775};
  double squared = 0, error = 0;
  for (std::size_t i = 0; i < 8; ++i) {
    const double m = 0.1 * static_cast<double>(G[0][i]);
    squared += m * m;
    error += (m - 0.05 * stored[i]) * (m - 0.05 * stored[i]);
  }
  // g^2 over its largest: .04 .16 .0036 .000064 1 .25 .00000196 .0144; DE4 rounds below .001625 to its zero. In rows of
  // four, rank-1 divides .000064 by its column's .0144 and keeps it; .00000196 by its column's .0036, and it is zero.
  struct Case {
    const char* v;
    Shape shape;
    double zeroed;
  };
  for (const Case& c : {Case{"f32", {1, 8}, 0}, Case{"de4", {1, 8}, 2}, Case{"de4_no_zero", {1, 8}, 0},
                        Case{"linear4", {1, 8}, 0}, Case{"log2", {1, 8}, 0}, Case{"rank1_de4", {2, 4}, 1},
                        Case{"rank1_linear4", {2, 4}, 0}, Case{"factored", {2, 4}, 0}}) {
    CAPTURE(c.v);
    StepOptions options = example("de4", c.v, 0.9);
    options.shape = c.shape;
    StoredParameter p(*backend, options, P0);
    p.with_statistics = true;
    p.step(G[0], 1);
    CHECK(p.statistic(StepStatistic::v_zeroed) == c.zeroed);
    if (c.shape.rank == 2 && c.shape[0] == 1) {
      CHECK(p.statistic(StepStatistic::m_squared) == Approx(squared).epsilon(1e-5));
      CHECK(p.statistic(StepStatistic::m_error_squared) == Approx(error).epsilon(1e-5));
    }
  }
  StoredParameter exact(*backend, example("f32", "f32", 0.9), P0);
  exact.with_statistics = true;
  exact.step(G[0], 1);
  CHECK(exact.statistic(StepStatistic::m_error_squared) == 0.0f);
}

TEST_CASE("a step whose tensors are moved to the back end's memory and back is the step that takes them as they are") {
  const TestBackend backend(make_cpu_backend(2));
  StepOptions options = example("de4", "rank1_de4", 0.9);
  options.shape = Shape{2, 4};
  options.weight = {.storage = WeightStorage::fp8_e4m3, .master = Master::bf16};
  StoredParameter stays(*backend, options, P0), moves(*backend, options, P0);
  moves.always_moved = true;
  for (StoredParameter* p : {&stays, &moves}) {
    p->with_statistics = true;
    for (int t = 1; t <= 3; ++t) p->step(G[static_cast<std::size_t>(t - 1)], t);
  }
  CHECK(stays.all_bytes() == moves.all_bytes());
  CHECK(stays.statistics() == moves.statistics());
  CHECK(stays.weights() != P0);
}
