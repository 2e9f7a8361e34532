#include "experiments/distributed/gradient_buckets.hpp"

#include <torch/types.h>
#include <torch/utils.h>

#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

namespace scalevec::experiments {

struct GradientBuckets::Bucket {
  torch::Tensor flat;
  std::int64_t elements = 0;
  std::vector<size_t> entries;
  size_t ready = 0;
  ProcessGroup::Pending pending;
};

struct GradientBuckets::Entry {
  torch::Tensor param;
  size_t bucket = 0;
  std::int64_t offset = 0;
  torch::Tensor view;  // the parameter's place in the bucket
  bool ready = false, present = false;
};

class GradientBuckets::Hook : public torch::autograd::PostAccumulateGradHook {
 public:
  Hook(GradientBuckets& buckets, size_t entry) : buckets_(buckets), entry_(entry) {}
  void operator()(const torch::Tensor&) override { buckets_.ready(entry_); }

 private:
  GradientBuckets& buckets_;
  size_t entry_;
};

GradientBuckets::GradientBuckets(std::shared_ptr<ProcessGroup> group, const std::vector<NamedParam>& params,
                                 std::int64_t bytes)
    : group_(std::move(group)) {
  for (auto p = params.rbegin(); p != params.rend(); ++p) {
    const std::int64_t size = p->tensor.element_size();
    const bool fits = !buckets_.empty() && entries_.back().param.scalar_type() == p->tensor.scalar_type() &&
                      (buckets_.back().elements + p->tensor.numel()) * size <= bytes;
    if (!fits) buckets_.emplace_back();
    Bucket& bucket = buckets_.back();
    bucket.entries.push_back(entries_.size());
    entries_.push_back({p->tensor, buckets_.size() - 1, bucket.elements, {}});
    bucket.elements += p->tensor.numel();
  }
  // Views that autograd does not know as such: zero_grad() detaches gradients in place, which it refuses on its views.
  const at::AutoDispatchBelowADInplaceOrView untracked;
  for (Bucket& bucket : buckets_) {
    bucket.flat = torch::empty({bucket.elements}, entries_[bucket.entries[0]].param.options().requires_grad(false));
    for (const size_t i : bucket.entries) {
      Entry& e = entries_[i];
      e.view = bucket.flat.narrow(0, e.offset, e.param.numel()).view(e.param.sizes());
    }
  }
  for (size_t i = 0; i < entries_.size(); ++i)
    torch::autograd::impl::set_post_acc_grad_hooks(entries_[i].param, std::make_unique<Hook>(*this, i));
}

GradientBuckets::~GradientBuckets() {
  for (const Entry& e : entries_) torch::autograd::impl::set_post_acc_grad_hooks(e.param, nullptr);
}

std::int64_t GradientBuckets::buckets() const { return static_cast<std::int64_t>(buckets_.size()); }

void GradientBuckets::expect_last_backward() {
  armed_ = true;
  started_ = 0;
  for (Bucket& b : buckets_) b.ready = 0;
  for (Entry& e : entries_) e.ready = e.present = false;
}

void GradientBuckets::take(Entry& e) {
  const torch::NoGradGuard no_grad;
  e.ready = true;
  e.present = e.param.grad().defined();
  if (!e.present) {
    e.view.zero_();
  } else if (e.param.grad().data_ptr() != e.view.data_ptr()) {
    e.view.copy_(e.param.grad());
    e.param.mutable_grad() = e.view;
  }
  ++buckets_[e.bucket].ready;
}

void GradientBuckets::ready(size_t entry) {
  if (!armed_ || entries_[entry].ready) return;
  take(entries_[entry]);
  start_full();
}

// In the order of the buckets, which is the same on every rank while that of the gradients need not be.
void GradientBuckets::start_full() {
  for (; started_ < buckets_.size() && buckets_[started_].ready == buckets_[started_].entries.size(); ++started_)
    buckets_[started_].pending = group_->start_sum(buckets_[started_].flat);
}

void GradientBuckets::finish(std::vector<double>& values) {
  for (Entry& e : entries_)
    if (!e.ready) take(e);
  start_full();
  armed_ = false;
  const size_t own = values.size();
  for (const Entry& e : entries_) values.push_back(e.present ? 1.0 : 0.0);
  group_->sum(values);
  for (Bucket& b : buckets_) b.pending();
  for (size_t i = 0; i < entries_.size(); ++i) {
    Entry& e = entries_[i];
    if (values[own + i] == 0.0)
      e.param.mutable_grad().reset();
    else if (!e.present)
      e.param.mutable_grad() = e.view;
  }
  values.resize(own);
}

}  // namespace scalevec::experiments
