#include "theory/lanczos.hpp"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "optim/core/random.hpp"

namespace scalevec::theory {

LanczosResult lanczos(std::size_t n, const std::function<void(std::span<const double>, std::span<double>)>& product,
                      std::int64_t most_products, double tolerance, std::uint64_t seed) {
  if (n == 0) throw std::invalid_argument("lanczos: an empty matrix");
  const auto size = static_cast<Eigen::Index>(n);
  std::vector<Eigen::VectorXd> basis;
  std::vector<double> diagonal, beside;
  Eigen::VectorXd v(size), w(size);
  for (std::size_t i = 0; i < n; ++i) v[static_cast<Eigen::Index>(i)] = random_normal(seed, stream_of("lanczos"), i);
  v.normalize();
  LanczosResult out;
  const auto most = std::min<std::int64_t>(most_products, static_cast<std::int64_t>(n));
  while (out.products < most) {
    basis.push_back(v);
    product({v.data(), n}, {w.data(), n});
    ++out.products;
    diagonal.push_back(v.dot(w));
    // Twice is enough (Parlett).
    for (int pass = 0; pass < 2; ++pass)
      for (const Eigen::VectorXd& u : basis) w -= u.dot(w) * u;
    const double next = w.norm();
    if (!std::isfinite(next + diagonal.back())) {
      out.converged = false;
      break;
    }
    const auto m = static_cast<Eigen::Index>(diagonal.size());
    const Eigen::Map<const Eigen::VectorXd> d(diagonal.data(), m), e(beside.data(), m - 1);
    Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver;
    solver.computeFromTridiagonal(d, e);
    out.smallest = solver.eigenvalues()[0];
    out.largest = solver.eigenvalues()[m - 1];
    out.residual = next * std::abs(solver.eigenvectors()(m - 1, m - 1));
    out.converged = out.residual <= tolerance * std::abs(out.largest);
    const double scale = std::max(std::abs(out.largest), std::abs(out.smallest));
    // Where the space is exhausted the values are exact; a small residual says little before the start's few directions
    // mix.
    if (next <= 1e-13 * scale || next == 0.0) {
      out.residual = 0.0;
      out.converged = true;
      break;
    }
    if (out.converged && out.products >= std::min<std::int64_t>(10, most)) break;
    beside.push_back(next);
    v = w / next;
  }
  return out;
}

}  // namespace scalevec::theory
