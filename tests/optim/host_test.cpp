#include <torch/types.h>

#include "scalevec/optim/optim.hpp"
#include "scalevec/optim/testing/testing.hpp"
#include "scalevec/tests/support/catch.hpp"

// Every method inside programs that do what they like between two steps.
namespace {

using namespace scalevec;

void check(const std::vector<std::string>& failures) {
  for (const std::string& failure : failures) {
    INFO(failure);
    CHECK(false);
  }
  CHECK(failures.empty());
}

}  // namespace

TEST_CASE("host programs: AdamW", "[host]") { check(testing::check_host<AdamWOptions>()); }
TEST_CASE("host programs: Adam", "[host]") { check(testing::check_host<AdamOptions>()); }
TEST_CASE("host programs: SGD", "[host]") { check(testing::check_host<SGDOptions>()); }
TEST_CASE("host programs: SGD with momentum", "[host]") {
  check(testing::check_host(SGDOptions(1e-2).momentum(0.9).dampening(0.25)));
}
TEST_CASE("host programs: Lion", "[host]") { check(testing::check_host<LionOptions>()); }
TEST_CASE("host programs: Signum", "[host]") { check(testing::check_host<SignumOptions>()); }
TEST_CASE("host programs: AdEMAMix", "[host]") {
  check(testing::check_host(AdEMAMixOptions(1e-2).alpha_warmup(5).beta3_warmup(5)));
}
TEST_CASE("host programs: Muon", "[host]") { check(testing::check_host<MuonOptions>()); }
TEST_CASE("host programs: NorMuon", "[host]") { check(testing::check_host<NorMuonOptions>()); }
TEST_CASE("host programs: SOAP", "[host]") { check(testing::check_host(SOAPOptions(1e-2).precondition_frequency(2))); }
