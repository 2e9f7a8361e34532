#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "optim/core/random.hpp"
#include "optim/methods/matrix/kron.hpp"
#include "optim/optim.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/reference_matrix_methods.hpp"

// Adafactor, Adam-mini, Scion, Dion and Kron against plain double loops, over random options, shapes and gradients, of
// which some are zero, of rank one, tiny, or zero in most rows.
namespace {

using namespace scalevec;
using torch::Tensor;
using Shape = std::vector<std::int64_t>;

constexpr double kQuintic[] = {3.4445, -4.7750, 2.0315};

double uniform(double low, double high) {
  return low + (high - low) * torch::rand({1}, torch::kFloat64).item<double>();
}

reference::Matrix matrix_of(const Tensor& t) {
  const std::int64_t rows = t.dim() < 2 ? 1 : t.size(0);
  reference::Matrix out(static_cast<size_t>(rows), static_cast<size_t>(t.numel() / rows));
  const Tensor flat = t.detach().to(torch::kFloat64).contiguous();
  std::copy_n(flat.data_ptr<double>(), out.x.size(), out.x.begin());
  return out;
}

Tensor gradient(const Shape& shape, int kind) {
  const Tensor plain = torch::randn(shape, torch::kFloat64);
  if (kind == 1 && shape.size() == 2)
    return torch::outer(torch::randn({shape[0]}, torch::kFloat64), torch::randn({shape[1]}, torch::kFloat64));
  if (kind == 2) return torch::zeros(shape, torch::kFloat64);
  if (kind == 3) return 1e-3 * plain;
  if (kind == 4 && !shape.empty()) {
    Tensor rows = torch::zeros(shape, torch::kFloat64);
    rows.narrow(0, 0, 1).copy_(plain.narrow(0, 0, 1));
    return rows;
  }
  return plain;
}

struct Setting {
  Shape shape;
  torch::Dtype dtype = torch::kFloat64;
  int seed = 0;
  ParamRole role;
  bool plain = false;  // gradients are normal at every step
};

// ‖ours − reference‖/‖the reference's whole change‖ at the worst of 40 steps with a falling lr, under a decay by
// chance. What storing p in float32 rounds, 6e-8 of p at a step, does not count.
template <class Options, class Reference>
double worst_difference(const Setting& setting, Options options, Reference reference) {
  torch::manual_seed(static_cast<std::uint64_t>(setting.seed));
  Tensor param = torch::randn(setting.shape, torch::kFloat64).to(setting.dtype);
  const reference::Matrix start = matrix_of(param);
  reference::Matrix p = start;
  param.requires_grad_(true);
  constexpr DecayCoupling kCouplings[] = {DecayCoupling::l2, DecayCoupling::lr, DecayCoupling::independent,
                                          DecayCoupling::lr2};
  const auto coupling = kCouplings[setting.seed % 4];
  const double target = setting.seed % 3 == 0, decay = setting.seed % 5 == 0 ? 0.0 : uniform(0.0, 0.2);
  const double lr = uniform(1e-3, 3e-2);
  options.lr(lr).weight_decay(decay).decay_coupling(coupling).decay_target(target);
  Optimizer optimizer({{std::vector<Tensor>{param}}}, std::make_unique<Options>(options), {{"w", param, setting.role}});
  double worst = 0;
  for (int step = 0; step < 40; ++step) {
    const Tensor grad = gradient(setting.shape, setting.plain ? 0 : (step + setting.seed) % 7).to(setting.dtype);
    param.mutable_grad() = grad;
    const double factor = 1.0 - step / 64.0;
    optimizer.set_lr_factor(factor);
    optimizer.step();
    reference.step(p, matrix_of(grad), {std::string(to_string(coupling)), decay, target, lr * factor, lr});
    const reference::Matrix got = matrix_of(param);
    double off = 0, moved = 0, size = 0;
    for (size_t i = 0; i < p.x.size(); ++i) {
      off += std::pow(got.x[i] - p.x[i], 2);
      moved += std::pow(p.x[i] - start.x[i], 2);
      size += std::pow(p.x[i], 2);
    }
    off = std::sqrt(off);
    if (setting.dtype == torch::kFloat32) off -= 6e-8 * std::sqrt(size) * (step + 1);
    if (off > 0.0 || std::isnan(off)) worst = std::max(off / std::sqrt(moved), worst);
  }
  return std::isfinite(worst) ? worst : std::numeric_limits<double>::infinity();
}

const std::vector<Shape> kMatrices{{9, 7}, {7, 9}, {1, 8}, {8, 1}, {1, 1}, {12, 12}, {300, 5}, {5, 300}};
const std::vector<Shape> kSmallMatrices{{9, 7}, {7, 9}, {1, 8}, {8, 1}, {1, 1}, {12, 12}, {40, 5}, {5, 40}};
const std::vector<Shape> kVectors{{6}, {1}, {}};

// Calls body(setting, largest difference allowed) for every shape in float64 and float32, `repeats` times.
template <class F>
void for_settings(const std::vector<Shape>& shapes, int repeats, double of_float, const F& body) {
  int seed = 0;
  for (int repeat = 0; repeat < repeats; ++repeat)
    for (const Shape& shape : shapes) {
      ++seed;
      for (const auto dtype : {torch::kFloat64, torch::kFloat32}) {
        INFO("shape " << shape << " " << c10::toString(dtype) << " seed " << seed);
        torch::manual_seed(1000 + static_cast<std::uint64_t>(seed));
        body(Setting{shape, dtype, seed, {}, false}, dtype == torch::kFloat64 ? 1e-9 : of_float);
      }
    }
}

std::vector<Shape> both(std::vector<Shape> shapes, const std::vector<Shape>& more) {
  shapes.insert(shapes.end(), more.begin(), more.end());
  return shapes;
}

}  // namespace

TEST_CASE("Adafactor follows a double reference") {
  auto shapes = both(kMatrices, kVectors);
  for_settings(shapes, 2, 2e-5, [](const Setting& s, double allowed) {
    reference::Adafactor other;
    other.vector = s.shape.size() < 2;
    AdafactorOptions options;
    other.eps1 = s.dtype == torch::kFloat64 ? 0x1p-52 : 0x1p-23;
    if (s.seed % 2) {
      options.beta2_decay(other.beta2_decay = uniform(-1.0, 0.0)).d(other.d = uniform(1.0, 3.0));
      options.eps1(other.eps1 = uniform(1e-6, 1e-2)).eps2(other.eps2 = uniform(0.0, 2.0));
    }
    CHECK(worst_difference(s, options, other) <= allowed);
  });
}

TEST_CASE("Adafactor takes the last two dimensions as matrices and clips the tensor as a whole") {
  torch::manual_seed(3);
  const Tensor p = torch::randn({3, 4, 5}, torch::kFloat64).requires_grad_(true), before = p.detach().clone();
  Adafactor optimizer({p}, AdafactorOptions(1e-2));
  const Tensor g = torch::randn({3, 4, 5}, torch::kFloat64);
  p.mutable_grad() = g;
  optimizer.step();
  // At the first step β₂ is 0.
  const Tensor square = g * g, row = square.mean(-1, true), col = square.mean(-2, true);
  Tensor u = g / (row.matmul(col) / row.mean(-2, true)).sqrt();
  u = u / std::max(1.0, u.pow(2).mean().sqrt().item<double>());
  CHECK(torch::allclose(p.detach(), before - 1e-2 * before.pow(2).mean().sqrt() * u, 1e-12, 1e-14));
}

TEST_CASE("Adam-mini follows a double reference in rows, heads, stacked heads and whole vectors") {
  const auto element_blocks = [](std::int64_t rows, std::int64_t cols, const std::vector<std::int64_t>& heights) {
    std::vector<std::pair<size_t, size_t>> blocks;
    std::int64_t row = 0;
    for (const std::int64_t height : heights) {
      blocks.emplace_back(row * cols, (row + height) * cols);
      row += height;
    }
    REQUIRE(row == rows);
    return blocks;
  };
  const auto random = [](AdamMiniOptions& options, reference::AdamMini& other) {
    options.beta1(other.beta1 = uniform(0.0, 0.99)).beta2(other.beta2 = uniform(0.5, 0.999));
    options.eps(other.eps = uniform(1e-8, 1e-4));
  };
  for_settings(both(both(kMatrices, kVectors), {{4, 3, 2}}), 2, 2e-5, [&](const Setting& s, double allowed) {
    reference::AdamMini other;
    AdamMiniOptions options;
    if (s.seed % 2) random(options, other);
    const std::int64_t rows = s.shape.size() < 2 ? 1 : s.shape[0], count = c10::multiply_integers(s.shape);
    other.blocks = element_blocks(rows, count / rows, std::vector<std::int64_t>(static_cast<size_t>(rows), 1));
    CHECK(worst_difference(s, options, other) <= allowed);
  });
  struct Heads {
    std::int64_t head_dim, row_blocks;
    std::vector<std::int64_t> heights;
  };
  for (const Heads& heads : {Heads{4, 1, {4, 4, 4}}, Heads{2, 3, {2, 2, 2, 2, 1, 1, 1, 1}},  // of stacked Q, K, V not V
                             Heads{5, 1, std::vector<std::int64_t>(12, 1)}})                 // not whole heads
    for_settings({{12, 7}}, 2, 2e-5, [&](Setting s, double allowed) {
      s.role.head_dim = heads.head_dim;
      s.role.row_blocks = heads.row_blocks;
      reference::AdamMini other;
      AdamMiniOptions options;
      random(options, other);
      other.blocks = element_blocks(12, 7, heads.heights);
      CHECK(worst_difference(s, options, other) <= allowed);
    });
}

TEST_CASE("Scion follows a double reference under every norm") {
  for (const std::string norm : {"spectral", "sign", "col", "row", "bias"})
    // The steps multiply what rounding leaves in directions that a gradient of low rank has not, by up to 485.
    for_settings(both(norm == "spectral" ? kSmallMatrices : kMatrices, {{4, 3, 2}}), 1,
                 norm == "spectral" ? 1e-3 : 5e-5, [&](const Setting& s, double allowed) {
                   INFO(norm);
                   reference::Scion other;
                   other.norm = norm;
                   other.steps.assign(5, {kQuintic[0], kQuintic[1], kQuintic[2]});
                   other.momentum = uniform(0.0, 0.95);
                   other.scale = uniform(0.5, 50.0);
                   CHECK(worst_difference(
                             s, ScionOptions().norm(norm).momentum(other.momentum).scale(other.scale).precision("auto"),
                             other) <= allowed);
                 });
  // Which norm the role means, and vectors.
  for_settings(both(kSmallMatrices, kVectors), 1, 1e-3, [&](Setting s, double allowed) {
    constexpr ParamKind kKinds[] = {ParamKind::matrix, ParamKind::embedding, ParamKind::unembedding, ParamKind::router};
    s.role.kind = kKinds[s.seed % 4];
    const bool head = s.role.kind == ParamKind::embedding || s.role.kind == ParamKind::unembedding;
    reference::Scion other;
    other.norm = s.shape.size() < 2 ? "bias" : head ? "sign" : "spectral";
    other.steps.assign(5, {kQuintic[0], kQuintic[1], kQuintic[2]});
    CHECK(worst_difference(s, ScionOptions().precision("auto"), other) <= allowed);
  });
}

TEST_CASE("Dion follows a double reference at full and low rank") {
  for_settings(kMatrices, 2, 1e-3, [](Setting s, double allowed) {
    // In float32 directions of small singular values are rounding.
    s.plain = s.dtype == torch::kFloat32;
    reference::Dion other;
    other.mu = uniform(0.5, 0.99);
    const double share = s.seed % 2 ? 1.0 : uniform(0.1, 0.9);
    const auto rank =
        static_cast<std::int64_t>(std::ceil(share * static_cast<double>(std::min(s.shape[0], s.shape[1]))));
    other.q = reference::Matrix(static_cast<size_t>(s.shape[1]), static_cast<size_t>(rank));
    for (size_t i = 0; i < other.q.x.size(); ++i) other.q.x[i] = random_normal(0, stream_of("dion"), i);
    CHECK(worst_difference(s, DionOptions().mu(other.mu).rank_fraction(share), other) <= allowed);
  });
}

TEST_CASE("Dion at full rank without feedback takes the momentum's polar factor in time") {
  // Of a constant gradient the power iteration converges to its singular vectors.
  torch::manual_seed(4);
  const Tensor p = torch::zeros({6, 9}, torch::kFloat64).requires_grad_(true),
               g = torch::randn({6, 9}, torch::kFloat64);
  Dion optimizer({p}, DionOptions(1.0).mu(0.0).weight_decay(0.0));
  Tensor before;
  for (int step = 0; step < 400; ++step) {
    before = p.detach().clone();
    p.mutable_grad() = g;
    optimizer.step();
  }
  const auto [u, s, vh] = torch::linalg_svd(g, false);
  CHECK((before - p.detach() - std::sqrt(6.0 / 9) * u.matmul(vh)).abs().max().item<double>() <= 1e-6);
}

TEST_CASE("Kron follows a double reference, triangular and diagonal") {
  for_settings(both(both(kSmallMatrices, kVectors), {{4, 3, 2}}), 1, 2e-3, [](const Setting& s, double allowed) {
    reference::Kron other;
    other.vector = s.shape.size() < 2;
    KronOptions options;
    if (s.seed % 2) {
      options.momentum(other.momentum = uniform(0.0, 0.95)).precond_lr(other.precond_lr = uniform(0.05, 0.3));
      options.precond_init_scale(other.init_scale = uniform(0.5, 2.0)).max_rms(other.max_rms = uniform(0.1, 1.0));
      options.flat_start(5).prob_decay(other.prob_decay = 0.1).min_prob(other.min_prob = 0.2);
      other.flat_start = 5;
    }
    other.max_size = s.seed % 3 ? 100 : 8;
    options.max_size_triangular(static_cast<std::int64_t>(other.max_size));
    other.noise = [](int t, size_t i) { return random_normal(static_cast<std::uint64_t>(t), stream_of("kron"), i); };
    CHECK(worst_difference(s, options, other) <= allowed);
  });
}

TEST_CASE("Kron fits at the steps that counting from one to the next gives") {
  torch::manual_seed(3);
  for (int chance = 0; chance < 300; ++chance) {
    methods::Kron::Values o;
    const auto sometimes = [&](double value, double other) { return uniform(0, 1) < 0.2 ? other : value; };
    o.flat_start = static_cast<std::int64_t>(sometimes(uniform(0, 300), 0));
    o.prob_decay = sometimes(std::pow(10, uniform(-5, 1)), 0);
    o.min_prob = sometimes(std::pow(10, uniform(-3, 0)), uniform(0, 1) < 0.5 ? 0 : 1);
    INFO(o.flat_start << " " << o.prob_decay << " " << o.min_prob);
    std::int64_t since = 0, count = 0, wrong = 0;
    for (std::int64_t t = 1; t <= 3000; ++t) {
      const double p = std::clamp(std::exp(-o.prob_decay * static_cast<double>(t - 1 - o.flat_start)), o.min_prob, 1.0);
      const bool now = p > 0 && static_cast<double>(++since) >= 1 / p;
      if (now) since = 0, ++count;
      const auto got = methods::Kron::fitting(o, t);
      if (got.now != now || got.count != count) ++wrong;
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("Kron balances its factors at the hundredth fitting") {
  torch::manual_seed(8);
  const Tensor p = torch::randn({5, 4}, torch::kFloat64).requires_grad_(true);
  Kron optimizer({p}, KronOptions(1e-3));
  const auto sizes = [&] {
    std::vector<double> out;
    for (const auto& [name, tensor] : optimizer.named_state())
      if (name.find("/q_") != std::string::npos) out.push_back(tensor.abs().max().item<double>());
    return out;
  };
  double apart = 0;
  for (int step = 1; step <= 100; ++step) {
    p.mutable_grad() = 1e-3 * torch::randn({5, 4}, torch::kFloat64);
    if (step == 100) {
      // Unbalanced from without, by what leaves the preconditioner as it is.
      for (auto& [name, tensor] : optimizer.named_state()) {
        if (name.find("/q_left") != std::string::npos) tensor.mul_(1e3);
        if (name.find("/q_right") != std::string::npos) tensor.mul_(1e-3);
      }
      apart = std::log(sizes()[0] / sizes()[1]);
    }
    optimizer.step();
  }
  CHECK(std::abs(apart) > 10.0);
  CHECK(std::abs(std::log(sizes()[0] / sizes()[1])) < 1.0);  // one fitting moves a factor by a tenth
}

TEST_CASE("Muon on the Gram matrix gives what it gives on the matrix") {
  for (const auto& [shape, steps] :
       {std::pair(Shape{40, 90}, 5), {{90, 40}, 5}, {{30, 30}, 3}, {{1, 7}, 5}, {{270, 600}, 5}, {{40, 90}, 12}})
    for (const auto dtype : {torch::kFloat64, torch::kFloat32})
      for (const bool low_rank : {false, true})
        for (const char* coefficients : {"quintic", "polar_express"}) {
          INFO(shape << " " << c10::toString(dtype) << " " << low_rank << " " << coefficients);
          torch::manual_seed(6);
          Tensor g = torch::randn(shape, torch::kFloat64);
          if (low_rank)
            g = torch::randn({shape[0], 1}, torch::kFloat64).matmul(torch::randn({1, shape[1]}, torch::kFloat64));
          const auto moved = [&](bool gram, torch::Dtype type) {
            Tensor p = torch::zeros(shape, type).requires_grad_(true);
            p.mutable_grad() = g.to(type);
            Muon optimizer({p}, MuonOptions(1.0)
                                    .weight_decay(0.0)
                                    .ns_steps(steps)
                                    .coefficients(coefficients)
                                    .precision("auto")
                                    .gram(gram));
            optimizer.step();
            return p.detach().to(torch::kFloat64);
          };
          const Tensor exact = moved(false, torch::kFloat64), got = moved(true, dtype);
          // A step multiplies what rounding leaves in directions that g has not by up to 8, with either way.
          const double lr_scale =
              std::sqrt(std::max(1.0, static_cast<double>(shape[0]) / static_cast<double>(shape[1])));
          if (low_rank && dtype == torch::kFloat32)
            CHECK(torch::linalg_matrix_norm(got, 2).item<double>() <= 1.3 * lr_scale);
          else
            CHECK(((got - exact).norm() / exact.norm()).item<double>() <= (dtype == torch::kFloat32 ? 1e-3
                                                                           : low_rank               ? 1e-8
                                                                                                    : 1e-10));
        }
}
