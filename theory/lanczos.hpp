#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace scalevec::theory {

struct LanczosResult {
  double largest = 0.0;       // Ritz value at the upper end, at most the largest eigenvalue
  double smallest = 0.0;      // at the lower end, at least the smallest; not waited for
  double residual = 0.0;      // ‖Hv − largest·v‖, a bound on the distance to an eigenvalue
  std::int64_t products = 0;  // with the matrix
  bool converged = false;     // residual ≤ tolerance·|largest|
};

// Ends of the spectrum of a symmetric matrix of size n known by its products: Lanczos with full reorthogonalisation
// from a counter-based random start, at most `most_products`. `product(v, out)`. Eigenvalues between 1e-150 and 1e150
// in size: beyond, squares leave double precision's range; a product that is not finite ends it unconverged. Throws
// std::invalid_argument for n = 0.
LanczosResult lanczos(std::size_t n, const std::function<void(std::span<const double>, std::span<double>)>& product,
                      std::int64_t most_products = 40, double tolerance = 1e-3, std::uint64_t seed = 1);

}  // namespace scalevec::theory
