#include "optim/cuda/matrix_batches.hpp"

#include <torch/types.h>

#include <algorithm>
#include <utility>

#include "optim/cuda/cuda_step.hpp"

namespace scalevec::cuda {

void MatrixBatches::fit(const std::vector<CudaEntry>& entries) {
  std::vector<Batch> before = std::exchange(batches_, {});
  places_.assign(entries.size(), {});
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const CudaEntry& e = entries[i];
    if (!e.matrix) continue;
    const auto type = e.param.scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
    const auto fits = [&](const Batch& b) {
      const torch::Tensor& first = b.matrices.params.front();
      return b.matrices.options == e.options && b.matrices.row_blocks == e.row_blocks &&
             b.matrices.role->kind == e.role->kind && b.matrices.role->head_dim == e.role->head_dim &&
             b.matrices.number == e.number && first.sizes() == e.param.sizes() && b.type == type;
    };
    auto at = std::find_if(batches_.begin(), batches_.end(), fits);
    if (at == batches_.end()) {
      at = batches_.insert(batches_.end(), Batch{});
      at->method = e.matrix;
      at->type = type;
      at->matrices.options = e.options;
      at->matrices.row_blocks = e.row_blocks;
      at->matrices.role = e.role;
      at->matrices.number = e.number;
    }
    DeviceMatrices& matrices = at->matrices;
    places_[i] = {at - batches_.begin(), static_cast<std::int64_t>(matrices.params.size())};
    matrices.buffers.push_back(e.buffers);
    matrices.params.push_back(e.param);
    matrices.steps.push_back(e.step);
  }
  for (std::size_t b = 0; b < batches_.size(); ++b) {
    const torch::Tensor& first = batches_[b].matrices.params.front();
    std::vector<std::int64_t> sizes = first.sizes().vec();
    sizes.insert(sizes.begin(), static_cast<std::int64_t>(batches_[b].matrices.params.size()));
    torch::Tensor& room = batches_[b].room;
    if (b < before.size()) room = before[b].room;
    if (!room.defined() || room.sizes() != c10::IntArrayRef(sizes) || room.scalar_type() != batches_[b].type ||
        room.device() != first.device())
      room = at::empty(sizes, torch::dtype(batches_[b].type).device(first.device()));
    batches_[b].matrices.update = room;
  }
}

torch::Tensor MatrixBatches::update_of(std::size_t entry) const {
  const Place& place = places_[entry];
  return batches_[static_cast<std::size_t>(place.batch)].matrices.update.select(0, place.index);
}

void MatrixBatches::form(const torch::Tensor& refused, const std::function<torch::Tensor(std::int32_t)>& lr_of) {
  const torch::NoGradGuard no_grad;
  for (Batch& batch : batches_) {
    batch.matrices.refused = refused;
    batch.matrices.lr = lr_of(batch.group);
    batch.method->form_on_device(batch.matrices);
  }
}

}  // namespace scalevec::cuda
