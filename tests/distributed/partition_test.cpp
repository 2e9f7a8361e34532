#include "experiments/distributed/partition.hpp"

#include <algorithm>
#include <numeric>
#include <random>

#include "tests/support/catch.hpp"

using namespace scalevec;
using namespace scalevec::experiments;

TEST_CASE("every item has one owner, and no rank is above the bound of the longest-first rule") {
  std::mt19937 random(7);
  std::exponential_distribution<double> cost(1.0);
  for (int trial = 0; trial < 200; ++trial) {
    const int ranks = 1 + static_cast<int>(random() % 16);
    std::vector<double> costs(1 + random() % 60);
    for (double& c : costs) c = cost(random);
    const std::vector<int> owner = partition_by_cost(costs, ranks);
    REQUIRE(owner.size() == costs.size());
    std::vector<double> load(static_cast<size_t>(ranks), 0.0);
    for (size_t i = 0; i < owner.size(); ++i) {
      REQUIRE((owner[i] >= 0 && owner[i] < ranks));
      load[static_cast<size_t>(owner[i])] += costs[i];
    }
    // The item that made the fullest rank so full was put where the least was: on at most the mean of the rest.
    const double total = std::accumulate(costs.begin(), costs.end(), 0.0),
                 largest = *std::max_element(costs.begin(), costs.end());
    CHECK(*std::max_element(load.begin(), load.end()) <= total / ranks + largest * (1.0 - 1.0 / ranks) + 1e-12);
    CHECK(partition_by_cost(costs, ranks) == owner);
  }
  CHECK(partition_by_cost({3, 3, 2, 2, 2}, 2) == std::vector<int>{0, 1, 0, 1, 0});
  CHECK(partition_by_cost({1.0}, 4) == std::vector<int>{0});
  CHECK(partition_by_cost({}, 4).empty());
}

TEST_CASE("what an update costs follows shape and products") {
  CHECK(update_cost({10, 20}, 0.0) == 28.0 * 200);
  CHECK(update_cost({200}, 0.0) == update_cost({10, 20}, 0.0));
  CHECK(update_cost({10, 20}, 1000.0) == 28.0 * 200 + 1000.0 / kFlopsPerByte);
  CHECK(update_cost({0, 20}, 1000.0) == 0.0);
}
