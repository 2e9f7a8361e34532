#include "optim/core/schedule.hpp"

#include <algorithm>
#include <cmath>

#include "optim/core/decay.hpp"
#include "tests/support/catch.hpp"

using namespace scalevec;

TEST_CASE("warm-up rises linearly to 1 and the shapes follow their formulas") {
  Schedule s;
  s.warmup_steps = 10;
  s.total_steps = 110;
  s.final_factor = 0.05;
  for (const auto shape : {Schedule::Shape::constant, Schedule::Shape::cosine, Schedule::Shape::linear}) {
    s.shape = shape;
    REQUIRE(s.error().empty());
    for (int t = 0; t < 10; ++t) CHECK(std::abs(s.factor(t) - (t + 1) / 10.0) < 1e-15);
    for (int t = 10; t <= 130; ++t) {
      const double x = std::min(1.0, (t - 9) / 100.0);  // step 9 has the peak, step 109 is the last
      double expected = 1.0;
      if (shape == Schedule::Shape::cosine)
        expected = 0.05 + 0.95 * std::pow(std::cos(3.14159265358979323846 * x / 2), 2);
      if (shape == Schedule::Shape::linear) expected = 1.0 - 0.95 * x;
      CHECK(std::abs(s.factor(t) - expected) < 1e-14);
    }
  }
}

TEST_CASE("wsd is flat and then decays in its shape") {
  Schedule s;
  s.shape = Schedule::Shape::wsd;
  s.warmup_steps = 5;
  s.total_steps = 100;
  s.decay_steps = 20;
  s.final_factor = 0.1;
  for (const auto shape : {Schedule::DecayShape::linear, Schedule::DecayShape::cosine, Schedule::DecayShape::sqrt}) {
    s.decay_shape = shape;
    for (int t = 5; t < 80; ++t) CHECK(s.factor(t) == 1.0);
    CHECK(s.factor(80) < 1.0);
    CHECK(std::abs(s.factor(99) - 0.1) < 1e-15);
  }
  s.decay_shape = Schedule::DecayShape::linear;
  CHECK(std::abs(s.factor(89) - 0.55) < 1e-14);
  s.decay_shape = Schedule::DecayShape::cosine;
  CHECK(std::abs(s.factor(89) - 0.55) < 1e-14);
  s.decay_shape = Schedule::DecayShape::sqrt;
  CHECK(std::abs(s.factor(84) - 0.55) < 1e-14);
}

TEST_CASE("the last step that is taken has the final factor, and the peak is reached") {
  for (const auto shape : {Schedule::Shape::cosine, Schedule::Shape::linear, Schedule::Shape::wsd})
    for (const std::int64_t warmup : {0, 1, 3})
      for (const std::int64_t total : {2, 4, 12, 1000})
        for (const std::int64_t decay : {1, 2}) {
          Schedule s;
          s.shape = shape;
          s.warmup_steps = warmup;
          s.total_steps = total;
          s.decay_steps = decay;
          s.final_factor = 0.25;
          if (!s.error().empty() || warmup == total) continue;
          CHECK(std::abs(s.factor(total - 1) - 0.25) < 1e-15);
          CHECK(std::abs(s.factor(total + 5) - 0.25) < 1e-15);
          double most = 0.0;
          for (std::int64_t t = 0; t < total; ++t) most = std::max(most, s.factor(t));
          if (shape != Schedule::Shape::wsd || warmup + decay < total || warmup > 0) CHECK(most == 1.0);
        }
  Schedule s;
  s.shape = Schedule::Shape::linear;
  s.total_steps = 12;
  for (int t = 0; t < 12; ++t) CHECK(std::abs(s.factor(t) - (1.0 - t / 11.0)) < 1e-15);
  // A run of one step is made at the peak.
  s.total_steps = 1;
  CHECK(s.factor(0) == 1.0);
}

TEST_CASE("schedules that mean nothing are named") {
  Schedule s;
  s.shape = Schedule::Shape::cosine;
  CHECK(s.error().find("total_steps") != std::string::npos);
  s.total_steps = 10;
  s.warmup_steps = 11;
  CHECK(s.error() == "warmup_steps: got 11; allowed: at most total_steps, 10");
  s.warmup_steps = 0;
  s.final_factor = 1.5;
  CHECK(s.error().find("final_factor") != std::string::npos);
  s.final_factor = 0;
  s.shape = Schedule::Shape::wsd;
  CHECK(s.error().find("decay_steps: got 0;") != std::string::npos);
  s.warmup_steps = 4;
  s.decay_steps = 7;
  CHECK(s.error() == "decay_steps: got 7; allowed: at most 6, which warmup_steps, 4, leaves of total_steps, 10");
  s.decay_steps = 6;
  CHECK(s.error().empty());
}

TEST_CASE("couplings follow their definitions") {
  const double lambda = 0.3, lr = 2e-3, lr0 = 8e-3;
  CHECK(decay_terms(DecayCoupling::l2, lambda, lr, lr0).l2 == lambda);
  CHECK(decay_terms(DecayCoupling::l2, lambda, lr, lr0).shrink == 0.0);
  CHECK(std::abs(decay_terms(DecayCoupling::lr, lambda, lr, lr0).shrink - 6e-4) < 1e-18);
  CHECK(std::abs(decay_terms(DecayCoupling::independent, lambda, lr, lr0).shrink - 0.075) < 1e-16);
  CHECK(std::abs(decay_terms(DecayCoupling::lr2, lambda, lr, lr0).shrink - 1.5e-4) < 1e-18);
  CHECK(decay_terms(DecayCoupling::independent, lambda, 0.0, 0.0).shrink == 0.0);
}
