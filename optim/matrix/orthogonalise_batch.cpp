#include <torch/types.h>

#include <algorithm>

#include "optim/matrix/orthogonalise.hpp"

namespace scalevec::kernels {
namespace {

using torch::Tensor;

// orthogonalise_by_gram() in orthogonalise.cpp, of a batch of wide matrices.
Tensor by_gram(Tensor x, const std::vector<NewtonSchulz>& steps) {
  constexpr std::size_t kBetween = 5;
  for (std::size_t first = 0; first < steps.size(); first += kBetween) {
    const std::size_t end = std::min(steps.size(), first + kBetween);
    Tensor gram = at::bmm(x, x.transpose(1, 2)), total;
    for (std::size_t k = first; k < end; ++k) {
      Tensor polynomial = at::baddbmm(gram, gram, gram, steps[k].b, steps[k].c);
      polynomial.diagonal(0, 1, 2).add_(steps[k].a);
      if (k + 1 < end) gram = at::bmm(at::bmm(polynomial, gram), polynomial);
      total = total.defined() ? at::bmm(polynomial, total) : polynomial;
    }
    x = at::bmm(total, x);
  }
  return x;
}

}  // namespace

void orthogonalise_batch(Tensor& batch, const OrthogonaliseOptions& options) {
  const bool wide_state = batch.scalar_type() == torch::kFloat64;
  const torch::Dtype type = !options.gram                      ? options.dtype
                            : options.dtype == torch::kFloat64 ? torch::kFloat64
                                                               : torch::kFloat32;
  // To a norm in [1, 2), as orthogonalise() does; zeros stay zeros.
  const double most = wide_state ? 1022.0 : 126.0;
  const Tensor given = at::linalg_vector_norm(batch, 2, {1, 2}, /*keepdim=*/true, torch::kFloat64);
  const Tensor exponent = given.log2().floor_().clamp_(-most, most);
  Tensor x = (batch * exponent.neg().exp2_().to(batch.scalar_type())).to(type);
  if (batch.size(1) > batch.size(2)) x = x.transpose(1, 2);
  const auto sum_type = type == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
  Tensor norm = at::linalg_vector_norm(x, 2, {1, 2}, /*keepdim=*/true, sum_type) * options.norm_factor;
  if (type == torch::kBFloat16) norm = norm.to(torch::kBFloat16).to(sum_type);
  norm = norm.clamp_min(options.eps);
  x.div_(norm.masked_fill(norm == 0, 1.0));
  if (options.gram) {
    x = by_gram(x, options.steps);
  } else {
    for (const NewtonSchulz& s : options.steps) {
      const Tensor gram = at::bmm(x, x.transpose(1, 2));
      x = at::baddbmm(x, at::baddbmm(gram, gram, gram, s.b, s.c), x, s.a);
    }
  }
  batch.copy_(batch.size(1) > batch.size(2) ? x.transpose(1, 2) : x);
}

}  // namespace scalevec::kernels
