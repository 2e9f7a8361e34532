#include "optim/core/random.hpp"

#include <cmath>

#include "tests/support/catch.hpp"

using namespace scalevec;

TEST_CASE("philox gives the published known answers") {
  // Random123's kat_vectors, philox4x32-10.
  const PhiloxBlock zeros = philox(PhiloxBlock{{0, 0, 0, 0}}, 0, 0);
  CHECK(zeros.word[0] == 0x6627e8d5u);
  CHECK(zeros.word[1] == 0xe169c58du);
  CHECK(zeros.word[2] == 0xbc57ac4cu);
  CHECK(zeros.word[3] == 0x9b00dbd8u);
  const PhiloxBlock ones =
      philox(PhiloxBlock{{0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu}}, 0xffffffffu, 0xffffffffu);
  CHECK(ones.word[0] == 0x408f276du);
  CHECK(ones.word[1] == 0x41c83b0eu);
  CHECK(ones.word[2] == 0xa20bc7c6u);
  CHECK(ones.word[3] == 0x6d5451fdu);
}

TEST_CASE("normals have the moments of a normal") {
  // 1e6 draws of a fixed seed. Bounds are five standard errors: false alarm below 1e-6 a bound.
  const int n = 1'000'000;
  double sum = 0, square = 0, fourth = 0, lag = 0, previous = 0;
  for (int i = 0; i < n; ++i) {
    const double x = random_normal(7, 3, static_cast<std::uint64_t>(i));
    sum += x;
    square += x * x;
    fourth += x * x * x * x;
    lag += x * previous;
    previous = x;
  }
  CHECK(std::abs(sum / n) < 5.0 / std::sqrt(n));
  CHECK(std::abs(square / n - 1.0) < 5.0 * std::sqrt(2.0 / n));
  CHECK(std::abs(fourth / n - 3.0) < 5.0 * std::sqrt(96.0 / n));
  CHECK(std::abs(lag / n) < 5.0 / std::sqrt(n));
}

TEST_CASE("uniforms stay inside the open interval") {
  CHECK(uniform_from_bits(0) > 0.0);
  CHECK(uniform_from_bits(~std::uint64_t{0}) < 1.0);
}

TEST_CASE("seed, stream and index all matter") {
  CHECK(random_bits(1, 2, 3) != random_bits(2, 2, 3));
  CHECK(random_bits(1, 2, 3) != random_bits(1, 3, 3));
  CHECK(random_bits(1, 2, 3) != random_bits(1, 2, 4));
  CHECK(random_bits(1, 2, std::uint64_t{1} << 40) != random_bits(1, 2, 0));
  // FNV-1a's published test vectors.
  CHECK(stream_of("") == 0xcbf29ce484222325u);
  CHECK(stream_of("a") == 0xaf63dc4c8601ec8cu);
  CHECK(stream_of("foobar") == 0x85944171f73967e8u);
}
