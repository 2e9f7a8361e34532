#include "experiments/train/trace_line.hpp"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "tests/support/catch.hpp"

using namespace scalevec;
using namespace scalevec::experiments;
using nlohmann::json;

TEST_CASE("a line of traces parses to the same numbers, bit for bit, without those that are NaN") {
  RunTraceRow odd;
  odd.name = "a \"quoted\" näme\n\\";
  odd.group = "matrix";
  odd.method = "muon";
  odd.count = 1'000'000'000'000;
  odd.grad_norm = 0.1;
  odd.param_norm = 4.9406564584124654e-324;
  odd.update_norm = std::numeric_limits<double>::max();
  odd.update_ratio = -0.0;
  odd.effective_lr = 1.0 / 3.0;
  odd.rotation = std::numeric_limits<double>::infinity();
  odd.gamma_quantiles = {-1.5, 0.1 + 0.2, 1e22, 3};
  RunTraceRow plain;
  plain.name = "b";
  const json line = json::parse(trace_line(42, {odd, plain}, {plain}));
  CHECK(line.size() == 3);
  CHECK(line.at("step") == 42);
  CHECK(line.at("groups") == json::parse(R"([{"name": "b", "group": "", "method": "", "count": 0}])"));
  REQUIRE(line.at("params").size() == 2);
  const json& row = line.at("params")[0];
  CHECK(row.size() == 11);
  CHECK(row.at("name") == odd.name);
  CHECK(row.at("count") == odd.count);
  CHECK(row.at("grad_norm").get<double>() == 0.1);
  CHECK(row.at("param_norm").get<double>() == odd.param_norm);
  CHECK(row.at("update_norm").get<double>() == odd.update_norm);
  CHECK(std::signbit(row.at("update_ratio").get<double>()));
  CHECK(row.at("effective_lr").get<double>() == 1.0 / 3.0);
  CHECK(row.at("rotation").is_null());
  CHECK(row.at("gamma_quantiles").get<std::vector<double>>() == odd.gamma_quantiles);
  CHECK(!row.contains("precond_min"));
}
