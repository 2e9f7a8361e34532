#include "models/initial_value.hpp"

#include <torch/types.h>

#include <ATen/Dispatch.h>

#include <algorithm>

#include "optim/core/random.hpp"
#include "optim/parallel/parallel.hpp"

namespace scalevec::models {
namespace {

constexpr std::int64_t kBlock = 4096;

}  // namespace

torch::Tensor normal_values(at::IntArrayRef shape, double std, std::uint64_t seed, std::string_view name,
                            torch::Dtype dtype) {
  torch::Tensor values = torch::empty(shape, torch::TensorOptions().dtype(dtype));
  const std::uint64_t stream = stream_of(name);
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, dtype, "normal_values", [&] {
    scalar_t* out = values.data_ptr<scalar_t>();
    parallel_for((values.numel() + kBlock - 1) / kBlock, [&](std::int64_t block) {
      const std::int64_t end = std::min(values.numel(), (block + 1) * kBlock);
      for (std::int64_t i = block * kBlock; i < end; ++i)
        out[i] = static_cast<scalar_t>(std * random_normal(seed, stream, static_cast<std::uint64_t>(i)));
    });
  });
  return values;
}

}  // namespace scalevec::models
