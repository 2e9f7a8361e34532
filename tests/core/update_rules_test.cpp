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
  CHECK(std::abs(rules::decayed(d, 3.0) - (3.0 - 0.2 * 2.0)) < 1e-15);
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

TEST_CASE("roles parse, print and refuse contradictions") {
  for (const auto kind : {ParamKind::embedding, ParamKind::unembedding, ParamKind::matrix, ParamKind::router, ParamKind::bias, ParamKind::scale})
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
}
