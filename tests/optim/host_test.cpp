#include <torch/types.h>

#include "optim/optim.hpp"
#include "optim/testing/testing.hpp"
#include "tests/support/catch.hpp"

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

TEST_CASE("host programs: every method with its default options", "[host]") {
  for (const std::string& method : method_names()) {
    INFO(method);
    check(testing::check_host_with([method] {
      auto options = make_method_options(method);
      options->set_lr(1e-2);
      // One that finds its own lr is to find it within a few steps.
      for (const auto& field : options->fields())
        if (field.key == "d0") *std::get<double*>(field.value) = 0.1;
      return options;
    }));
  }
}
TEST_CASE("host programs: SGD with momentum", "[host]") {
  check(testing::check_host(SGDOptions(1e-2).momentum(0.9).dampening(0.25)));
}
TEST_CASE("host programs: AdEMAMix with warm-ups", "[host]") {
  check(testing::check_host(AdEMAMixOptions(1e-2).alpha_warmup(5).beta3_warmup(5)));
}
TEST_CASE("host programs: SOAP with new bases every other step", "[host]") {
  check(testing::check_host(SOAPOptions(1e-2).precondition_frequency(2)));
}
