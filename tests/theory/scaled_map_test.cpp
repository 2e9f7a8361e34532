#include "theory/simulate/scaled_map.hpp"

#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "optim/core/random.hpp"
#include "tests/support/catch.hpp"

using namespace scalevec;
using namespace scalevec::theory;

namespace {

using MapForm = ScaleForm;
using Input = SimulatedMap::Input;

// Parameters in one vector: W, then γ or α by branch, then magnitudes, then u.
struct MapReference {
  SimulatedMap map;
  MapReplica replica;

  std::size_t branches() const { return map.input == Input::none ? 0 : map.input == Input::own ? map.branches : 1; }
  bool formed() const { return map.form != MapForm::plain; }

  std::vector<double> start() const {
    std::vector<double> p = replica.initial_w;
    p.insert(p.end(), branches() * map.columns, replica.initial_input);
    if (formed()) p.insert(p.end(), branches(), map.form == MapForm::exponential_radial ? 0.0 : 1.0);
    if (map.output) p.insert(p.end(), map.rows, 1.0);
    return p;
  }

  double scale(const std::vector<double>& p, std::size_t branch, std::size_t j) const {
    const std::size_t d = map.columns, vectors = map.rows * d, magnitudes = vectors + branches() * d;
    const double raw = p[vectors + branch * d + j];
    if (!formed()) return raw;
    double sq = 0.0;
    for (std::size_t x = 0; x < d; ++x) sq += std::pow(p[vectors + branch * d + x], 2);
    const double m = p[magnitudes + branch], unit = std::sqrt(static_cast<double>(d) / sq);
    if (map.form == MapForm::product) return m * raw;
    return (map.form == MapForm::original ? m : std::exp(m)) * unit * raw;
  }

  // The loss, and with `noise` the linear form whose gradient is σ times it.
  double loss(const std::vector<double>& p, const double* noise) const {
    double sum = 0.0;
    for (std::size_t i = 0; i < map.rows; ++i)
      for (std::size_t j = 0; j < map.columns; ++j) {
        const std::size_t e = i * map.columns + j;
        double theta = p[e];
        if (branches() > 0) theta *= scale(p, branches() == 1 ? 0 : i / (map.rows / map.branches), j);
        if (map.output) theta *= p[p.size() - map.rows + i];
        sum += 0.5 * replica.h[e] * std::pow(theta - replica.target[e], 2);
        if (noise) sum += replica.sigma * replica.noise_factor[e] * noise[e] * theta;
      }
    return sum;
  }
};

}  // namespace

TEST_CASE("a scaled map's simulation follows its loss's gradient, for every design", "[scaled_map]") {
  std::vector<SimulatedMap> maps;
  for (const Input input : {Input::none, Input::shared, Input::own})
    for (const bool output : {false, true})
      for (const MapForm form : {MapForm::plain, MapForm::original, MapForm::product, MapForm::exponential_radial})
        if (input != Input::none || form == MapForm::plain) maps.push_back({4, 3, 2, input, form, output});
  for (std::size_t n = 0; n < maps.size(); ++n) {
    MapReference r{maps[n], {}};
    for (std::size_t e = 0; e < 12; ++e) {
      r.replica.h.push_back(0.5 + 0.1 * static_cast<double>(e));
      r.replica.target.push_back(std::sin(1.0 + static_cast<double>(e)));
      r.replica.initial_w.push_back(0.3 * std::cos(2.0 * static_cast<double>(e)));
      r.replica.noise_factor.push_back(e % 5 == 0 ? 2.0 : 1.0);
    }
    r.replica.sigma = 0.2;
    r.replica.growth = 0.01;
    if (!r.formed()) r.replica.initial_input = 0.8;
    r.replica.noise = 17;
    r.replica.weights.method = SimulatedMethod::sgd;
    r.replica.weights.lr = 0.05;
    r.replica.weights.momentum = 0.5;
    r.replica.scales = r.replica.weights;
    r.replica.scales.lr = 0.02;
    r.replica.scales.weight_decay = 0.1;
    MapOptions options;
    options.steps = 25;
    options.seed = 9;
    const MapResult got = simulate_scaled_map(r.map, std::vector<MapReplica>{r.replica}, options).front();

    std::vector<double> p = r.start(), b(p.size(), 0.0), g(p.size()), noise(12);
    for (int t = 0; t < 25; ++t) {
      for (std::size_t e = 0; e < 12; ++e)
        noise[e] = random_normal_of_pair(9, stream_of("map.noise") + 17, static_cast<std::uint64_t>(t) * 12 + e);
      for (std::size_t k = 0; k < p.size(); ++k) {
        std::vector<double> q = p;
        q[k] = p[k] + 1e-5;
        const double up = r.loss(q, noise.data());
        q[k] = p[k] - 1e-5;
        g[k] = (up - r.loss(q, noise.data())) / 2e-5;
      }
      for (std::size_t k = 0; k < p.size(); ++k) {
        b[k] = 0.5 * b[k] + g[k];
        p[k] = k < 12 ? p[k] - 0.05 * b[k] : p[k] - 0.02 * 0.1 * p[k] - 0.02 * b[k];
      }
      for (double& target : r.replica.target) target *= 1.01;
    }
    double weight_sq = 0.0, input_sq = 0.0, input_sum = 0.0;
    for (std::size_t e = 0; e < 12; ++e) weight_sq += p[e] * p[e];
    for (std::size_t c = 0; c < r.branches(); ++c)
      for (std::size_t j = 0; j < 3; ++j) {
        input_sum += r.scale(p, c, j);
        input_sq += std::pow(r.scale(p, c, j), 2);
      }
    INFO("design " << n);
    CHECK(std::abs(got.loss - r.loss(p, nullptr)) <= 1e-8);
    CHECK(std::abs(got.weight_sq - weight_sq) <= 1e-8);
    CHECK(std::abs(got.input_sq - input_sq) <= 1e-8);
    CHECK(std::abs(got.input_sum - input_sum) <= 1e-8);
  }
}

TEST_CASE("a replica of a scaled map does not depend on the batch, bit for bit", "[scaled_map]") {
  const SimulatedMap map{4, 2, 2, Input::own, MapForm::original, true};
  MapOptions options;
  options.steps = 60;
  options.average_steps = 10;
  std::vector<MapReplica> replicas;
  for (int i = 0; i < 100; ++i) {
    MapReplica r;
    r.h = {1.0 + 0.01 * i};
    r.target = {0.5 + 0.01 * i};
    r.sigma = i % 3 == 0 ? 0.0 : 0.3;
    r.weights.lr = 0.01 * (1.0 + i % 4);
    r.weights.weight_decay = 0.1;
    r.scales.lr = 0.01;
    r.noise = static_cast<std::uint64_t>(i);
    replicas.push_back(r);
  }
  const auto all = simulate_scaled_map(map, replicas, options);
  for (const std::size_t i : {std::size_t{0}, std::size_t{1}, std::size_t{63}, std::size_t{64}, std::size_t{99}}) {
    const MapResult alone = simulate_scaled_map(map, std::span(&replicas[i], 1), options).front();
    CHECK(alone.loss == all[i].loss);
    CHECK(alone.weight_sq == all[i].weight_sq);
    CHECK(alone.input_sq == all[i].input_sq);
  }
  // Common random numbers: the noise is the number's, not the replica's.
  std::vector<MapReplica> twins{replicas[1], replicas[2], replicas[1]};
  const auto same = simulate_scaled_map(map, twins, options);
  CHECK(same[0].loss == same[2].loss);
  twins[2].noise = 5;
  CHECK(simulate_scaled_map(map, twins, options)[2].loss != same[0].loss);
}

TEST_CASE("an arrival does not depend on what its neighbours still do", "[scaled_map]") {
  // At this lr it passes the goal at once and later diverges; a slow neighbour keeps its block running.
  SimulatedMap map;
  MapReplica fast;
  fast.h = fast.target = {1.0};
  fast.initial_w = {1e-3};
  fast.weights.method = fast.scales.method = SimulatedMethod::sgd;
  fast.weights.lr = fast.scales.lr = 1.6146073009825352;
  fast.goal = 0.25;
  MapReplica slow = fast;
  slow.weights.lr = slow.scales.lr = 1e-7;
  MapOptions options;
  options.steps = 1000;
  options.until_arrival = true;
  const double alone = simulate_scaled_map(map, std::span(&fast, 1), options).front().arrival;
  const auto both = simulate_scaled_map(map, std::vector<MapReplica>{fast, slow}, options);
  CHECK(alone == 1.0);
  CHECK(both[0].arrival == alone);
  CHECK(std::isnan(both[0].loss));
  options.until_arrival = false;
  CHECK(simulate_scaled_map(map, std::span(&fast, 1), options).front().arrival == alone);
}

TEST_CASE("arrivals are counted in steps, and divergence is infinite", "[scaled_map]") {
  const SimulatedMap none{1, 1, 1, Input::none, MapForm::plain, false};
  std::vector<MapReplica> replicas(3);
  for (MapReplica& r : replicas) {
    r.h = {2.0};
    r.target = {1.0};
    r.weights.method = r.scales.method = SimulatedMethod::sgd;
    r.weights.lr = 0.1;
    r.scales.lr = 0.1;
    r.goal = 1e-6;  // loss (1 − ηh)^{2t}, from 1
  }
  replicas[1].weights.lr = 1.1;
  replicas[2].weights.lr = 1e-6;
  MapOptions options;
  options.steps = 1000;
  options.until_arrival = true;
  options.hold = 3;
  const auto got = simulate_scaled_map(none, replicas, options);
  CHECK(got[0].arrival == std::ceil(std::log(1e-6) / (2.0 * std::log(0.8))));
  CHECK(std::isinf(got[1].arrival));
  options.until_arrival = false;
  CHECK(std::isinf(simulate_scaled_map(none, replicas, options)[1].loss));
  CHECK(std::isinf(got[2].arrival));
  // From 1 the loss grows by 1.2² a step: 1.44³ is within the limit of 1.5 · (1 + 1), 1.44⁴ is not.
  replicas = std::vector<MapReplica>{replicas[1]};
  options = {.steps = 3, .limit = 1.5};
  CHECK(std::abs(simulate_scaled_map(none, replicas, options)[0].loss - std::pow(1.2, 6.0)) <= 1e-12);
  options.steps = 4;
  CHECK(std::isinf(simulate_scaled_map(none, replicas, options)[0].loss));
}

TEST_CASE("an unsound scaled map is refused by name", "[scaled_map]") {
  const auto message = [](const SimulatedMap& map, const MapReplica& replica, std::int64_t steps) -> std::string {
    MapOptions options;
    options.steps = steps;
    try {
      simulate_scaled_map(map, std::span(&replica, 1), options);
    } catch (const std::invalid_argument& e) {
      return e.what();
    }
    return "";
  };
  MapReplica good;
  good.h = good.target = {1.0};
  good.weights.lr = good.scales.lr = 0.1;
  const SimulatedMap map{4, 2, 2, Input::own, MapForm::plain, false};
  CHECK(message(map, good, 2).empty());
  MapReplica r = good;
  r.h = {1.0, 2.0};
  CHECK(message(map, r, 2) == "scaled-map simulation: replica 0: h must have 1 or rows*columns elements");
  r = good;
  r.sigma = -1.0;
  CHECK(message(map, r, 2) == "scaled-map simulation: replica 0: sigma must be finite and >= 0");
  r = good;
  r.growth = -1.0;
  CHECK(message(map, r, 2) == "scaled-map simulation: replica 0: growth must be finite and > -1");
  r = good;
  r.initial_input = 2.0;
  CHECK(message(map, r, 2).empty());
  CHECK(message({4, 2, 2, Input::own, MapForm::original, false}, r, 2) ==
        "scaled-map simulation: replica 0: initial_input must be 1 where the form is not plain");
  r = good;
  r.noise_factor = {1.0, 2.0};
  CHECK(message(map, r, 2) == "scaled-map simulation: replica 0: noise_factor must have 0, 1 or rows*columns elements");
  r = good;
  r.scales.lr = 0.0;
  CHECK(message(map, r, 2) == "scaled-map simulation: replica 0: lr must be finite and > 0");
  CHECK(message({4, 2, 3, Input::own, MapForm::plain, false}, good, 2) ==
        "scaled-map simulation: branches must divide rows");
  CHECK(message({4, 2, 1, Input::none, MapForm::original, false}, good, 2) ==
        "scaled-map simulation: form must be plain where there is no input scale");
  CHECK(message(map, good, 0) == "scaled-map simulation: steps must be >= 1");
}
