#include "scalevec/models/initial_value.hpp"

#include <torch/torch.h>

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>

#include "scalevec/optim/core/random.hpp"

namespace scalevec {

torch::Tensor normal_values(at::IntArrayRef shape, double std, std::uint64_t seed, std::string_view name,
                            torch::Dtype dtype) {
  torch::Tensor values = torch::empty(shape, torch::TensorOptions().dtype(dtype));
  const std::uint64_t stream = stream_of(name);
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, dtype, "normal_values", [&] {
    scalar_t* out = values.data_ptr<scalar_t>();
    at::parallel_for(0, values.numel(), 4096, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        out[i] = static_cast<scalar_t>(std * random_normal(seed, stream, static_cast<std::uint64_t>(i)));
    });
  });
  return values;
}

}  // namespace scalevec
