#include "scalevec/optim/core/update_rules.hpp"

#include <cmath>

#include "scalevec/optim/core/param_role.hpp"
#include "scalevec/tests/support/catch.hpp"

using namespace scalevec;

// The rules' long runs are held against PyTorch and against double references where they are used (tests/optim,
// tests/theory); here are cases whose answer is a closed form.

TEST_CASE("AdamW's first step has length lr whatever the gradient's scale") {
  for (const double scale : {1e-3, 1.0, 1e3}) {
    const auto rule = rules::AdamW<double>::at_step({}, 0.01, 0.9, 0.999, 0.0, 1.0);
    double m = 0, v = 0, inv = 0;
    CHECK(std::abs(rule(2.0, scale, m, v, inv) - 1.99) < 1e-15);
    CHECK(std::abs(inv * scale - 1.0) < 1e-12);
  }
}

TEST_CASE("decay pulls toward its target and l2 enters after the clip factor") {
  rules::Decay<double> d{0.5, 0.1, 0.2, 1.0};
  CHECK(std::abs(rules::effective_grad(d, 3.0, 4.0) - (0.5 * 4.0 + 0.1 * 2.0)) < 1e-15);
  CHECK(std::abs(rules::moved(d, 3.0, 0.5) - (3.0 - 0.2 * 2.0 - 0.5)) < 1e-15);
}

TEST_CASE("sign methods move by lr, and not at all on a zero gradient") {
  double b = 0;
  const rules::Signum<double> signum{{}, 0.1, 1.0};
  CHECK(std::abs(signum(1.0, -3.0, b) - 1.1) < 1e-15);
  CHECK(std::abs(signum(1.0, 0.0, b) - 1.0) < 1e-15);
  double m = 1.0;
  const rules::Lion<double> lion{{}, 0.1, 0.1, 0.01};
  CHECK(std::abs(lion(1.0, -8.9, m) - 0.9) < 1e-15);  // 0.9·1 − 0.1·8.9 > 0
  CHECK(std::abs(m - (0.99 - 0.089)) < 1e-15);
}

TEST_CASE("momentum of a constant gradient sums a geometric series") {
  const rules::Sgd<double> sgd{{}, 1.0, 0.5, 1.0, false};
  double b = 0, p = 0;
  for (int i = 0; i < 40; ++i) p = sgd(p, 1.0, b);
  CHECK(std::abs(b - 2.0) < 1e-11);
  CHECK(std::abs(p + (2.0 * 40 - 2.0)) < 1e-9);
}

TEST_CASE("AdEMAMix is AdamW when the slow mean has no weight, and adds lr times it under a constant gradient") {
  const auto adamw = rules::AdamW<double>::at_step({}, 0.01, 0.9, 0.999, 1e-8, 1.0);
  rules::AdEMAMix<double> rule{{}, 0.1, 0.999, 0.001, 0.25, adamw.step_size, 0.0, adamw.inv_sqrt_bias2, 1e-8};
  double m = 0, v = 0, inv = 0, fast = 0, slow = 0, u = 0, inv2 = 0;
  CHECK(std::abs(rule(2.0, 3.0, fast, slow, u, inv2) - adamw(2.0, 3.0, m, v, inv)) < 1e-15);
  CHECK(std::abs(slow - 0.75) < 1e-15);  // a quarter of the gradient
  rule.slow_size = 0.02;
  fast = slow = u = 0;
  // |g|/√v̂ = 1: the step is lr·(1 + α/4) with lr = 0.01 and lr·α = 0.02.
  CHECK(std::abs(rule(2.0, 3.0, fast, slow, u, inv2) - (2.0 - 0.01 - 0.02 / 4)) < 1e-9);
}

TEST_CASE("a matrix method's first pass leaves p, and its last one subtracts the update and the decay") {
  rules::Momentum<double> momentum{{0.5, 0.0, 0.0, 0.0}, 0.25, 0.75};
  double m = 4.0, u = 0.0;
  CHECK(momentum(7.0, 16.0, m, u) == 7.0);
  CHECK(m == 5.0);  // 0.75·4 + 0.25·8
  CHECK(std::abs(u - (0.25 * 8 + 0.75 * 5)) < 1e-15);
  momentum.mix = 0.0;
  momentum(7.0, 16.0, m, u);
  CHECK(u == 8.0);
  momentum.mix = 1.0;
  momentum(7.0, 16.0, m, u);
  CHECK(u == m);
  const rules::ApplyUpdate<double> last{{0.5, 9.0, 0.25, 1.0}, 2.0};
  CHECK(last(5.0, 0.5) == 3.0);  // 5 − 0.25·(5 − 1) − 2·0.5; clip factor and l2 entered before
}

TEST_CASE("roles parse, print and refuse contradictions") {
  for (const auto kind : {ParamKind::embedding, ParamKind::unembedding, ParamKind::matrix, ParamKind::router,
                          ParamKind::bias, ParamKind::scale})
    CHECK(parse_param_kind(to_string(kind)) == kind);
  CHECK(!parse_param_kind("Matrix"));
  ParamRole role;
  CHECK(role_error(role).empty());
  role.norm_class = NormClass::input;
  CHECK(!role_error(role).empty());
  role.kind = ParamKind::scale;
  CHECK(role_error(role).empty());
  CHECK(trace_group(role) == "scale.input");
  role.site = "attn";
  role.layer = 3;
  CHECK(describe(role) == "scale input attn layer 3");
  ParamRole stacked;
  stacked.row_blocks = 3;
  CHECK(describe(stacked) == "matrix of 3 row blocks");
  CHECK(role_error(stacked).empty());
  stacked.row_blocks = 0;
  CHECK(role_error(stacked) == "row_blocks: got 0; allowed: at least 1");
}
