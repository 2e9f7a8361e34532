#pragma once

#include <cstddef>
#include <vector>

// Dense linear algebra of a few loops, so that no source waits for a library of templates. Matrices are row-major.
namespace scalevec::theory {

// Eigenvalues, ascending, of the symmetric n × n matrix `a`, of which the lower triangle is read: Householder's
// reduction to a tridiagonal matrix, then QL with implicit shifts. Absolute error ≤ 1e-15·n of the largest in size.
std::vector<double> symmetric_eigenvalues(std::vector<double> a, std::size_t n);

// Singular values, ascending, of the n × n matrix `a`: Householder's reduction to a bidiagonal matrix B, then the
// eigenvalues of [0 Bᵀ; B 0], a tridiagonal matrix once rows are ordered. Absolute error ≤ 1e-15·n of the largest.
std::vector<double> singular_values(std::vector<double> a, std::size_t n);

// Eigenvalues, ascending, of the symmetric tridiagonal matrix with this diagonal and `beside[i]` between i and i + 1.
std::vector<double> tridiagonal_eigenvalues(std::vector<double> diagonal, std::vector<double> beside);

}  // namespace scalevec::theory
