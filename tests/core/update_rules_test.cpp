#include <cmath>

#include "optim/core/param_role.hpp"
#include "optim/kernels/passes.hpp"
#include "optim/methods/elementwise.hpp"
#include "tests/support/catch.hpp"

using namespace scalevec;

// The rules' long runs are held against PyTorch and against double references where they are used (tests/optim,
// tests/theory); here are cases whose answer is a closed form.
namespace {

// A rule at work on one element.
template <class M>
struct Element {
  typename M::template Constants<double> constants;
  rules::Decay<double> decay{};
  double a = 0, b = 0, c = 0, d = 0, inv_denom = 0;

  double operator()(double p, double g) {
    return step_element<M, (1u << kBuffers<M>)-1>(constants, decay, p, g, a, b, c, d, inv_denom);
  }
};

methods::AdamW::Constants<double> first_step(double lr, double eps) {
  const methods::AdamW::Values values{0.9, 0.999, eps};
  return methods::AdamW::constants(values, step_at<methods::AdamW>(values, lr, 1.0, true));
}

}  // namespace

TEST_CASE("AdamW's first step has length lr whatever the gradient's scale") {
  for (const double scale : {1e-3, 1.0, 1e3}) {
    Element<methods::AdamW> rule{first_step(0.01, 0.0)};
    CHECK(std::abs(rule(2.0, scale) - 1.99) < 1e-15);
    CHECK(std::abs(rule.inv_denom * scale - 1.0) < 1e-12);
  }
}

TEST_CASE("decay pulls toward its target and l2 enters after the clip factor") {
  rules::Decay<double> d{0.5, 0.1, 0.2, 1.0};
  CHECK(std::abs(rules::effective_grad(d, 3.0, 4.0) - (0.5 * 4.0 + 0.1 * 2.0)) < 1e-15);
  CHECK(std::abs(rules::apply_step(d, 3.0, 0.5) - (3.0 - 0.2 * 2.0 - 0.5)) < 1e-15);
}

TEST_CASE("sign methods move by lr, and not at all on a zero gradient") {
  Element<methods::Signum> signum{{0.1, 1.0}};
  CHECK(std::abs(signum(1.0, -3.0) - 1.1) < 1e-15);
  CHECK(std::abs(signum(1.0, 0.0) - 1.0) < 1e-15);
  Element<methods::Lion> lion{{0.1, 0.1, 0.01}};
  lion.a = 1.0;
  CHECK(std::abs(lion(1.0, -8.9) - 0.9) < 1e-15);  // 0.9·1 − 0.1·8.9 > 0
  CHECK(std::abs(lion.a - (0.99 - 0.089)) < 1e-15);
}

TEST_CASE("momentum of a constant gradient sums a geometric series") {
  Element<methods::SGD> sgd{{1.0, 0.5, 1.0, 0.0}};
  double p = 0;
  for (int i = 0; i < 40; ++i) p = sgd(p, 1.0);
  CHECK(std::abs(sgd.a - 2.0) < 1e-11);
  CHECK(std::abs(p + (2.0 * 40 - 2.0)) < 1e-9);
}

TEST_CASE("AdEMAMix is AdamW when the slow mean has no weight, and adds lr times it under a constant gradient") {
  Element<methods::AdamW> adamw{first_step(0.01, 1e-8)};
  const methods::AdEMAMix::Constants<double> constants{
      0.1, 0.999, 0.001, 0.25, adamw.constants.step_size, 0.0, adamw.constants.inv_sqrt_bias2, 1e-8};
  Element<methods::AdEMAMix> rule{constants};
  CHECK(std::abs(rule(2.0, 3.0) - adamw(2.0, 3.0)) < 1e-15);
  CHECK(std::abs(rule.b - 0.75) < 1e-15);  // a quarter of the gradient
  rule = {constants};
  rule.constants.slow_size = 0.02;
  // |g|/√v̂ = 1: the step is lr·(1 + α/4) with lr = 0.01 and lr·α = 0.02.
  CHECK(std::abs(rule(2.0, 3.0) - (2.0 - 0.01 - 0.02 / 4)) < 1e-9);
}

TEST_CASE("a matrix method's first pass leaves p, and its last one subtracts the update and the decay") {
  Element<kernels::MomentumPass> momentum{{0.25, 0.75}, {0.5, 0.0, 0.0, 0.0}};
  momentum.a = 4.0;
  CHECK(momentum(7.0, 16.0) == 7.0);
  CHECK(momentum.a == 5.0);  // 0.75·4 + 0.25·8
  CHECK(std::abs(momentum.b - (0.25 * 8 + 0.75 * 5)) < 1e-15);
  momentum.constants.mix = 0.0;
  momentum(7.0, 16.0);
  CHECK(momentum.b == 8.0);
  momentum.constants.mix = 1.0;
  momentum(7.0, 16.0);
  CHECK(momentum.b == momentum.a);
  Element<kernels::ApplyPass> last{{2.0}, {0.5, 0.0, 0.25, 1.0}};
  last.a = 0.5;
  CHECK(last(5.0, 100.0) == 3.0);  // 5 − 0.25·(5 − 1) − 2·0.5; the gradient entered before
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
